"""Numbering: each committed event gets the next `seq`, once, in the order of event ids among those that can be seen.

Anyone may number at any time; the lock on the one row of LogState makes it happen one at a time, and everything is one
transaction. Events emitted under one row's lock get their seq in commit order: whoever sees the later of them sees the
earlier one too, in the same look, and its id is lower.

An id that was passed over is a *hole*: its transaction may have rolled back, or may still be running. A hole is looked
at again in every look, and forgotten when every transaction that ran when it was first seen has ended.
"""

import time
from collections.abc import Iterable
from typing import TypedDict
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_scopes import scopes_disabled

from events import databases
from events.models import Entry, Event, LogState

BATCH = 500
#: A transaction gets its number a moment after it has taken its first event id; the check below can't see it before.
HOLE_KEPT_SECONDS = 60.0


class Hole(TypedDict):
    """Event ids from `first` to `last`; whoever holds one runs in a transaction below `until`."""

    first: int
    last: int
    until: int
    seen_at: float


def log_state() -> LogState:
    """The log's one row. It comes to be with the first use of a database."""
    return LogState.objects.get_or_create(pk=LogState.ONLY)[0]


def log_id() -> UUID:
    return log_state().epoch


@scopes_disabled()
def number(limit: int = BATCH) -> tuple[int, int]:
    """Number up to `limit` committed events. Returns how many there were, and the log's last seq."""
    state = log_state()
    if not Event.objects.filter(_unnumbered(state)).exists() and not _forgettable(state):
        return 0, state.last_seq
    with transaction.atomic():
        return _number_locked(LogState.objects.select_for_update().get(pk=LogState.ONLY), limit)


def _unnumbered(state: LogState) -> Q:
    wanted = Q(id__gt=state.last_event_id)
    for hole in state.holes:
        wanted |= Q(id__range=(hole["first"], hole["last"]))
    return wanted


def _forgettable(state: LogState) -> bool:
    """Whether the oldest hole has had its time."""
    holes: list[Hole] = state.holes
    if not holes or time.time() - holes[0]["seen_at"] < HOLE_KEPT_SECONDS:
        return False
    return databases.oldest_running_transaction() >= holes[0]["until"]


def _number_locked(state: LogState, limit: int) -> tuple[int, int]:
    # Asked before the look: what had ended by then is in it. A new hole is dated after the look, for the same reason.
    ended = databases.oldest_running_transaction() if state.holes else 0
    ids = list(Event.objects.filter(_unnumbered(state)).order_by("id").values_list("id", flat=True)[:limit])
    now = timezone.now()
    Entry.objects.bulk_create(
        Entry(seq=seq, event_id=event_id, numbered_at=now) for seq, event_id in enumerate(ids, state.last_seq + 1)
    )
    state.holes = _still_open(without(state.holes, ids), ended) + _new_holes(state.last_event_id, ids)
    state.last_seq += len(ids)
    state.last_event_id = max([state.last_event_id, *ids])
    state.save()
    return len(ids), state.last_seq


def _still_open(holes: list[Hole], ended: int) -> list[Hole]:
    now = time.time()
    return [hole for hole in holes if hole["until"] > ended or now - hole["seen_at"] < HOLE_KEPT_SECONDS]


def _new_holes(after: int, ids: list[int]) -> list[Hole]:
    found = gaps(after, ids) if databases.many_writers() else []
    if not found:
        return []
    until, now = databases.next_transaction(), time.time()
    return [Hole(first=first, last=last, until=until, seen_at=now) for first, last in found]


def gaps(after: int, ids: Iterable[int]) -> list[tuple[int, int]]:
    """The ranges (first, last) that the ascending `ids` pass over, from `after` on; those up to `after` don't count."""
    found = []
    for event_id in ids:
        if event_id > after + 1:
            found.append((after + 1, event_id - 1))
        after = max(after, event_id)
    return found


def without(holes: list[Hole], ids: list[int]) -> list[Hole]:
    """The holes that are left when these ids, ascending, have turned up."""
    left: list[Hole] = []
    for hole in holes:
        inside = [event_id for event_id in ids if hole["first"] <= event_id <= hole["last"]]
        pieces = gaps(hole["first"] - 1, [*inside, hole["last"] + 1])
        left += [Hole(first=first, last=last, until=hole["until"], seen_at=hole["seen_at"]) for first, last in pieces]
    return left
