"""The push: gives numbered events to the engine, in ordered batches. Its unit is (event, channel).

Pushing twice is safe: the engine drops a sequence number it has had in a channel. So the cursor moves behind a batch
when every reply to it has been read, and after any doubt the same batch goes out again.

While all goes well a batch is split among lanes (see `events.lanes`), and the next ones are sent after it before its
replies are there. A batch goes alone, in one request, if it is small, if it takes somebody's access away (nothing
later may go out before that), or while there is doubt.
"""

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import Min
from django.utils import timezone

from events import databases, engine_client, generations, metrics, numbering
from events.cursors import PUSH, Lease
from events.engine_client import Command, EngineAway, EngineRefused, EngineTimeout, Position, Reply
from events.generations import GenerationsAway
from events.lanes import LANES, Lane, lane_of
from events.models import DeadLetter, DueDisconnect, Push
from events.rewound import RewoundChannels
from events.stuck import StuckChannels
from events.wire import WIRE_FIELDS, wire

logger = logging.getLogger("events.relay")

BATCH = 500
BATCH_BYTES = 4_000_000
#: So many batches are under way at most: a lane need not wait for the slowest of a batch.
AHEAD = 3
#: Moves of the cursor over so many entries may be lost with PostgreSQL: what the fastest drain does in a second.
LOST_AT_MOST = 20 * BATCH
#: So many commands go out in one request: handing them to lanes would take longer.
FEW = 32
RENEW_SECONDS = 0.5
#: A connection that the gate was checking at the very moment of the first disconnect is found by the second. The gate
#: is asked for a second at most, and by the end of the next one nothing may be received: hence between the two.
DISCONNECT_AGAIN = timedelta(seconds=1.7)

_READ = f"""
    SELECT entry.seq, {", ".join(f"event.{name}" for name in numbering.PUSHED_FIELDS)}
    FROM events_entry AS entry JOIN events_event AS event ON event.id = entry.event_id
    WHERE entry.seq > %s ORDER BY entry.seq LIMIT %s
"""  # noqa: S608 - made of names that stand in this app

_INSERT_PUSH = "INSERT INTO events_push (first_seq, last_seq, at, outcomes) SELECT %s, %s, %s, %s::jsonb"

REPEAT = "repeat"
REFUSED = "refused"
Outcomes = dict[str, int | str]
#: Each a seq and `numbering.PUSHED_FIELDS`.
Rows = Sequence[Sequence[Any]]


class Numbered(NamedTuple):
    """What the push needs of an entry, and no more: model instances cost as much as all the rest."""

    seq: int
    event_id: int
    emitted_at: datetime
    data: bytes
    channels: list[str]
    revokes: list[tuple[str, int]]


class Item(NamedTuple):
    """One command of a batch: an event for a channel or, without one, a disconnect that it asks for."""

    entry: Numbered
    channel: str | None
    command: Command


class EngineFaltered(EngineAway):
    """The engine took some of a request's commands and could not do others now. `overtaken` can't be tried again.

    `waiting` are the channels of those that can; a disconnect's is None.
    """

    def __init__(self, reason: str, overtaken: list[tuple[Item, Reply]], waiting: set[str | None]) -> None:
        super().__init__(f"The engine can't do it now: {reason}")
        self.overtaken, self.waiting = overtaken, waiting


@dataclass
class Batch:
    """Entries on their way to the engine. `parts` has, for each lane, the items' places and the replies to come."""

    entries: list[Numbered]
    items: list[Item]
    parts: list[tuple[list[int], Future[list[Reply]]]] = field(default_factory=list)

    @property
    def last(self) -> int:
        return self.entries[-1].seq

    @property
    def goes_alone(self) -> bool:
        return len(self.items) <= FEW or any(item.channel is None for item in self.items)


