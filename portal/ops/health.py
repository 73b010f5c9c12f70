"""How the platform is, part by part: what /readyz, the operations home and `manage.py pulse` all ask.

`look()` reads the facts and judges them; `note()` remembers the judgement and emits `health_update` when it changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import Count
from django.utils import timezone

from events import databases, engine_client, handling, heartbeats, log
from events.cursors import PUSH
from events.emit import emit
from events.heartbeats import Process
from events.models import Cursor, DeadLetter, Entry
from portal import times
from portal.events import HealthUpdate
from portal.models import PlatformHealth

ENGINE_ANSWERS_WITHIN_SECONDS = 0.5
REDIS_ANSWERS_WITHIN_SECONDS = 0.5
#: An event that waits for a cursor longer than this makes that cursor late. Up to here it is on its way.
LATE_AFTER = timedelta(seconds=10)


class State(StrEnum):
    """`degraded` is worth a look; with a part `failed` something that people use stands still."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the platform. `detail` says what it is like now; `reason`, where it is not well, what was seen.

    A reason goes on after the part's name and a colon. `needs`: names of the parts without which this one stands still,
    through no fault of its own.
    """

    name: str
    state: State = State.OK
    reason: str = ""
    since: datetime | None = None
    detail: str = ""
    needs: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        return self.state == State.OK


@dataclass(frozen=True, slots=True)
class CursorFacts:
    """How far a consumer of the log is. `waiting_since`: when the event it has to deal with next got its number."""

    name: str
    position: int = 0
    lag: int = 0
    waiting_since: datetime | None = None
    attempts: int = 0
    error: str = ""
    dead_letters: int = 0

    def is_late(self, now: datetime) -> bool:
        return self.waiting_since is not None and now - self.waiting_since > LATE_AFTER


@dataclass(frozen=True, slots=True)
class Engine:
    """What the engine says of itself: `connections` of all its nodes; None for what it did not say."""

    connections: int | None = None
    detail: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """The platform at one moment. Without the database only `parts` is filled, by what could be seen without it."""

    at: datetime
    parts: Sequence[Part]
    cursors: Sequence[CursorFacts] = ()
    engine: Engine = field(default_factory=Engine)
    newest_seq: int = 0
    dead_letters: int = 0

    @property
    def problems(self) -> list[Part]:
        """What is not well, the worst first."""
        return sorted((part for part in self.parts if not part.is_well), key=lambda part: part.state != State.FAILED)

    @property
    def database_is_away(self) -> bool:
        return any(part.name == "database" and not part.is_well for part in self.parts)

    def needed_by(self, part: Part) -> list[Part]:
        return [one for one in self.parts if one.name in part.needs]

    def part(self, name: str) -> Part | None:
        return next((part for part in self.parts if part.name == name), None)


# --- Looking ----------------------------------------------------------------------------------------------------------


def look() -> Health:
    """How every part is now. Asks the engine, and Redis where one is configured: half a second each at most.

    A handful of queries, whatever there is. Call it outside a transaction.
    """
    now = timezone.now()
    engine = _engine()
    outside = [_part_of_engine(engine), *([_redis()] if settings.REDIS_URL else [])]
    try:
        _database()
        newest = log.newest_seq()
        letters = _dead_letters()
        cursors = _cursors(newest, letters)
        processes = heartbeats.all_processes()
    except DatabaseError:
        away = Part("database", State.FAILED, "does not answer")
        return Health(now, [away, *outside], engine=engine)
    parts = [
        Part("database", detail=connection.vendor),
        *outside,
        *(judge_process(kind, processes) for kind in PROCESSES),
        *(judge_cursor(cursor, now) for cursor in cursors),
        judge_dead_letters(waiting := sum(letters.values())),
    ]
    return Health(now, parts, cursors, engine, newest, waiting)


def _database() -> None:
    databases.knock()  # at once, where the pool would go on trying
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _engine() -> Engine:
    try:
        (reply,) = engine_client.push([{"info": {}}], timeout=ENGINE_ANSWERS_WITHIN_SECONDS)
    except (engine_client.EngineAway, engine_client.EngineRefused) as problem:
        text = str(problem).rstrip(".")
        return Engine(problem=text[:1].lower() + text[1:])
    if "error" in reply:
        return Engine(problem=f"answers with the error {reply['error'].get('code')}")
    nodes = reply["info"].get("nodes", [])
    return Engine(sum(node.get("num_clients", 0) for node in nodes), _describe(nodes))


_KINDS = {"embedded": "In the web processes", "process": "A process of its own", "centrifugo": "Centrifugo"}


def _describe(nodes: list[dict[str, Any]]) -> str:
    if not nodes:
        return ""
    kind = _KINDS.get(settings.ENGINE, settings.ENGINE)
    version = f" {nodes[0].get('version', '')}" if settings.ENGINE == "centrifugo" else ""
    count = "" if len(nodes) == 1 else f", {len(nodes)} nodes"
    uptime = times.took(timedelta(seconds=max(int(node.get("uptime", 0)) for node in nodes)))
    return f"{kind}{version}{count}, up {uptime}"


def _part_of_engine(engine: Engine) -> Part:
    if engine.problem:
        return Part("engine", State.FAILED, engine.problem)
    return Part("engine", detail=engine.detail)


def _redis() -> Part:
    seconds = REDIS_ANSWERS_WITHIN_SECONDS
    patience = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    client = redis.Redis.from_url(settings.REDIS_URL, **patience, **settings.REDIS_TLS)
    try:
        client.ping()
    except redis.RedisError:
        return Part("redis", State.FAILED, "does not answer")
    finally:
        client.close()
    return Part("redis")


def _dead_letters() -> dict[str, int]:
    """How many wait for a decision, by cursor."""
    waiting = DeadLetter.objects.filter(resolution="").order_by()
    return dict(waiting.values_list("cursor").annotate(waiting=Count("pk")))


def _cursors(newest: int, letters: Mapping[str, int]) -> list[CursorFacts]:
    """The push and every handler that the code has. What is left of others is no consumer any more."""
    rows = {cursor.name: cursor for cursor in Cursor.objects.all()}
    positions = {name: rows[name].position if name in rows else 0 for name in consumers()}
    nexts = [position + 1 for position in positions.values() if position < newest]
    numbered = dict(Entry.objects.filter(seq__in=nexts).values_list("seq", "numbered_at")) if nexts else {}
    return [
        CursorFacts(
            name=name,
            position=position,
            lag=max(0, newest - position),
            waiting_since=numbered.get(position + 1),
            attempts=rows[name].attempts if name in rows else 0,
            error=rows[name].last_error if name in rows else "",
            dead_letters=letters.get(name, 0),
        )
        for name, position in positions.items()
    ]


def consumers() -> list[str]:
    """The names of the cursors that have somebody to move them."""
    return [PUSH, *(handler.cursor for handler in handling.all_handlers())]


# --- Judging ----------------------------------------------------------------------------------------------------------

#: Processes by what it means that none of a kind is heard.
PROCESSES = {
    "relay": State.FAILED,
    "runner": State.FAILED,
    "worker": State.FAILED,
    "beat": State.DEGRADED,  # the relay wakes the handlers too
    "pulse": State.FAILED,
}


def judge_process(kind: str, processes: Iterable[Process]) -> Part:
    """Well while one of the kind is heard; else silent since the last was, or not there at all."""
    mine = [process for process in processes if process.kind == kind]
    alive = [process for process in mine if process.is_alive]
    if alive:
        silent = f"; {len(mine) - len(alive)} more silent" if len(mine) > len(alive) else ""
        detail = alive[0].detail if len(alive) == 1 else f"{len(alive)} running"
        return Part(kind, detail=detail + silent)
    if not mine:
        return Part(kind, PROCESSES[kind], "none is running")
    last = max(process.at for process in mine)
    return Part(kind, PROCESSES[kind], f"silent since {moment(last)}", since=last)


#: What moves the push, and every handler.
PUSH_NEEDS = ("relay", "engine", "redis")
HANDLER_NEEDS = ("worker", "redis")


def judge_cursor(cursor: CursorFacts, now: datetime) -> Part:
    """Late when an event has waited for long: what it waits for is said by the cursor's own error, if it has one."""
    needs = PUSH_NEEDS if cursor.name == PUSH else HANDLER_NEEDS
    if not cursor.is_late(now):
        return Part(cursor.name, needs=needs)
    assert cursor.waiting_since
    tried = f", after {cursor.attempts} failed attempts" if cursor.attempts > 1 else ""
    reason = f"events wait since {moment(cursor.waiting_since)}{tried}"
    return Part(cursor.name, State.DEGRADED, reason, since=cursor.waiting_since, needs=needs)


