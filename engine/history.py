"""The streams of publications that let a client that was away catch up.

A stream has an *epoch*, which changes when it was lost, and an *offset*, which rises by one with each publication.
Publications leave it by number (size) and by age (ttl); epoch and offset stay for the meta ttl after the last use. All
times are the clock's seconds.
"""

from __future__ import annotations

import secrets
import string
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import orjson

from engine.clock import Clock
from engine.codes import INTERNAL, UNRECOVERABLE_POSITION, Refused

EPOCH_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a stream: everything up to and including this offset was seen."""

    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Publication:
    """What was published, its JSON encoded once and shared by all who get it. Offset 0: it is in no stream."""

    data: bytes
    tags: bytes | None = None
    info: bytes | None = None
    offset: int = 0
    epoch: str = ""
    version: int = 0

    def for_api(self) -> bytes:
        return b"{" + self._json() + b"}"

    def for_client(self) -> bytes:
        """The first publication of a stream tells clients its epoch: they may have subscribed before there was one."""
        parts = [b"{", self._json()]
        if self.version:
            parts.append(b',"version":%d' % self.version)
        if self.offset == 1:
            parts.append(b',"epoch":"%s"' % self.epoch.encode())
        parts.append(b"}")
        return b"".join(parts)

    def _json(self) -> bytes:
        parts = [b'"data":', self.data]
        if self.info:
            parts += (b',"info":', self.info)
        if self.offset:
            parts.append(b',"offset":%d' % self.offset)
        if self.tags:
            parts += (b',"tags":', self.tags)
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a stream is kept: publications, seconds of each, seconds of epoch and offset after the last use."""

    size: int
    ttl: float
    meta_ttl: float


@dataclass(frozen=True, slots=True)
class Version:
    """A publisher's own numbering: within one version epoch, what is not newer than the last is dropped.

    Number 0 is of a publication without a version: never dropped, and it changes nothing for those with one.
    """

    number: int = 0
    epoch: str = ""

    def is_newer_than(self, last: Version) -> bool:
        if not self.number or (self.epoch and self.epoch != last.epoch):
            return True
        return self.number > last.number


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a client that came back missed, or that this can no longer be said."""

    recovered: bool
    position: Position
    publications: list[Publication] = field(default_factory=list)


@dataclass(slots=True)
class _Stream:
    epoch: str
    expires_at: float
    top: int = 0
    version: Version = Version()
    kept: deque[tuple[float, Publication]] = field(default_factory=deque)  # (when it expires, publication)

    @property
    def position(self) -> Position:
        return Position(self.top, self.epoch)

    def forget(self, now: float, size: int | None = None) -> None:
        while self.kept and (self.kept[0][0] <= now or (size is not None and len(self.kept) > size)):
            self.kept.popleft()

    def after(self, offset: int) -> Iterable[Publication]:
        return (publication for _, publication in self.kept if publication.offset > offset)


class History:
    """All streams of the process. `in_use` says whether a channel has subscribers: its stream then never expires."""

    def __init__(self, clock: Clock, in_use: Callable[[str], bool]) -> None:
        self._clock = clock
        self._in_use = in_use
        self._streams: dict[str, _Stream] = {}

    def publish(
        self, channel: str, publication: Publication, retention: Retention, version_epoch: str = ""
    ) -> tuple[Position, Publication | None]:
        """Add a publication. The second value is what subscribers get: None where the version was seen before."""
        stream, now = self._stream(channel, retention)
        version = Version(publication.version, version_epoch)
        if not version.is_newer_than(stream.version):
            return stream.position, None
        if version.number:
            stream.version = version
        stream.top += 1
        kept = replace(publication, offset=stream.top, epoch=stream.epoch)
        stream.kept.append((now + retention.ttl, kept))
        stream.forget(now, retention.size)
        return stream.position, kept

    def position(self, channel: str, retention: Retention) -> Position:
        """Where a stream is; a channel never published to gets a stream, so that its epoch is stable from now on."""
        return self._stream(channel, retention)[0].position

    def read(
        self, channel: str, retention: Retention, limit: int = 0, since: Position | None = None, reverse: bool = False
    ) -> tuple[list[Publication], Position]:
        """Up to `limit` publications (all of them below 0), after `since`, or before it when reading backwards.

        Raises Refused: 112 for a position of another epoch, 100 for reading backwards from offset 0.
        """
        stream, now = self._stream(channel, retention)
        if reverse and since and since.offset == 0:
            raise Refused(INTERNAL)
        if since and since.epoch and since.epoch != stream.epoch:
            raise Refused(UNRECOVERABLE_POSITION)
        stream.forget(now)
        found = self._backwards(stream, since) if reverse else list(stream.after(since.offset if since else 0))
        return found if limit < 0 else found[:limit], stream.position

    def recover(self, channel: str, retention: Retention, since: Position, limit: int) -> Recovery:
        """All of what was published after `since`, or nothing: never a part of it. An empty epoch is not compared."""
        stream, now = self._stream(channel, retention)
        stream.forget(now)
        if (since.epoch and since.epoch != stream.epoch) or since.offset > stream.top:
            return Recovery(False, stream.position)
        missed = list(stream.after(since.offset))
        if len(missed) != stream.top - since.offset or (limit and len(missed) > limit):
            return Recovery(False, stream.position)
        return Recovery(True, stream.position, missed)

    def remove(self, channel: str) -> None:
        """Drop a stream's publications; its epoch and offset stay, so nobody's position becomes wrong."""
        if channel in self._streams:
            self._streams[channel].kept.clear()

    def forget_expired(self) -> None:
        """Free the memory of what has expired. What is asked for in between is checked when it is asked for."""
        now = self._clock()
        for channel, stream in list(self._streams.items()):
            stream.forget(now)
            if stream.expires_at <= now and not self._in_use(channel):
                del self._streams[channel]

    def _stream(self, channel: str, retention: Retention) -> tuple[_Stream, float]:
        now = self._clock()
        stream = self._streams.get(channel)
        if stream is None or (stream.expires_at <= now and not self._in_use(channel)):
            stream = self._streams[channel] = _Stream(_new_epoch(), now)
        stream.expires_at = now + retention.meta_ttl
        return stream, now

    @staticmethod
    def _backwards(stream: _Stream, since: Position | None) -> list[Publication]:
        before = since.offset if since else stream.top + 1
        return [publication for _, publication in reversed(stream.kept) if publication.offset < before]


def _new_epoch() -> str:
    return "".join(secrets.choice(string.ascii_letters) for _ in range(EPOCH_LENGTH))


def fragments(publications: Iterable[Publication]) -> list[orjson.Fragment]:
    """Publications as clients read them, ready to be put into a larger JSON document."""
    return [orjson.Fragment(publication.for_client()) for publication in publications]