class Pusher:
    """Pushes for whoever holds the lease of the push cursor."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.log_id = numbering.log_id()
        self._batch = BATCH
        self._lanes = [Lane() for _ in range(LANES)]
        self._under_way: deque[Batch] = deque()
        self._stuck = StuckChannels(engine_takes_something)
        self._rewound = RewoundChannels()
        # Up to here it may have been pushed before: by the one who had the lease, and after each doubt by ourselves.
        self._unsure_to = _newest_at_most(lease.position + LOST_AT_MOST)
        # Only who holds the lease adds to these, so that whether one is due need not be asked all the time.
        self._disconnect_at = _next_disconnect()

    @property
    def is_done(self) -> bool:
        """Nothing is under way: what is numbered next may be what is pushed next."""
        return not self._under_way

    def push(self, numbered: Rows = ()) -> int:
        """Push the next batch and move the cursor behind it. Returns how many entries that were.

        `numbered` is what was just numbered (see `numbering.Look`), which need not be read then.

        Raises EngineAway or GenerationsAway, when nothing has moved and it is to be tried again; and LeaseLost.
        """
        while len(self._under_way) < AHEAD and self._start_next(numbered):
            pass
        if not self._under_way:
            return 0
        batch = self._under_way[0]
        try:
            tops = self._tops(batch.items) if self._is_unsure and not batch.parts else {}
            if tops:
                self._rewound.mend(tops, {item.channel: item.command for item in batch.items if item.channel})
            replies = self._replies(batch)
        except (EngineAway, GenerationsAway) as error:
            self._doubt(error)
            raise
        self._record(batch.entries, batch.items, replies, tops)
        self._under_way.popleft()
        self._batch = min(BATCH, self._batch * 2)
        metrics.delivered(entry.emitted_at for entry in batch.entries)
        return len(batch.entries)

    @property
    def _is_unsure(self) -> bool:
        return self.lease.position < self._unsure_to

    def _start_next(self, numbered: Rows) -> bool:
        """Read the next batch and send it on its way. Returns whether another may follow it at once."""
        after = self._under_way[-1].last if self._under_way else self.lease.position
        is_there = bool(numbered) and numbered[0][0] == after + 1
        rows = numbered[: self._batch] if is_there else _rows_after(after, self._batch)
        entries = _within(BATCH_BYTES, map(_entry, rows))
        if not entries:
            return False
        batch = Batch(entries, [item for entry in entries for item in _items(entry, self.log_id)])
        goes_alone = self._is_unsure or batch.goes_alone
        if goes_alone and self._under_way:
            return False  # it is read again when those before it are done
        if not goes_alone:
            batch.parts = self._in_lanes(batch.items)
        self._under_way.append(batch)
        return not goes_alone and len(entries) == self._batch

    def _in_lanes(self, items: list[Item]) -> list[tuple[list[int], Future[list[Reply]]]]:
        given_up = frozenset(self._stuck.given_up)  # lanes are other threads
        places: dict[int, list[int]] = defaultdict(list)
        for place, item in enumerate(items):
            places[lane_of(item.channel or "")].append(place)
        return [
            (of_lane, self._lanes[lane].give(partial(_send_items, [items[place] for place in of_lane], given_up)))
            for lane, of_lane in places.items()
        ]

    def _replies(self, batch: Batch) -> list[Reply]:
        """The replies to the batch's items, in their order. Raises what a lane raised."""
        if not batch.parts:
            # The gate refuses the old generation from here on, so a connection we end below can't come back.
            _write_generations(batch.entries)
            return _send_items(batch.items, self._stuck.given_up)
        replies: list[Reply] = [{}] * len(batch.items)
        for places, future in batch.parts:
            for place, reply in zip(places, self._wait_for(future), strict=True):
                replies[place] = reply
        return replies

    def _wait_for(self, future: Future[list[Reply]]) -> list[Reply]:
        while True:
            try:
                return future.result(timeout=RENEW_SECONDS)
            except TimeoutError:
                self.lease.renew()

    def _doubt(self, error: Exception) -> None:
        """Forget what is under way: it goes out again from the cursor, and the engine drops what it has had."""
        if isinstance(error, EngineFaltered) and error.overtaken:
            letters = [_dead_letter(item.entry, item.channel or "", reply) for item, reply in error.overtaken]
            DeadLetter.objects.bulk_create(letters, ignore_conflicts=True)
        self._note_trouble(error)
        self._unsure_to = max(self._unsure_to, self._under_way[-1].last)
        for batch in list(self._under_way)[1:]:
            for _, future in batch.parts:
                future.cancel()  # what has begun goes on
        self._under_way.clear()
        self._lanes = [Lane() for _ in range(LANES)]
        if isinstance(error, EngineTimeout):
            self._batch = max(1, self._batch // 2)

    def _note_trouble(self, error: Exception) -> None:
        """A disconnect is never given up, so what else failed beside one is no reason to go on."""
        if isinstance(error, EngineFaltered) and None not in error.waiting:
            self._stuck.held_up_by(channel for channel in error.waiting if channel)
        else:
            self._stuck.forget()

    def _tops(self, items: list[Item]) -> dict[str, Position]:
        """Where the batch's channels stand before it: a reply that is not past this tells of a repeat."""
        names = list(dict.fromkeys(item.channel for item in items if item.channel))
        replies = send([engine_client.position_command(name) for name in names])
        return {
            name: Position.of(reply["history"])
            for name, reply in zip(names, replies, strict=True)
            if "history" in reply
        }

    def _record(
        self, entries: list[Numbered], items: list[Item], replies: list[Reply], tops: dict[str, Position]
    ) -> None:
        outcomes: dict[int, Outcomes] = {entry.seq: {} for entry in entries}
        letters = []
        for item, reply in zip(items, replies, strict=True):
            if item.channel is None:
                continue
            outcome = outcomes[item.entry.seq][item.channel] = _outcome(item.channel, reply, tops)
            if outcome == REFUSED:
                letters.append(_dead_letter(item.entry, item.channel, reply))
            elif outcome != REPEAT:
                self._rewound.accepted(item.channel, reply, item.command)
        self._rewound.mend_late()
        self._write(entries, outcomes, letters)
        self._stuck.taken(
            item.channel for item, reply in zip(items, replies, strict=True) if item.channel and "error" not in reply
        )
        _count(outcomes.values())

    def _write(self, entries: list[Numbered], outcomes: dict[int, Outcomes], letters: list[DeadLetter]) -> None:
        """Move the cursor behind the batch, with what became of it. Raises LeaseLost.

        Lost in a crash, it is pushed again, and dropped by the engine as a repeat.
        """
        first, last = entries[0].seq, entries[-1].seq
        disconnects = _due_disconnects(entries)
        if databases.writes_in_with() and not letters and not disconnects:
            self.lease.advance_and(last, _INSERT_PUSH, [first, last, timezone.now(), _json(outcomes)])
            return
        with transaction.atomic():
            databases.commit_may_be_lost()
            self.lease.advance(last)
            Push.objects.create(first_seq=first, last_seq=last, outcomes=outcomes)
            DeadLetter.objects.bulk_create(letters, ignore_conflicts=True)
            DueDisconnect.objects.bulk_create(disconnects)
        if disconnects:
            self._disconnect_at = _next_disconnect()

    def disconnect_again(self) -> None:
        """End once more the connections whose second disconnect is due. Raises EngineAway, when they stay due."""
        if self._disconnect_at is None or timezone.now() < self._disconnect_at:
            return
        due = list(DueDisconnect.objects.filter(due_at__lte=timezone.now())[:BATCH])
        commands = [engine_client.disconnect_command(str(disconnect)) for disconnect in due]
        for disconnect, reply in zip(due, send(commands), strict=True):
            if "error" in reply:
                raise EngineAway(f"The engine did not disconnect {disconnect}: {_reason(reply)}")
        DueDisconnect.objects.filter(pk__in=[disconnect.pk for disconnect in due]).delete()
        self._disconnect_at = _next_disconnect()


def _count(outcomes: Iterable[Outcomes]) -> None:
    """An outcome is "repeat", "refused" or, of what was accepted, an offset."""
    found = Counter("accepted" if isinstance(one, int) else one for of_entry in outcomes for one in of_entry.values())
    for outcome, number in found.items():
        metrics.PUBLICATIONS.labels(outcome).inc(number)


def send(commands: list[Command]) -> list[Reply]:
    """Like `engine_client.push`; a request refused as a whole is cut in two until what is refused stands alone."""
    try:
        return engine_client.push(commands)
    except EngineRefused as error:
        if len(commands) == 1:
            return [{"error": {"code": 0, "message": str(error)}}]
        middle = len(commands) // 2
        return send(commands[:middle]) + send(commands[middle:])


def _rows_after(seq: int, limit: int) -> Rows:
    # Plain SQL: through the ORM this read took a third of the time between a commit and its subscriber.
    with databases.prepared() as cursor:
        cursor.execute(_READ, [seq, limit])
        rows: Rows = cursor.fetchall()
        return rows


def _entry(row: Sequence[Any]) -> Numbered:
    number, event_id, channels, revokes, *values = row
    fields = dict(zip(WIRE_FIELDS, values, strict=True))
    fields["uuid"] = databases.as_uuid(fields["uuid"])
    fields["tenant_id"] = databases.as_uuid(fields["tenant_id"])
    fields["actor_id"] = databases.as_uuid(fields["actor_id"])
    fields["occurred_at"] = databases.as_datetime(fields["occurred_at"])
    fields["payload"] = orjson.loads(fields["payload"])
    data = orjson.dumps(wire(number, **fields))
    return Numbered(number, event_id, fields["occurred_at"], data, orjson.loads(channels), orjson.loads(revokes))


def engine_takes_something() -> bool:
    """Whether it would take an event now: it publishes something where nobody listens."""
    try:
        (reply,) = send([engine_client.trial_command()])
    except EngineAway:
        return False
    return "error" not in reply


def _send_items(items: list[Item], given_up: Collection[str]) -> list[Reply]:
    replies = send([item.command for item in items])
    _none_is_transient(items, replies, given_up)
    return replies


def _within(size: int, entries: Iterable[Numbered]) -> list[Numbered]:
    """The entries that fit into a request of `size` bytes, at least one."""
    fitting: list[Numbered] = []
    for entry in entries:
        size -= len(entry.data) * len(entry.channels)
        if size < 0 and fitting:
            break
        fitting.append(entry)
    return fitting


def _items(entry: Numbered, log_id: UUID) -> Iterator[Item]:
    for channel in entry.channels:
        yield Item(entry, channel, engine_client.publish_command(channel, entry.data, entry.seq, log_id))
    for user_id, generation in entry.revokes:
        yield Item(entry, None, engine_client.disconnect_command(f"{user_id}.{generation - 1}"))


def _newest_at_most(seq: int) -> int:
    """The last seq that was given, up to `seq`, of what was committed before.

    It numbers first: what was numbered and pushed just before a crash of PostgreSQL may be without a number again.
    """
    log = numbering.number()
    while log.is_due and log.newest < seq:
        log = numbering.number()
    return min(log.newest, seq)


def _next_disconnect() -> datetime | None:
    due: datetime | None = DueDisconnect.objects.aggregate(next=Min("due_at"))["next"]
    return due


def _due_disconnects(entries: list[Numbered]) -> list[DueDisconnect]:
    due = timezone.now() + DISCONNECT_AGAIN
    return [
        DueDisconnect(user_id=user_id, generation=generation, due_at=due)
        for entry in entries
        for user_id, generation in entry.revokes
    ]


def _write_generations(entries: list[Numbered]) -> None:
    for entry in entries:
        for user_id, generation in entry.revokes:
            generations.write(UUID(user_id), generation)


def _none_is_transient(items: list[Item], replies: list[Reply], given_up: Collection[str]) -> None:
    """Raise EngineFaltered if something may go through later. A disconnect must go through before anything moves on.

    What was overtaken in its channel by something later can't go through any more: the engine would drop it as a
    repeat. It is refused, like what the engine will never take, and what goes to a channel that was given up.
    """
    accepted = {item.channel: place for place, item in enumerate(items) if "error" not in replies[place]}
    overtaken: list[tuple[Item, Reply]] = []
    waits: list[tuple[Item, Reply]] = []
    for place, (item, reply) in enumerate(zip(items, replies, strict=True)):
        if not _is_trouble(item, reply) or item.channel in given_up:
            continue
        is_overtaken = item.channel is not None and accepted.get(item.channel, -1) > place
        (overtaken if is_overtaken else waits).append((item, reply))
    if waits:
        raise EngineFaltered(_reason(waits[0][1]), overtaken, {item.channel for item, _ in waits})


def _is_trouble(item: Item, reply: Reply) -> bool:
    if not (error := reply.get("error")):
        return False
    return item.channel is None or error.get("code") in engine_client.TRANSIENT_CODES


def _outcome(channel: str, reply: Reply, tops: dict[str, Position]) -> int | str:
    if "publish" not in reply:
        return REFUSED
    position = Position.of(reply["publish"])
    top = tops.get(channel)
    if top and position.epoch == top.epoch and position.offset <= top.offset:
        return REPEAT
    if top:
        tops[channel] = position
    return position.offset


def _json(outcomes: dict[int, Outcomes]) -> str:
    return orjson.dumps(outcomes, option=orjson.OPT_NON_STR_KEYS).decode()


def _dead_letter(entry: Numbered, channel: str, reply: Reply) -> DeadLetter:
    logger.error("The engine refused entry %s for %s: %s", entry.seq, channel, _reason(reply))
    return DeadLetter(cursor=PUSH, event_id=entry.event_id, channel=channel, error=_reason(reply))


def _reason(reply: Reply) -> str:
    error = reply.get("error") or {"message": f"a reply that is none: {reply}"}
    return f"{error.get('message')} ({error.get('code')})"
