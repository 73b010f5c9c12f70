"""The end of an event's journey: in whose inbox it is, and how far each e-mail has come."""

from datetime import UTC, datetime, timedelta

import pytest

from conftest import make_person
from events import numbering
from events.journey import is_complete, journey
from events.models import Event
from notifications import actions, mails
from notifications.actions import Message
from notifications.models import Mail
from tenants.models import Membership, Role


@pytest.fixture
def notice(acme, alice) -> Event:
    event = actions.send_notice(acme, alice.user, "Maintenance", "")
    numbering.number()
    return event


def tell_of(event: Event, *people) -> None:
    message = Message(event.uuid, "deployment_failed", "web #1 failed", "", "error", "/", "o:1", "g")
    actions.notify([person.user.pk for person in people], message)


def ends(event: Event) -> list[tuple[str, str]]:
    """The steps that are this app's: their states and words."""
    return [
        (step.state.value, step.text) for step in journey(event) if step.text.startswith(("In the inbox", "E-mail"))
    ]


def test_it_names_who_was_told_and_what_each_mail_waits_for(notice, alice, bob, settings, at):
    assert ends(notice) == []
    tell_of(notice, alice)
    tell_of(notice, bob)
    assert ends(notice)[0] == ("done", "In the inbox of Alice and Bob")
    assert [state for state, _ in ends(notice)] == ["done", "waits", "waits"]
    assert "E-mail to Alice (one notification) leaves" in ends(notice)[1][1]
    settings.EMAIL_BACKEND, settings.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", 9
    mails.send_due(5)
    assert "because ConnectionRefusedError" in ends(notice)[1][1]
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    at(datetime.now(UTC) + timedelta(days=1))
    mails.send_due(5)
    assert ends(notice)[1:] == [
        (
            "done",
            "E-mail to Alice: accepted by the mail server, 2 attempts, "
            "the last that failed because ConnectionRefusedError: [Errno 111] Connection refused",
        ),
        ("done", "E-mail to Bob: accepted by the mail server, 1 attempt"),
    ]


def test_what_was_given_up_or_not_sent_says_why(notice, alice, bob):
    tell_of(notice, alice)
    tell_of(notice, bob)
    Mail.objects.filter(user=alice.user).update(state="failed", error="No such person", ended_at=notice.occurred_at)
    bob.user.is_active = False
    bob.user.save()
    mails.send_due(5)
    failed, cancelled = ends(notice)[1:]
    assert failed == ("failed", "E-mail to Alice failed after 0 attempts: No such person")
    assert cancelled[1].startswith("E-mail to Bob: not sent. Nothing in it is wanted, or may be seen")


def test_of_many_it_says_how_many_at_the_same_cost(notice, acme, alice, django_assert_num_queries):
    people = [make_person(f"P{n}", f"p{n}@acme.example") for n in range(8)]
    for person in people:
        Membership.objects.create(tenant=acme, user=person.user, role=Role.TENANT_USER)
    with django_assert_num_queries(6):
        journey(notice)
    tell_of(notice, *people)
    with django_assert_num_queries(7):
        assert journey(notice)[-2].text.endswith(", 3 more")
    Mail.objects.filter(user=people[0].user).update(state="sent", ended_at=notice.occurred_at)
    assert ends(notice)[-1] == ("waits", "E-mails: 7 waiting, 1 sent")
    assert not is_complete(journey(notice))
    Mail.objects.update(state="sent", ended_at=notice.occurred_at)
    assert ends(notice)[-1] == ("done", "E-mails: 8 sent")
    Mail.objects.filter(user=people[6].user).update(state="failed", attempts=1, error="No such person")
    Mail.objects.filter(user=people[7].user).update(state="waiting", attempts=3, error="It hangs", ended_at=None)
    assert [state for state, _ in ends(notice)[1:]] == ["failed", "failed", "waits"]
    assert ends(notice)[2][1] == "E-mail to P6 failed after 1 attempt: No such person"
    assert ends(notice)[3][1].startswith("E-mail to P7 (one notification) leaves ")
    assert ends(notice)[3][1].endswith(" UTC, because It hangs")


def test_the_page_of_an_event_shows_it(notice, alice, platform_admin):
    tell_of(notice, alice)
    html = platform_admin.get(f"/ops/events/{notice.uuid}/").content.decode()
    assert "In the inbox of Alice" in html
    assert "E-mail to Alice" in html
