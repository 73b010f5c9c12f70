"""What became of the notifications of an event: the end of its journey, for the people who look after the platform."""

from collections.abc import Iterator

from django.db.models import Count, Q

from events.journey import Step, further
from events.models import Event
from notifications.models import Mail, Notification

#: So many people are named; of the others the journey says how many they are.
NAMED = 5


@further
def told(event: Event) -> Iterator[Step]:
    """In whose inbox it is, and how far each e-mail has come. One query; two where many people were told."""
    notified = Notification.objects.filter(source=event.uuid)
    first = list(notified.select_related("user", "mail").order_by("created_at", "pk")[: NAMED + 1])
    if len(first) > NAMED:
        yield from _of_many(event, first)
        return
    arrived = [one for one in first if one.number is not None]
    if arrived:
        yield Step(arrived[0].created_at, f"In the inbox of {_people([str(one.user) for one in arrived])}")
    for one in first:
        if one.mail:
            yield _step(one.mail, str(one.user))


def _people(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _step(mail: Mail, person: str) -> Step:
    """One person's e-mail. What waits for another try says why, what was sent at last why it was not before."""
    who, tries = f"E-mail to {person}", "1 attempt" if mail.attempts == 1 else f"{mail.attempts} attempts"
    if mail.state == Mail.State.SENT:
        before = f", the last that failed because {mail.error}" if mail.error else ""
        return Step(mail.ended_at, f"{who}: accepted by the mail server, {tries}{before}")
    if mail.state == Mail.State.CANCELLED:
        return Step(mail.ended_at, f"{who}: not sent. {mail.error}")
    if mail.state == Mail.State.FAILED:
        return Step(mail.ended_at, f"{who} failed after {tries}: {mail.error}", has_failed=True)
    if mail.state == Mail.State.SENDING:
        return Step(None, f"{who}: being sent, attempt {mail.attempts}")
    because = f", because {mail.error}" if mail.error else ""
    return Step(None, f"{who} ({mail.title.lower()}) leaves {mail.due_at:%Y-%m-%d %H:%M:%S} UTC{because}")


def _of_many(event: Event, first: list[Notification]) -> Iterator[Step]:
    """Who came first, how many there are, and whose e-mails failed or wait for another try."""
    told = Notification.objects.filter(source=event.uuid).order_by()
    failing = Q(mail__state__in=[Mail.State.WAITING, Mail.State.FAILED]) & ~Q(mail__error="")
    counted = {"in_app": Count("number"), "mails": Count("mail"), "stuck": Count("mail", filter=failing)}
    rows = list(told.values_list("mail__state").annotate(**counted))
    arrived = [str(one.user) for one in first[:NAMED] if one.number is not None]
    if count := sum(in_app for _, in_app, _, _ in rows):
        yield Step(first[0].created_at, f"In the inbox of {', '.join([*arrived, f'{count - len(arrived)} more'])}")
    counts = {state: mails for state, _, mails, _ in rows if state}
    if counts:
        words = ", ".join(f"{counts[state]} {label.lower()}" for state, label in Mail.State.choices if state in counts)
        is_over = not counts.keys() & {Mail.State.WAITING, Mail.State.SENDING}
        at = first[0].created_at if is_over else None
        yield Step(at, f"E-mails: {words}", has_failed=Mail.State.FAILED in counts)
    if any(stuck for *_, stuck in rows):
        # Those that are given up first: somebody has to look at them.
        for one in told.filter(failing).select_related("user", "mail").order_by("mail__state", "pk")[:NAMED]:
            if one.mail:
                yield _step(one.mail, str(one.user))