def judge_dead_letters(waiting: int) -> Part:
    if not waiting:
        return Part("dead_letters")
    return Part("dead_letters", State.DEGRADED, "some wait for somebody to retry or skip them")


def moment(at: datetime) -> str:
    """15:04:05 UTC today, with its date on any other day."""
    return f"{at:%H:%M:%S} UTC" if at.date() == timezone.now().date() else times.exact(at)


# --- Remembering ------------------------------------------------------------------------------------------------------


def note(health: Health) -> PlatformHealth | None:
    """Remember how the parts are and emit `health_update`, when a part's state is another than remembered.

    Returns what is remembered now, None when nothing has changed. Without a change it is one read.
    """
    states = {part.name: str(part.state) for part in health.parts}
    if states == PlatformHealth.now().states:
        return None
    with transaction.atomic():
        row = PlatformHealth.locked()
        if states == row.states:
            return None
        row.parts = {part.name: _remembered(part, row, health.at) for part in health.parts}
        row.version += 1
        row.changed_at = health.at
        row.save()
        emit(HealthUpdate.of(row))
    return row


def _remembered(part: Part, row: PlatformHealth, now: datetime) -> dict[str, str]:
    """A part that is in the same state keeps the reason and the time of when it got there."""
    before = row.parts.get(part.name)
    if before and before["state"] == part.state:
        return dict(before)
    return {"state": str(part.state), "reason": part.reason, "since": times.wire(part.since or now)}


def with_history(health: Health, remembered: PlatformHealth) -> Health:
    """The same, where each part that is in the state we remember says since when, and why it got there."""

    def known(part: Part) -> Part:
        before = remembered.parts.get(part.name)
        if before is None or before["state"] != part.state:
            return part
        return replace(part, reason=before["reason"], since=datetime.fromisoformat(before["since"]))

    return replace(health, parts=[known(part) for part in health.parts])
