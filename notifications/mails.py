"""E-mails, from the notification that makes one to the mail server's answer.

A mail is a row (notifications.models.Mail), written with the notifications that it tells of. Whoever looks for what is
due sends it: Celery's beat asks every few seconds, and however many senders there are, each try belongs to one. So a
mail is sent at least once; it is sent again only where nobody heard the mail server's answer. Each of its tries has
the same Message-ID, by which a mailbox knows it again.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import OperationalError, connection
from django.db.models import Count, F, Q
from django.utils import timezone
from prometheus_client import Counter

from notifications import letters, preferences, windows
from notifications.kinds import Pace, Way, kind_of
from notifications.models import Habits, Mail, Notification

logger = logging.getLogger("notifications.mails")

TRIES = Counter(
    "neostack_mails", "Tries to send a mail, by what became of it: waiting for the next, sent, failed.", ["outcome"]
)
for _outcome in (Mail.State.SENT, Mail.State.WAITING, Mail.State.FAILED, Mail.State.CANCELLED):
    TRIES.labels(_outcome.value)  # known from the start, so that a first one is seen as a rise

#: Between two tries to keep what the mail server answered, while the database is away: seconds.
_KEEPING_WAITS = (0.2, 1.0, 3.0, 10.0, 0.0)

#: Of one kind a person gets so many mails at once within this time; what comes then waits for the hourly digest.
STORM_MAILS, STORM = 5, timedelta(minutes=10)

# --- Planning: in the transaction that notifies -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slot:
    """Which mail of a person's something goes with."""

    key: str
    window: datetime
    is_urgent: bool = False


def plan(paces: Mapping[UUID, Pace], source: UUID, waits_for_quiet: Callable[[Habits], bool]) -> dict[UUID, Mail]:
    """The mail of each of these people that a notification of this event goes with; it is there and locked, until the
    transaction ends: nobody sends it before.

    `waits_for_quiet` says of a person's habits whether this one keeps their quiet hours.
    """
    habits = preferences.habits_of_all(paces)
    now = timezone.now()
    found: dict[UUID, Mail] = {}
    since = dict.fromkeys(paces, now)
    while missing := paces.keys() - found.keys():
        slots = {}
        for person in sorted(missing):
            own = habits[person]
            slots[person] = _slot(paces[person], since[person], source, own, waits_for_quiet(own))
        for person, mail in _locked(slots).items():
            if mail.gathers:
                found[person] = mail
            else:
                since[person] = max(mail.window, now)  # it is on its way already: the next one
    return found


def calmed(paces: Mapping[UUID, Pace], kind: str) -> dict[UUID, Pace]:
    """The same, but hourly for whoever wants it at once and just got STORM_MAILS mails of this kind."""
    at_once = [person for person, pace in paces.items() if pace == Pace.NOW]
    if not at_once:
        return dict(paces)
    lately = Mail.objects.filter(user__in=at_once, window__gt=timezone.now() - STORM, key__startswith="event:")
    counted = lately.filter(notifications__kind=kind).values("user").annotate(mails=Count("pk"))
    stormed = counted.filter(mails__gte=STORM_MAILS).values_list("user", flat=True)
    return {**paces, **dict.fromkeys(stormed, Pace.HOURLY)}


def _slot(pace: Pace, now: datetime, source: UUID, habits: Habits, waits_for_quiet: bool) -> Slot:
    zone = ZoneInfo(habits.time_zone)
    if pace == Pace.NOW:
        quiet = _quiet_until(now, habits, zone) if waits_for_quiet else None
        return Slot("quiet", quiet) if quiet else Slot(f"event:{source}", now, is_urgent=not waits_for_quiet)
    closes = windows.next_hour(now) if pace == Pace.HOURLY else windows.next_time(now, habits.digest_at, zone)
    return Slot(pace.value, _quiet_until(closes, habits, zone) or closes)


def _quiet_until(moment: datetime, habits: Habits, zone: ZoneInfo) -> datetime | None:
    if habits.quiet_from is None or habits.quiet_until is None:
        return None
    return windows.quiet_until(moment, habits.quiet_from, habits.quiet_until, zone)


