"""What can be done to inboxes, one transaction each, under the inbox's lock.

Every change raises the inbox's version once and counts what is unread anew: nothing is added or subtracted, so nothing
can drift. Whoever notifies people of a tenant's things locks the tenant first, as every action on its people does:
nobody is notified who is being removed at that moment.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, Q
from django.utils import timezone
from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from accounts.models import User
from events.actors import HasActor
from events.emit import emit
from events.models import Event
from notifications import mails, preferences
from notifications.events import TenantNotice
from notifications.kinds import About, Pace, Way, names_about
from notifications.models import OF_OPERATIONS, Cause, Habits, Inbox, Mail, Notice, Notification
from notifications.preferences import Wanted
from notifications.signals import inbox_changed, notified
from tenants.actions import action
from tenants.models import UNPAID, Membership, Tenant

#: An event stays small, however much changes at once: more ids make more events.
IDS_IN_ONE_EVENT = 500


class Change(StrEnum):
    """What happens to notifications that are there already. The names are fields of `inbox_update`."""

    READ = "read"
    MARKED_UNREAD = "marked_unread"
    ARCHIVED = "archived"
    UNARCHIVED = "unarchived"
    REMOVED = "removed"
    RESTORED = "restored"
    SOLVED = "solved"


@dataclass(frozen=True, slots=True)
class Message:
    """What people are told: see Notification for the fields. `source` is the id of the event it comes of.

    What is urgent comes in quiet hours to whoever lets it. `ways` are those of a policy that goes before what people
    chose, their quiet hours included; None: as each of them chose.
    """

    source: UUID
    kind: str
    title: str
    message: str
    level: str
    link: str
    object_key: str
    group_key: str
    tenant: Tenant | None = None
    cause_key: str = ""
    cause_order: int = 0
    is_urgent: bool = False
    ways: frozenset[str] | None = None

    def waits_for_quiet(self, habits: Habits) -> bool:
        """Whether its mail keeps the quiet hours of somebody with these habits."""
        return self.ways is None and not (self.is_urgent and habits.urgent_anyway)

    @property
    def waits_in_storms(self) -> bool:
        """Whether its mail may come with the hourly digest to who gets many like it."""
        return self.ways is None and not self.is_urgent


@dataclass(frozen=True, slots=True)
class Outcome:
    """An inbox after an action, and the notifications that the action changed."""

    unread: int
    version: int
    ids: list[UUID]


# --- Arriving ---------------------------------------------------------------------------------------------------------


@action
def notify(people: Iterable[UUID], message: Message) -> list[Notification]:
    """Tell these people, as far as they may see it now, in the ways they chose. Called again, it does nothing.

    Who wants it in no way is not told. What goes by mail is sent later, by whoever looks for what is due. What was
    solved before it is told here says so, and pages nobody.
    """
    told = _allowed(people, message)
    told -= set(Notification.objects.filter(source=message.source, user__in=told).values_list("user", flat=True))
    end = _end_of(message) if told else None
    wanted = _wanted(told, message, is_over=end is not None)
    inboxes = _lock_all({person for person in told if wanted[person].in_app})
    paces = {person: wanted[person].pace for person in told if wanted[person].pace != Pace.OFF}
    if message.waits_in_storms:
        paces = mails.calmed(paces, message.kind)
    mailed = mails.plan(paces, message.source, message.waits_for_quiet) if paces else {}
    made = [_notification(message, inbox.user_id, end, mailed.get(inbox.user_id), inbox) for inbox in inboxes]
    by_mail_only = sorted(person for person in mailed if not wanted[person].in_app)
    silent = [_notification(message, person, end, mailed[person]) for person in by_mail_only]
    Notification.objects.bulk_create(made + silent)
    _count_anew(inboxes)
    for inbox, notification in zip(inboxes, made, strict=True):
        notified.send(Notification, notification=notification, inbox=inbox)
        if end:
            _announce(inbox, Change.SOLVED, [notification.pk], solved_by=end.solved_by)
    return made + silent


def _wanted(people: set[UUID], message: Message, is_over: bool) -> dict[UUID, Wanted]:
    if message.ways is None:
        return preferences.wanted(people, message.kind)
    by_mail = Way.EMAIL in message.ways and not is_over
    return dict.fromkeys(people, Wanted(Way.IN_APP in message.ways, Pace.NOW if by_mail else Pace.OFF))


def _end_of(message: Message) -> Cause | None:
    """The cause of what this tells of, where that is over already."""
    if not message.cause_key:
        return None
    cause = _locked_cause(message.cause_key, message.tenant)
    return cause if message.cause_order < cause.solved_order else None


def _locked_cause(key: str, tenant: Tenant | None) -> Cause:
    Cause.objects.bulk_create([Cause(key=key, tenant=tenant)], ignore_conflicts=True)
    return Cause.objects.select_for_update().get(pk=key)


def _allowed(people: Iterable[UUID], message: Message) -> set[UUID]:
    """Those who may sign in and, where it is about a tenant, belong to it. The tenant stays locked: so it remains.

    Of a suspended one nobody hears anything; but what is of its billing, where that is how it comes back.
    """
    tenant = message.tenant
    active = User.objects.filter(pk__in=list(people), is_active=True)
    if tenant is None:
        return set(active.values_list("pk", flat=True))
    # Without a key's lock: rows that point to the tenant go on being written.
    locked = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    may_pay = locked.suspended_reason.startswith(UNPAID) and message.kind in names_about(About.BILLING)
    if locked.is_suspended and not may_pay:
        return set()
    members = Membership.objects.filter(tenant=tenant, user__in=active)
    return set(members.values_list("user", flat=True))


def _notification(
    message: Message, person: UUID, end: Cause | None, mail: Mail | None, inbox: Inbox | None = None
) -> Notification:
    """Without an inbox it goes by mail only."""
    if inbox:
        inbox.version += 1
    return Notification(
        user_id=person,
        tenant=message.tenant,
        number=inbox.version if inbox else None,
        source=message.source,
        kind=message.kind,
        title=message.title[:150],
        message=message.message[:2000],
        level=message.level,
        link=message.link,
        object_key=message.object_key,
        group_key=message.group_key,
        cause_key=message.cause_key,
        cause_order=message.cause_order,
        solved_at=end.solved_at if end else None,
        solved_by=end.solved_by if end else "",
        mail=mail,
    )


@action
def solve(cause_key: str, order: int, by: str, tenant: Tenant | None = None) -> int:
    """Say of what people were told about a thing's earlier states that its cause is over. How many that were.

    They stay as they are, read or unread: their person still decides. `by` says what ended it: "web #105 is done". It
    is remembered for earlier states that are told later: cursors overtake each other, and dead letters are retried.
    """
    cause, now = _locked_cause(cause_key, tenant), timezone.now()
    if order > cause.solved_order:
        Cause.objects.filter(pk=cause.pk).update(solved_order=order, solved_at=now, solved_by=by[:150])
    unsolved = Notification.objects.filter(cause_key=cause_key, cause_order__lt=order, solved_at=None)
    inboxes = _lock_all(set(unsolved.filter(number__isnull=False).values_list("user", flat=True)))
    shown: dict[UUID, list[UUID]] = {inbox.user_id: [] for inbox in inboxes}
    # What was removed too: it may be brought back.
    for person, id in unsolved.filter(number__isnull=False).order_by("number").values_list("user", "pk"):
        shown.setdefault(person, []).append(id)
    solved = unsolved.update(solved_at=now, solved_by=by[:150])
    for inbox in inboxes:
        for some in _chunks(shown[inbox.user_id]):
            _announce(inbox, Change.SOLVED, some, solved_by=by[:150])
    return solved


# --- What a person does ---------------------------------------------------------------------------------------------


@action
def mark_read(user: User, ids: Sequence[UUID]) -> Outcome:
    """Ids that are not this person's, or are read already, are passed over; so it is in all of these."""
    return _apply(user, Change.READ, Q(pk__in=ids))


