"""The log, for those who read it: numbered events, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal
from uuid import UUID

from django.db.models import F, Max, Min, Q, QuerySet

from events.models import Entry, Event, LogState

PAGE_SIZE = 50


def entries_after(seq: int, limit: int) -> list[tuple[int, Event]]:
    """Up to `limit` entries that follow `seq`, oldest first, each with its event. Of every tenant: filter them."""
    entries = Entry.objects.filter(seq__gt=seq).select_related("event").order_by("seq")[:limit]
    return [(entry.seq, entry.event) for entry in entries]


def newest_seq() -> int:
    """The last sequence number given; 0 in an empty log."""
    return LogState.objects.values_list("last_seq", flat=True).first() or 0


def oldest_seq() -> int:
    """The first sequence number from which nothing has been pruned: who has read less has missed something."""
    return (LogState.objects.values_list("pruned_seq", flat=True).first() or 0) + 1


# --- Who did what -----------------------------------------------------------------------------------------------------


class Whose(Enum):
    """Instead of a tenant's or a person's id."""

    PLATFORM = "all of the platform"
    ANYBODY = "where somebody acted"
    NOBODY = "where nobody did"


@dataclass(frozen=True, slots=True)
class Asked:
    """What of the log a page shows.

    A tenant's activity is what somebody did there, as on its activity channel. The platform's (`Whose.PLATFORM`) is
    everything, as on its own channel; `tenant_id` narrows it to one tenant's. Neither has log lines or metrics.
    `kinds` are event types, all of them if empty; the period is [since, until), by when things happened.
    """

    whose: UUID | Literal[Whose.PLATFORM]
    tenant_id: UUID | None = None
    actor: UUID | Literal[Whose.ANYBODY, Whose.NOBODY] | None = None
    kinds: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first, each with its `seq`; whether there are more on either side of them."""

    rows: list[tuple[int, Event]]
    has_older: bool
    has_newer: bool


def activity(asked: Asked, *, before: int | None = None, after: int | None = None, limit: int = PAGE_SIZE) -> Page:
    """A page of the log in the order of `seq`: the newest, or the one next to `before` or `after`.

    It costs a walk along one index of entries, whatever the length of the log, and the events themselves by their key.
    A page that a link leads to says that there is more on the side it came from.
    """
    found = _entries(asked)
    if after is not None:
        seqs = list(found.filter(seq__gt=after).order_by("seq").values_list("seq", flat=True)[: limit + 1])
        return Page(_read(seqs[:limit]), has_older=True, has_newer=len(seqs) > limit)
    within = found if before is None else found.filter(seq__lt=before)
    seqs = list(within.order_by("-seq").values_list("seq", flat=True)[: limit + 1])
    return Page(_read(seqs[:limit]), has_older=len(seqs) > limit, has_newer=before is not None)


def _read(seqs: list[int]) -> list[tuple[int, Event]]:
    entries = Entry.objects.filter(seq__in=seqs).select_related("event").order_by("-seq")
    return [(entry.seq, entry.event) for entry in entries]


def _entries(asked: Asked) -> QuerySet[Entry]:
    found = Entry.objects.filter(is_activity=True)
    if asked.whose is not Whose.PLATFORM:
        found = found.filter(tenant_id=asked.whose, actor_id__isnull=False)
    if asked.tenant_id:
        found = found.filter(tenant_id=asked.tenant_id)
    if asked.actor is Whose.NOBODY:
        found = found.filter(actor_id__isnull=True)
    elif asked.actor is Whose.ANYBODY:
        found = found.filter(actor_id__isnull=False)
    elif asked.actor:
        found = found.filter(actor_id=asked.actor)
    if asked.kinds:
        found = found.filter(type__in=asked.kinds)
    return _within_period(found, asked) if asked.since or asked.until else found


def _within_period(found: QuerySet[Entry], asked: Asked) -> QuerySet[Entry]:
    """What happened in the period, by two queries: which part of the log that is, and what of it is asked for.

    Numbers are given later than things happen, and now and then in another order, so times alone say nothing about
    where to begin: asked for both at once, databases walk the log from its end to the period.
    """
    period = Q(occurred_at__gte=asked.since) if asked.since else Q()
    period &= Q(occurred_at__lt=asked.until) if asked.until else Q()
    # Plus 0: else PostgreSQL looks for the lowest seq by walking up the log instead of along the index of times.
    part = Entry.objects.filter(period, is_activity=True).aggregate(first=Min(F("seq") + 0), last=Max(F("seq") + 0))
    if part["first"] is None:
        return found.none()
    return found.filter(period, seq__gte=part["first"], seq__lte=part["last"])
