"""Numbering: each committed event gets the next `seq`, once, in the order of event ids among those that can be seen.

Anyone may number at any time; the one row of LogState, which all change, makes it happen one at a time, and everything
is one transaction. Events emitted under one row's lock get their seq in commit order: whoever sees the later of them
sees the earlier one too, in the same look, and its id is lower.

An id that was passed over is a *hole*: its transaction may have rolled back, or may still be running. A hole is looked
at again in every look, and forgotten when every transaction that ran when it was first seen has ended. SQLite has one
writer, and no holes.

It is plain SQL: half of what a live page waits for happens here.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from events import databases
from events.catalogue import high_volume_types
from events.models import LogState
from events.wire import WIRE_FIELDS

BATCH = 500
#: A transaction gets its number a moment after it has taken its first event id; until then nothing shows that it runs.
HOLE_KEPT_SECONDS = 60.0
#: What the push needs of an event, beside its seq. It has what an entry repeats.
PUSHED_FIELDS = ("id", "channels", "revokes", *WIRE_FIELDS)
#: What an entry repeats of its event.
_REPEATED = "type, tenant_id, actor_id, occurred_at"


class Look(NamedTuple):
    """The last seq that was given, and whether it is worth looking again at once.

    `rows` are what was numbered in this look, if that was asked for: each its seq and PUSHED_FIELDS.
    """

    newest: int
    is_due: bool
    rows: Sequence[tuple[Any, ...]] = ()


def log_id() -> UUID:
    """The log's id. Its one row comes to be with the first use of a database."""
    return LogState.objects.get_or_create(pk=LogState.ONLY)[0].epoch


def number(limit: int = BATCH, *, with_rows: bool = False) -> Look:
    """Number up to `limit` committed events. Raises RuntimeError inside a transaction: it is one.

    With `with_rows` it also returns what was numbered, where that costs nothing, for whoever would read just that next.
    """
    databases.forbid_transaction("Numbering")
    if not databases.writes_in_with():
        return _number_alone(limit)
    sql = _statement(limit, with_rows=with_rows)
    parameters: list[Any] = [HOLE_KEPT_SECONDS, timezone.now(), high_volume_types()]
    with databases.prepared() as cursor:
        cursor.execute(sql, parameters)
        answer = cursor.fetchall()
        if not answer:
            log_id()
            cursor.execute(sql, parameters)
            answer = cursor.fetchall()
    before, found, after = answer[0][:3]
    if found and after is None:
        return Look(before, is_due=True)  # somebody else has numbered meanwhile
    rows = [tuple(row) for _, _, _, *row in answer] if with_rows and found else ()
    return Look(before if after is None else after, is_due=found == limit, rows=rows)