@action
def mark_unread(user: User, ids: Sequence[UUID]) -> Outcome:
    return _apply(user, Change.MARKED_UNREAD, Q(pk__in=ids))


@action
def mark_all_read(
    user: User, tenant: str | None = None, up_to: int | None = None, about: str = "", level: str = ""
) -> Outcome:
    """All of the inbox, or what belongs to the tenant with this slug, is about this, and is this loud; with `up_to`
    only what had arrived by that version of the inbox. The archive is left as it is.
    """
    which = Q(archived_at=None)
    if tenant:
        which &= Q(tenant__slug=tenant)
    if about:
        which &= Q(kind__in=names_about(about))
    if level:
        which &= Q(level=level)
    return _apply(user, Change.READ, which if up_to is None else which & Q(number__lte=up_to))


@action
def archive(user: User, ids: Sequence[UUID]) -> Outcome:
    """Put away what is dealt with: it is kept, and counts as unread no more."""
    return _apply(user, Change.ARCHIVED, Q(pk__in=ids))


@action
def unarchive(user: User, ids: Sequence[UUID]) -> Outcome:
    """Bring back what was put away, read or unread as it was."""
    return _apply(user, Change.UNARCHIVED, Q(pk__in=ids))


@action
def remove(user: User, ids: Sequence[UUID]) -> Outcome:
    return _apply(user, Change.REMOVED, Q(pk__in=ids))