def _locked(slots: Mapping[UUID, Slot]) -> dict[UUID, Mail]:
    """The mail of each slot, made where there is none yet."""
    Mail.objects.bulk_create(
        [
            Mail(user_id=person, key=slot.key, window=slot.window, due_at=slot.window, is_urgent=slot.is_urgent)
            for person, slot in slots.items()
        ],
        ignore_conflicts=True,
    )
    wanted = {(person, slot.key, slot.window) for person, slot in slots.items()}
    near = Mail.objects.select_for_update().filter(
        user__in=slots, key__in={slot.key for slot in slots.values()}, window__in={s.window for s in slots.values()}
    )
    return {mail.user_id: mail for mail in near.order_by("pk") if (mail.user_id, mail.key, mail.window) in wanted}


# --- Sending ----------------------------------------------------------------------------------------------------------

_SENDING = threading.Lock()


def send_due(seconds: float) -> int:
    """Send what is due, the oldest first, for about so many seconds. Returns how many were sent.

    One thread a process sends: where the mail server hangs, the others go on with everything else. When it can't be
    reached at all, the rest waits for the next call.
    """
    if not _SENDING.acquire(blocking=False):
        return 0
    try:
        return _send_due(time.monotonic() + seconds)
    finally:
        _SENDING.release()


def _send_due(deadline: float) -> int:
    sent = 0
    postbox = Postbox()
    try:
        while time.monotonic() < deadline and (mail := claim()):
            outcome = attempt(mail, postbox)
            sent += outcome == Mail.State.SENT
            if postbox.is_away:
                break
    finally:
        postbox.close()
    return sent


def claim() -> Mail | None:
    """The mail that has been due longest, taken: this caller's until the lease is over. None if nothing is due.

    What comes late, after an outage for one, waits for the end of the quiet hours that have begun meanwhile.
    """
    while mail := Mail.objects.filter(_due(timezone.now())).select_related("user").order_by("due_at", "pk").first():
        now = timezone.now()
        due = Mail.objects.filter(_due(now), pk=mail.pk)
        if quiet := _held_until(mail, now):
            due.update(state=Mail.State.WAITING, due_at=quiet, lease_expires_at=None)
            continue
        lease = now + timedelta(seconds=settings.MAIL_LEASE_SECONDS)
        # One statement: it waits for whoever is still adding to the mail, and of two senders one takes it.
        if due.update(state=Mail.State.SENDING, attempts=F("attempts") + 1, lease_expires_at=lease):
            return Mail.objects.select_related("user").get(pk=mail.pk)
    return None


def _held_until(mail: Mail, moment: datetime) -> datetime | None:
    """The end of the quiet hours that a mail would come in at this moment; None if it would not, or comes anyway."""
    if mail.is_urgent:
        return None
    habits = preferences.habits_of(mail.user)
    return _quiet_until(moment, habits, ZoneInfo(habits.time_zone))


def _due(now: datetime) -> Q:
    """Also what somebody took and never came back with."""
    return Q(state=Mail.State.WAITING, due_at__lte=now) | Q(state=Mail.State.SENDING, lease_expires_at__lte=now)


def attempt(mail: Mail, postbox: "Postbox") -> str:
    """Send a claimed mail and keep what came of it: its state then."""
    told = _still_wanted(mail) if mail.user.is_active else []
    if not told:
        return _keep(
            mail,
            Mail.State.CANCELLED,
            error="Nothing in it is wanted, or may be seen, by this person any more, or what it called for is over.",
        )
    try:
        letter = letters.write(mail, told)
        postbox.send(letter)
    except Exception as error:  # whatever a mail backend or a template raises: the row must say so
        return _failed(mail, error)
    return _keep(mail, Mail.State.SENT, address=mail.user.email, subject=letter.subject[:200])


def _still_wanted(mail: Mail) -> list[Notification]:
    """Oldest first. Who lost a tenant meanwhile hears nothing of it, nor who unsubscribed of that kind, and nobody is
    paged for what is over."""
    gathered = Notification.objects.in_reach().filter(mail=mail).select_related("tenant").order_by("created_at", "pk")
    chosen = preferences.chosen_by(mail.user)
    return [
        one
        for one in gathered
        if (not one.solved_at if kind_of(one.kind).pages else chosen.get((one.kind, Way.EMAIL)) != Pace.OFF)
    ]


