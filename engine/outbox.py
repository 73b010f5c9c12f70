"""What waits to be written to one connection.

A client that reads slower than it is written to is disconnected when more than `limit` bytes wait: it is never skipped
silently, and what it costs is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

FRAME_BYTES = 65_536


class Full(Exception):
    """More waits than this client is allowed to leave unread."""


class Outbox:
    """Messages in order, joined into as few WebSocket frames as possible."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[tuple[str, int]] = deque()
        self._waiting_bytes = 0
        self._finished = False
        self._wakeup: asyncio.Future[None] | None = None

    def put(self, message: str, size: int) -> None:
        """Add a message of `size` bytes. Raises Full; after finish() messages are dropped."""
        if self._finished:
            return
        self._waiting_bytes += size
        if self._waiting_bytes > self._limit:
            raise Full
        self._messages.append((message, size))
        wakeup = self._wakeup
        if wakeup is not None and not wakeup.done():
            wakeup.set_result(None)

    def finish(self, drop: bool = False) -> None:
        """Take nothing more; write_to() returns once the rest is written, or dropped."""
        self._finished = True
        if drop:
            self._messages.clear()
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def write_to(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Write frames until finish()."""
        loop = asyncio.get_running_loop()
        while True:
            while self._messages:
                frame, size = self._next_frame()
                await send(frame)
                self._waiting_bytes -= size
            if self._finished:
                return
            self._wakeup = loop.create_future()
            await self._wakeup

    def _next_frame(self) -> tuple[str, int]:
        message, size = self._messages.popleft()
        if not self._messages:
            return message, size
        lines = [message]
        while self._messages and size + self._messages[0][1] <= FRAME_BYTES:
            message, more = self._messages.popleft()
            lines.append(message)
            size += more
        return "\n".join(lines), size
