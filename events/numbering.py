"""Numbering: each committed event gets the next `seq`, once, in the order of event ids among those that can be seen.

Anyone may number at any time; the lock on the one row of LogState makes it happen one at a time, and everything is one
transaction. Events emitted under one row's lock get their seq in commit order: whoever sees the later of them sees the
earlier one too, in the same look, and its id is lower.

An id that was passed over is a *hole*: its transaction may have rolled back, or may still be running. A hole is looked
at again in every look, and forgotten when every transaction that ran when it was first seen has ended.

It is plain SQL, the same for both databases: half of what a live page waits for happens here.
"""

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from events import databases
from events.catalogue import high_volume_types
from events.models import LogState
from events.wire import WIRE_FIELDS

BATCH = 500
#: A transaction gets its number a moment after it has taken its first event id; the check below can't see it before.
HOLE_KEPT_SECONDS = 60.0
#: What the push needs of an event, beside its seq. It has what an entry repeats.
PUSHED_FIELDS = ("id", "channels", "revokes", *WIRE_FIELDS)
#: What an entry repeats of its event.
_REPEATED = "type, tenant_id, actor_id, occurred_at"


class Hole(TypedDict):
    """Event ids from `first` to `last`; whoever holds one runs in a transaction below `until`."""

    first: int
    last: int
    until: int
    seen_at: float


class State(NamedTuple):
    """The row of LogState, as numbering reads and writes it."""

    last_seq: int
    last_event_id: int
    holes: list[Hole]


class Look(NamedTuple):
    """How the log stands, and whether something waits to be numbered: `is_at_gap` if only behind a gap in the ids.

    `rows` are what was numbered in this look, if that was asked for: each its seq and PUSHED_FIELDS.
    """

    state: State
    is_due: bool
    is_at_gap: bool = False
    rows: Sequence[tuple[Any, ...]] = ()

    @property
    def newest(self) -> int:
        """The last seq that was given."""
        return self.state.last_seq


def log_id() -> UUID:
    """The log's id. Its one row comes to be with the first use of a database."""
    return LogState.objects.get_or_create(pk=LogState.ONLY)[0].epoch