def _failed(mail: Mail, error: Exception) -> str:
    """Wait for the next try; or give up, where the server will not have this mail, or too long after it was due."""
    words = f"{type(error).__name__}: {error}"[:500]
    logger.warning("Mail %s could not be sent (attempt %s): %s", mail.pk, mail.attempts, words)
    now = timezone.now()
    wait = min(settings.MAIL_RETRY_SECONDS * 2.0 ** min(mail.attempts - 1, 30), settings.MAIL_RETRY_MAX_SECONDS)
    again = now + timedelta(seconds=wait)
    if is_for_good(error) or again > mail.window + timedelta(hours=settings.MAIL_TRIED_HOURS):
        return _keep(mail, Mail.State.FAILED, error=words, address=mail.user.email)
    return _keep(mail, Mail.State.WAITING, error=words, due_at=_held_until(mail, again) or again)


def is_for_good(error: Exception) -> bool:
    """Whether the mail server refused this very mail, and would again."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    return isinstance(error, SMTPDataError) and error.smtp_code >= 500


def _keep(mail: Mail, state: str, **facts: Any) -> str:
    """Write what became of an attempt, unless another took the mail over: its state now. Why an earlier one failed
    stays, where this one did not."""
    ended = None if state == Mail.State.WAITING else timezone.now()
    facts |= {"state": state, "lease_expires_at": None, "ended_at": ended}
    own = Mail.objects.filter(pk=mail.pk, state=Mail.State.SENDING, attempts=mail.attempts)
    TRIES.labels(str(state)).inc()
    if not _written(lambda: own.update(**facts)):
        logger.warning("Mail %s took longer than MAIL_LEASE_SECONDS to send: it may be sent twice.", mail.pk)
    return state


def _written(write: Callable[[], int]) -> int:
    """Keeping the mail server's answer is worth some patience: forgotten, the mail would be sent again."""
    for wait in _KEEPING_WAITS:
        try:
            return write()
        except OperationalError:
            if not wait or connection.in_atomic_block:
                raise
            connection.close()
            time.sleep(wait)
    raise AssertionError("The last wait is none.")


class Postbox:
    """A connection to the mail server, opened at the first mail and again after one that failed.

    `is_away`: the last mail failed for a reason that others would fail for, too.
    """

    def __init__(self) -> None:
        self._connection: Any = None
        self.is_away = False

    def send(self, letter: EmailMessage) -> None:
        """Returns when the server has accepted the letter. Raises what the backend raises."""
        if self._connection is None:
            self._connection = get_connection(fail_silently=False)
        try:
            self._connection.open()
            if not self._connection.send_messages([letter]):
                raise OSError("The mail backend sent nothing, and did not say why.")
        except (SMTPRecipientsRefused, SMTPSenderRefused, SMTPDataError):
            self.close()
            raise
        except OSError:  # SMTP's other errors are, too
            self.is_away = True
            self.close()
            raise

    def close(self) -> None:
        opened, self._connection = self._connection, None
        if opened is None:
            return
        try:
            opened.close()
        except OSError as error:  # it has answered, or failed, before: what it says to a goodbye changes nothing
            logger.info("The mail server did not take leave: %s", error)


# --- Afterwards -------------------------------------------------------------------------------------------------------


def try_again(mail: Mail) -> bool:
    """Send a mail that was given up on after all; False where there is nothing to try again."""
    again = Mail.objects.filter(pk=mail.pk, state=Mail.State.FAILED)
    now = timezone.now()
    return bool(again.update(state=Mail.State.WAITING, due_at=now, ended_at=None))


def forget_old() -> int:
    """Delete mails that ended long ago."""
    before = timezone.now() - timedelta(days=settings.READ_NOTIFICATIONS_KEPT_DAYS)
    return Mail.objects.filter(ended_at__lt=before).delete()[0]