@action
def restore(user: User, ids: Sequence[UUID]) -> Outcome:
    """Bring back what was removed, read or unread as it was."""
    return _apply(user, Change.RESTORED, Q(pk__in=ids))


def _apply(user: User, change: Change, which: Q) -> Outcome:
    inbox = _lock(user)
    now = timezone.now()
    before, after = _STEPS[change](now)
    changing = Notification.objects.of(user).filter(which, before).order_by("number")
    ids = list(changing.values_list("pk", flat=True))
    for some in _chunks(ids):
        Notification.objects.filter(pk__in=some).update(**after)
        _announce(inbox, change, some)
    return Outcome(inbox.unread, inbox.version, ids)


#: What must be so before each change, and what is so after it.
_STEPS: dict[Change, Any] = {
    Change.READ: lambda now: (Q(removed_at=None, read_at=None), {"read_at": now}),
    Change.MARKED_UNREAD: lambda now: (Q(removed_at=None, read_at__isnull=False), {"read_at": None}),
    Change.ARCHIVED: lambda now: (Q(removed_at=None, archived_at=None), {"archived_at": now}),
    Change.UNARCHIVED: lambda now: (Q(removed_at=None, archived_at__isnull=False), {"archived_at": None}),
    Change.REMOVED: lambda now: (Q(removed_at=None), {"removed_at": now}),
    Change.RESTORED: lambda now: (Q(removed_at__isnull=False), {"removed_at": None}),
}


# --- What access decides ----------------------------------------------------------------------------------------------


@action
def follow_access(user: User, tenant: Tenant) -> None:
    """Make the inbox agree with whether this person may see the tenant now.

    What belongs to a tenant they left is deleted; while it is suspended its things are only out of reach.
    """
    locked = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    is_member = Membership.objects.filter(user=user, tenant=tenant).exists()
    _follow(user, Q(tenant=tenant), is_kept=is_member, is_shown=is_member and not locked.is_suspended)


@action
def follow_operations(user: User) -> None:
    """The same for what is of the platform: who is no platform admin any more loses it."""
    is_admin = User.objects.select_for_update(no_key=True).get(pk=user.pk).is_platform_admin
    _follow(user, OF_OPERATIONS, is_kept=is_admin, is_shown=is_admin)


def _follow(user: User, which: Q, *, is_kept: bool, is_shown: bool) -> None:
    inbox = _lock(user)
    theirs = Notification.objects.filter(which, user=user).order_by("number")
    ids = list(theirs.kept().values_list("pk", flat=True))
    if not is_kept:
        theirs.delete()
    elif not is_shown:
        within = set(theirs.in_reach().values_list("pk", flat=True))
        ids = [id for id in ids if id not in within]
    change = Change.RESTORED if is_shown else Change.REMOVED
    for some in _chunks(ids):
        _announce(inbox, change, some)


