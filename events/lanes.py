"""Lanes: requests to the engine that go out side by side, a channel always in the same lane, so that its order holds.

With Redis behind it the engine waits for Redis at each command of a request: lanes wait at the same time. The
platform's own channel, which has nearly every event, has a lane to itself: whatever shared it would wait for all that.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar
from zlib import crc32

from events.channels import ADMIN_EVENTS

LANES = 8
T = TypeVar("T")


class Lane:
    """Does what it is given, one after the other, in a thread of its own.

    When something has failed it does nothing more: what comes later in a channel must not go out before it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="push-lane")
        self._failure: Exception | None = None

    def give(self, work: Callable[[], T]) -> Future[T]:
        return self._thread.submit(self._do, work)

    def _do(self, work: Callable[[], T]) -> T:
        if self._failure:
            raise self._failure
        try:
            return work()
        except Exception as error:
            self._failure = error
            raise


def lane_of(channel: str) -> int:
    """Which lane a channel goes in: the same in every process (`hash` differs between them)."""
    return 0 if channel == ADMIN_EVENTS.name else 1 + crc32(channel.encode()) % (LANES - 1)