def look() -> Look:
    """One read that takes no lock, for the many times when there is nothing to do."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT last_seq, last_event_id, holes, EXISTS (SELECT 1 FROM events_event WHERE id > last_event_id)"
            " FROM events_logstate"
        )
        row = cursor.fetchone()
        if row is None:
            return Look(State(0, 0, []), is_due=True)
        last_seq, last_event_id, holes, is_due = row
        state = State(last_seq, last_event_id, json.loads(holes))
        return Look(state, is_due=bool(is_due) or _holes_are_due(cursor, state))


def number(limit: int = BATCH) -> Look:
    """Number up to `limit` committed events. The result is due if there may be more."""
    with transaction.atomic(), connection.cursor() as cursor:
        state = _locked_state(cursor)
        # Asked before the look, so that it shows what had ended by then; a new hole is dated after it, likewise.
        ended = databases.oldest_running_transaction() if state.holes else 0
        ids = _insert_entries(cursor, state, limit)
        holes = _still_open(without(state.holes, ids), ended) + _new_holes(state.last_event_id, ids)
        after = State(state.last_seq + len(ids), max([state.last_event_id, *ids]), holes)
        if after != state:
            cursor.execute(
                "UPDATE events_logstate SET last_seq = %s, last_event_id = %s, holes = %s",
                [after.last_seq, after.last_event_id, json.dumps(holes)],
            )
    return Look(after, is_due=len(ids) == limit)


def number_in_one_go(state: State, limit: int = BATCH, *, with_rows: bool = False) -> Look | None:
    """What `number` does, in one statement that is its own transaction: five times fewer are waited for.

    With `with_rows` it also returns what was numbered, for whoever would read just that next.

    It works on PostgreSQL, while nobody has numbered since `state` was read, and for the events whose ids follow
    without a gap: then an event's seq is as far from its id as that of the one before. What is behind a gap stays: a
    moment later the transaction in between has mostly ended. Returns None, and has done nothing, where it does not
    work, as where a hole has been filled: let `number` do it.
    """
    if not databases.writes_in_with():
        return None
    unnumbered, ends = _unnumbered(state)
    quiet = ["", *high_volume_types()]
    columns = ", ".join(PUSHED_FIELDS) if with_rows else f"id, {_REPEATED}"
    offset = state.last_seq - state.last_event_id
    parameters: list[Any] = [
        *(*ends, limit, state.last_event_id, state.last_event_id),
        *(state.last_seq, state.last_event_id, json.dumps(state.holes)),
        *(offset, timezone.now(), *quiet, offset),
    ]
    with connection.cursor() as cursor:
        # Whoever waits here for another that numbers finds the row changed, and does nothing.
        cursor.execute(
            f"""
            WITH found AS MATERIALIZED (
                SELECT {columns} FROM events_event WHERE {unnumbered} ORDER BY id LIMIT %s
            ), run AS MATERIALIZED (
                SELECT * FROM (
                    SELECT *, row_number() OVER (ORDER BY id) AS place, min(id) OVER () AS first FROM found
                ) AS placed
                WHERE id = %s + place AND first = %s + 1
            ), moved AS (
                UPDATE events_logstate SET last_seq = last_seq + run.size, last_event_id = last_event_id + run.size
                FROM (SELECT count(*) AS size FROM run) AS run
                WHERE last_seq = %s AND last_event_id = %s AND holes = %s::jsonb AND run.size > 0
                RETURNING 1
            ), numbered AS (
                INSERT INTO events_entry (seq, event_id, numbered_at, {_REPEATED}, is_activity)
                SELECT id + %s, id, %s, {_REPEATED}, type NOT IN ({", ".join(["%s"] * len(quiet))}) FROM run, moved
            )
            SELECT of_found.size, of_found.first, run.id + %s, {columns}
            FROM (SELECT count(*) AS size, min(id) AS first FROM found) AS of_found
            LEFT JOIN run ON EXISTS (SELECT FROM moved) ORDER BY run.id
            """,  # noqa: S608 - the names and the condition are ours, its values are parameters
            parameters,
        )
        answer = cursor.fetchall()
    found, first = answer[0][:2]
    rows = [row for _, _, *row in answer if row[0] is not None]
    numbered = len(rows)
    if found and not numbered and first <= state.last_event_id + 1:
        return None  # somebody else has numbered, or a hole has been filled
    after = state._replace(last_seq=state.last_seq + numbered, last_event_id=state.last_event_id + numbered)
    waits = found > numbered
    return Look(after, is_due=found == limit or waits, is_at_gap=waits, rows=rows if with_rows else ())


def _locked_state(cursor: CursorWrapper) -> State:
    sql = "SELECT last_seq, last_event_id, holes FROM events_logstate " + databases.for_update()  # noqa: S608
    cursor.execute(sql)
    row = cursor.fetchone()
    if row is None:
        log_id()
        cursor.execute(sql)
        row = cursor.fetchone()
    last_seq, last_event_id, holes = row
    return State(last_seq, last_event_id, json.loads(holes))


def _insert_entries(cursor: CursorWrapper, state: State, limit: int) -> list[int]:
    """Give the next events their entries, in one statement. Returns the events' ids, ascending."""
    unnumbered, parameters = _unnumbered(state)
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    quiet = ["", *high_volume_types()]  # never empty: an empty list is no SQL
    cursor.execute(
        f"""
        INSERT INTO events_entry (seq, event_id, numbered_at, {_REPEATED}, is_activity)
        SELECT %s + row_number() OVER (ORDER BY id), id, %s, {_REPEATED}, type NOT IN ({", ".join(["%s"] * len(quiet))})
        FROM (SELECT id, {_REPEATED} FROM events_event WHERE {unnumbered} ORDER BY id LIMIT %s) AS found
        RETURNING event_id
        """,  # noqa: S608 - the names and the condition are ours, its values are parameters
        [state.last_seq, now, *quiet, *parameters, limit],
    )
    return sorted(event_id for (event_id,) in cursor.fetchall())


def _unnumbered(state: State) -> tuple[str, list[int]]:
    """The condition on an event's id, and its parameters."""
    condition = " OR ".join(["id > %s", *["id BETWEEN %s AND %s"] * len(state.holes)])
    ends = [end for hole in state.holes for end in (hole["first"], hole["last"])]
    return condition, [state.last_event_id, *ends]


def _holes_are_due(cursor: CursorWrapper, state: State) -> bool:
    """Whether a late commit has filled a hole, or the oldest hole has had its time."""
    if not state.holes:
        return False
    condition, parameters = _unnumbered(state)
    cursor.execute("SELECT EXISTS (SELECT 1 FROM events_event WHERE " + condition + ")", parameters)  # noqa: S608
    if cursor.fetchone()[0]:
        return True
    oldest = state.holes[0]
    if time.time() - oldest["seen_at"] < HOLE_KEPT_SECONDS:
        return False
    return databases.oldest_running_transaction() >= oldest["until"]


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
