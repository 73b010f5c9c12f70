"""Streams: what is kept, for how long, and what can be recovered, by a clock that tests move."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.codes import Refused
from engine.history import History, Position, Publication, Retention

CHANNEL = "tenant:acme:dashboard"
KEPT = Retention(size=5, ttl=60.0, meta_ttl=600.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Streams:
    """A history with its clock, and the channels that somebody listens to."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.listened: set[str] = set()
        self.history = History(self.clock, self.listened.__contains__)

    def publish(self, data: object = 1, version: int = 0, epoch: str = "", kept: Retention = KEPT) -> Position:
        publication = Publication(str(data).encode(), version=version)
        return self.history.publish(CHANNEL, publication, kept, epoch)[0]

    def offsets(self) -> list[int]:
        return [publication.offset for publication in self.history.read(CHANNEL, KEPT, -1)[0]]

    def recovers(self, since: Position, limit: int = 0) -> list[int] | None:
        recovery = self.history.recover(CHANNEL, KEPT, since, limit)
        return [publication.offset for publication in recovery.publications] if recovery.recovered else None


@pytest.fixture
def streams() -> Streams:
    return Streams()


def test_the_newest_are_kept(streams: Streams) -> None:
    for _ in range(8):
        streams.publish()
    assert streams.offsets() == [4, 5, 6, 7, 8]


def test_each_publication_is_kept_for_its_time(streams: Streams) -> None:
    streams.publish()
    streams.clock.now += 40
    streams.publish()
    streams.clock.now += 40
    assert streams.offsets() == [2]


def test_after_six_minutes_away_nothing_is_recovered_but_the_position_holds(streams: Streams) -> None:
    seen = streams.publish()
    top = streams.publish()
    streams.clock.now += 360
    assert streams.recovers(seen) is None
    assert streams.recovers(top) == []


def test_an_unused_stream_is_forgotten_after_its_meta_ttl(streams: Streams) -> None:
    old = streams.publish()
    streams.clock.now += 601
    new = streams.history.position(CHANNEL, KEPT)
    assert new.epoch != old.epoch
    assert new.offset == 0


def test_using_a_stream_keeps_it(streams: Streams) -> None:
    old = streams.publish()
    for _ in range(5):
        streams.clock.now += 599
        assert streams.history.position(CHANNEL, KEPT) == old


def test_a_stream_that_somebody_listens_to_is_never_forgotten(streams: Streams) -> None:
    old = streams.publish()
    streams.listened.add(CHANNEL)
    streams.clock.now += 100_000
    streams.history.forget_expired()
    assert streams.history.position(CHANNEL, KEPT) == old


def test_memory_is_given_back(streams: Streams) -> None:
    streams.publish()
    streams.clock.now += 61
    streams.history.forget_expired()
    assert not streams.history._streams[CHANNEL].kept
    streams.clock.now += 600
    streams.history.forget_expired()
    assert not streams.history._streams


def test_publications_say_what_they_carry() -> None:
    publication = Publication(b'{"a":1}', tags=b'{"t":"x"}', info=b'{"user":"alice"}', offset=1, epoch="e", version=7)
    common = b'"data":{"a":1},"info":{"user":"alice"},"offset":1,"tags":{"t":"x"}'
    assert publication.for_api() == b"{" + common + b"}"
    assert publication.for_client() == b"{" + common + b',"version":7,"epoch":"e"}'


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["", "log", "other"]))))
def test_within_an_epoch_versions_are_accepted_once_and_only_upwards(versions: list[tuple[int, str]]) -> None:
    streams = Streams()
    last: tuple[int, str] = (0, "")
    accepted = 0
    for version, epoch in versions:
        is_repeat = version and version <= last[0] and epoch in ("", last[1])
        if not is_repeat:
            accepted += 1
            last = (version, epoch) if version else last
        assert streams.publish("1", version, epoch).offset == accepted


class StreamMachine(RuleBasedStateMachine):
    """The history beside a model that remembers everything: what is recovered has no gap, no double, no stranger."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = Streams()
        self.epoch = ""
        self.published: list[tuple[float, int]] = []  # when, offset, of the current epoch
        self.used_at = self.streams.clock.now
        self.removed_up_to = 0

    def _touch(self) -> None:
        now = self.streams.clock.now
        if self.epoch and now >= self.used_at + KEPT.meta_ttl:
            self.epoch, self.published, self.removed_up_to = "", [], 0
        self.used_at = now

    def _expected(self) -> list[int]:
        now = self.streams.clock.now
        newest = self.published[-KEPT.size :]
        return [offset for when, offset in newest if when + KEPT.ttl > now and offset > self.removed_up_to]

    @rule(seconds=st.sampled_from([0.5, 20.0, 61.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.streams.clock.now += seconds

    @rule(times=st.integers(1, 7))
    def publish(self, times: int) -> None:
        for _ in range(times):
            self._touch()
            position = self.streams.publish()
            assert position.epoch
            assert self.epoch in ("", position.epoch)
            self.epoch = position.epoch
            self.published.append((self.streams.clock.now, position.offset))
            assert position.offset == len(self.published)

    @rule()
    def remove(self) -> None:
        self.streams.history.remove(CHANNEL)
        self.removed_up_to = len(self.published)

    @rule()
    def sweep(self) -> None:
        self.streams.history.forget_expired()

    @rule(offset=st.integers(0, 20), limit=st.sampled_from([0, 1, 3]), same_epoch=st.booleans())
    def recover(self, offset: int, limit: int, same_epoch: bool) -> None:
        self._touch()
        self.epoch = self.epoch or self.streams.history.position(CHANNEL, KEPT).epoch
        found = self.streams.recovers(Position(offset, self.epoch if same_epoch else "other"), limit)
        top = len(self.published)
        missed = list(range(offset + 1, top + 1))
        possible = same_epoch and offset <= top and set(missed) <= set(self._expected())
        if possible and (not limit or len(missed) <= limit):
            assert found == missed
        else:
            assert found is None

    @rule(limit=st.integers(-1, 6), since=st.none() | st.integers(0, 20), reverse=st.booleans())
    def read(self, limit: int, since: int | None, reverse: bool) -> None:
        self._touch()
        self.epoch = self.epoch or self.streams.history.position(CHANNEL, KEPT).epoch
        position = None if since is None else Position(since, self.epoch)
        expected = self._expected()
        if since is not None:
            expected = [n for n in expected if (n < since if reverse else n > since)]
        if reverse:
            expected = expected[::-1]
        context = pytest.raises(Refused) if reverse and since == 0 else contextlib.nullcontext()
        with context:
            found, top = self.streams.history.read(CHANNEL, KEPT, limit, position, reverse)
            assert [publication.offset for publication in found] == (expected if limit < 0 else expected[:limit])
            assert top == Position(len(self.published), self.epoch)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert all(len(stream.kept) <= KEPT.size for stream in self.streams.history._streams.values())


TestStreams = StreamMachine.TestCase
TestStreams.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