@cache
def _statement(limit: int, *, with_rows: bool) -> str:
    """One statement, which is its own transaction: with each more there would be one more wait.

    Whoever finds at the end, having waited for the row of LogState, that somebody else has changed it does nothing.

    All that is read is read as of one moment, `pg_current_snapshot()`. Where that shows that all transactions below a
    hole's `until` had ended, it may be forgotten, if all that there was has been found. This transaction's own number,
    which it gets when it begins to write, is above those of all that have one and hold an id that it passes over: hence
    `until`.

    The commit waits for the disk if ids were passed over, now or before: an event that has gone out under a number must
    never be numbered otherwise. Without a hole it need not: numbered again after a crash, from where the log stood, the
    same events get the same numbers, because nothing can come between them.
    """
    columns = ", ".join(PUSHED_FIELDS) if with_rows else f"id, {_REPEATED}"
    numbered_rows = "LEFT JOIN run ON moved.last_seq IS NOT NULL ORDER BY run.seq" if with_rows else ""
    return f"""
        WITH state AS MATERIALIZED (
            SELECT last_seq, last_event_id, holes FROM events_logstate WHERE id = {LogState.ONLY}
        ), hole AS MATERIALIZED (
            SELECT hole.* FROM state, jsonb_to_recordset(state.holes)
                AS hole (first bigint, last bigint, until bigint, seen_at numeric)
            LIMIT (SELECT jsonb_array_length(holes) FROM state)  -- all; else the planner expects a hundred
        ), late AS MATERIALIZED (
            SELECT event.* FROM hole, LATERAL (
                SELECT {columns} FROM events_event WHERE id BETWEEN hole.first AND hole.last ORDER BY id LIMIT {limit:d}
            ) AS event
        ), found AS MATERIALIZED (
            SELECT * FROM late UNION ALL (
                SELECT {columns} FROM events_event WHERE id > (SELECT last_event_id FROM state)
                ORDER BY id LIMIT {limit:d}
            ) ORDER BY id LIMIT {limit:d}
        ), looked_at AS (  -- the ranges of ids that have been looked through: the holes, and what is new
            SELECT first, last, until, seen_at FROM hole
            WHERE until > pg_snapshot_xmin(pg_current_snapshot())::text::bigint
                OR seen_at > extract(epoch FROM now()) - %s::numeric OR (SELECT count(*) FROM found) = {limit:d}
            UNION ALL
            SELECT last_event_id + 1, greatest(last_event_id, (SELECT max(id) FROM found)), NULL,
                extract(epoch FROM now()) FROM state
        ), passed_over AS (  -- what is left of each, between the ids that were found
            SELECT before + 1 AS first, id - 1 AS last, seen_at,
                coalesce(until, pg_current_xact_id()::text::bigint + 1) AS until
            FROM (
                SELECT looked_at.*, id, coalesce(
                    lag(id) OVER (PARTITION BY looked_at.first ORDER BY id), looked_at.first - 1) AS before
                FROM looked_at, LATERAL (
                    SELECT id FROM found WHERE id BETWEEN looked_at.first AND looked_at.last
                    UNION ALL SELECT looked_at.last + 1
                ) AS end_of_gap
            ) AS gap
            WHERE id > before + 1
        ), after AS MATERIALIZED (
            SELECT last_seq + (SELECT count(*) FROM found) AS last_seq,
                greatest(last_event_id, (SELECT max(id) FROM found)) AS last_event_id,
                (SELECT coalesce(jsonb_agg(to_jsonb(passed_over) ORDER BY first), '[]') FROM passed_over) AS holes
            FROM state
        ), moved AS (
            UPDATE events_logstate AS log
            SET last_seq = after.last_seq, last_event_id = after.last_event_id, holes = after.holes
            FROM state, after
            WHERE id = {LogState.ONLY}
                AND (log.last_seq, log.last_event_id, log.holes) = (state.last_seq, state.last_event_id, state.holes)
                AND (after.last_seq, after.holes) <> (state.last_seq, state.holes)
            RETURNING log.last_seq,
                CASE WHEN '[]' = state.holes AND '[]' = log.holes THEN {databases.LET_COMMIT_BE_LOST} END
        ), run AS (
            SELECT state.last_seq + row_number() OVER (ORDER BY id) AS seq, found.* FROM found, state
        ), numbered AS (
            INSERT INTO events_entry (seq, event_id, numbered_at, {_REPEATED}, is_activity)
            SELECT seq, id, %s, {_REPEATED}, type <> ALL(%s) FROM run, moved
        )
        SELECT state.last_seq, (SELECT count(*) FROM found), moved.last_seq {", run.*" if with_rows else ""}
        FROM state LEFT JOIN moved ON true {numbered_rows}
        """  # noqa: S608 - the names are ours, `limit` is a number


def _number_alone(limit: int) -> Look:
    """On SQLite, whose transactions lock the whole database when they begin: so it looks first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT last_seq, EXISTS (SELECT 1 FROM events_event WHERE id > last_event_id) FROM events_logstate"
        )
        row = cursor.fetchone()
    if row is None:
        log_id()
    elif not row[1]:
        return Look(row[0], is_due=False)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT last_seq, last_event_id FROM events_logstate")
        last_seq, last_event_id = cursor.fetchone()
        quiet = ["", *high_volume_types()]  # never empty: an empty list is no SQL
        cursor.execute(
            f"""
            INSERT INTO events_entry (seq, event_id, numbered_at, {_REPEATED}, is_activity)
            SELECT %s + row_number() OVER (ORDER BY id), id, %s, {_REPEATED},
                type NOT IN ({", ".join(["%s"] * len(quiet))})
            FROM (SELECT id, {_REPEATED} FROM events_event WHERE id > %s ORDER BY id LIMIT %s) AS found
            RETURNING event_id
            """,  # noqa: S608 - the names are ours, the values are parameters
            [last_seq, connection.ops.adapt_datetimefield_value(timezone.now()), *quiet, last_event_id, limit],
        )
        ids = [event_id for (event_id,) in cursor.fetchall()]
        if ids:
            last_seq += len(ids)
            cursor.execute("UPDATE events_logstate SET last_seq = %s, last_event_id = %s", [last_seq, max(ids)])
    return Look(last_seq, is_due=len(ids) == limit)
