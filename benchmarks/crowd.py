"""A thousand WebSockets that cost as little as possible: they count frames and look into none."""

import asyncio
import base64
import os
from collections.abc import Callable


class Socket(asyncio.Protocol):
    """Counts text frames that hold `mark`; answers nothing. A server's frames carry no mask (RFC 6455, section 5.1)."""

    def __init__(self, mark: bytes, counted: Callable[[int], None]) -> None:
        self._mark, self._counted = mark, counted
        self._buffer = bytearray()
        self.is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def shake_hands(self, host: str, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def say(self, text: str) -> None:
        """A text frame of up to 125 bytes; the mask is all zeros."""
        data = text.encode()
        assert len(data) < 126
        self.transport.write(bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.is_open.done():
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            assert b" 101 " in head.split(b"\r\n")[0], head
            self._buffer = rest
            self.is_open.set_result(None)
        self._frames()

    def _frames(self) -> None:
        buffer, at, found = self._buffer, 0, 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if len(buffer) < start + size:
                break
            found += buffer.count(self._mark, start, start + size)
            at = start + size
        del buffer[:at]
        if found:
            self._counted(found)


class Crowd:
    """So many sockets at one address. `received` counts the publications that reached any of them."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self.received = 0
        self.sockets: list[Socket] = []
        self._arrived = asyncio.Event()

    async def join(self, count: int, port: int, path: str, *first_words: str) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, socket = await loop.create_connection(lambda: Socket(self._mark, self._count), "127.0.0.1", port)
            self.sockets.append(socket)
            socket.shake_hands(f"127.0.0.1:{port}", path)
            await socket.is_open
            for words in first_words:
                socket.say(words)
        await asyncio.sleep(1)  # the answers to the last words

    async def wait_for(self, count: int, quiet_seconds: float) -> bool:
        """Whether so many publications have come; False when nothing more came for a while."""
        while self.received < count:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), quiet_seconds)
            except TimeoutError:
                return False
        return True

    def leave(self) -> None:
        for socket in self.sockets:
            socket.transport.abort()

    def _count(self, found: int) -> None:
        self.received += found
        self._arrived.set()