@action
def counts(user: User) -> tuple[int, int]:
    """What a person's unread counter says, and how many there are. The same, unless something else has written."""
    inbox = _lock(user)
    return inbox.unread, Notification.objects.of(user).in_reach().unread().count()


@action
def count_again(user: User) -> None:
    """Put a counter right that something else has made wrong, and say so."""
    _announce(_lock(user), Change.READ, [])


# --- Notices ----------------------------------------------------------------------------------------------------------


@action
def send_notice(
    tenant: Tenant,
    by: HasActor | None,
    title: str,
    message: str,
    level: str = "info",
    notice_id: UUID | None = None,
) -> Event:
    """Tell everybody in a tenant something: at once on the pages they have open, and then in their inboxes.

    Raises pydantic's ValidationError, which names the field; also for a `notice_id` that was used before.
    """
    facts = {"title": title, "message": message, "level": level} | ({"notice_id": notice_id} if notice_id else {})
    told = TenantNotice.model_validate({"tenant_id": tenant.id, **facts})
    _store(
        Notice(
            id=told.notice_id,
            tenant=tenant,
            title=told.title,
            message=told.message,
            level=told.level,
            sender_name=by.actor.name if by else "",
        )
    )
    return emit(told, by=by)


#: What POST /api/events/publish does with this type.
TenantNotice.publish = send_notice


def _store(notice: Notice) -> None:
    try:
        with transaction.atomic():
            notice.save(force_insert=True)
    except IntegrityError:
        taken = PydanticCustomError("taken", "A notice with this id was sent before. Nothing was sent: take a new id.")
        problem = InitErrorDetails(type=taken, loc=("noticeId",), input=str(notice.id))
        raise ValidationError.from_exception_data("TenantNotice", [problem]) from None


# --- Retention --------------------------------------------------------------------------------------------------------


def forget_old() -> int:
    """Delete what was removed, read or put away long ago, or was in no inbox; how many they were. No count of unread
    ones changes by it. What was solved long ago is forgotten, too."""
    now = timezone.now()
    removed = Q(removed_at__lt=now - timedelta(days=settings.REMOVED_NOTIFICATIONS_KEPT_DAYS))
    long_ago = now - timedelta(days=settings.READ_NOTIFICATIONS_KEPT_DAYS)
    Cause.objects.filter(Q(solved_at__lt=long_ago) | Q(solved_at=None, created_at__lt=long_ago)).delete()
    done = Q(read_at__lt=long_ago) | Q(archived_at__lt=long_ago) | Q(number=None, created_at__lt=long_ago)
    return Notification.objects.filter(removed | done).delete()[0]


# --- Rows -------------------------------------------------------------------------------------------------------------


def _lock(user: User) -> Inbox:
    return _lock_all({user.pk})[0]


def _lock_all(people: set[UUID]) -> list[Inbox]:
    """The inboxes of these people, in one order, so that two who lock several wait for each other."""
    Inbox.objects.bulk_create([Inbox(user_id=person) for person in sorted(people)], ignore_conflicts=True)
    return list(Inbox.objects.select_for_update().filter(pk__in=people).order_by("pk"))


def _announce(inbox: Inbox, change: Change, ids: Sequence[UUID], **more: str) -> None:
    inbox.version += 1
    _count_anew([inbox])
    inbox_changed.send(Inbox, inbox=inbox, change=change.value, ids=ids, **more)


def _count_anew(inboxes: Sequence[Inbox]) -> None:
    """Store how many each has unread, and its version."""
    people = [inbox.user_id for inbox in inboxes]
    counted = Notification.objects.in_reach().unread().filter(user__in=people).order_by().values("user")
    unread = dict(counted.annotate(unread=Count("pk")).values_list("user", "unread"))
    for inbox in inboxes:
        inbox.unread = unread.get(inbox.user_id, 0)
    Inbox.objects.bulk_update(inboxes, ["unread", "version"])


def _chunks(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for first in range(0, len(ids), IDS_IN_ONE_EVENT):
        yield ids[first : first + IDS_IN_ONE_EVENT]
