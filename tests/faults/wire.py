"""A TCP connection between two parts, in the test's hands: it carries, is cut, hangs, or answers for the other side."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

CHUNK_BYTES = 65_536
ANSWER_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Wire:
    """Listens on `port` and leads to the first of `targets` (ports) that accepts, until told otherwise."""

    def __init__(self, port: int, targets: list[int]) -> None:
        self.port, self.targets = port, targets
        self._answer = b""
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._do(self._prepare())

    # --- What a test does to it ---------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Every connection is reset and new ones are refused."""
        self._do(self._close())

    def hang(self) -> None:
        """Connections stay and new ones are accepted, but nothing passes."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def answer_500(self) -> None:
        """Every request gets HTTP 500 from here."""
        self._do(self._close())
        self._answer = ANSWER_500
        self._do(self._open())

    def mend(self) -> None:
        """It carries again; what waited in it goes on."""
        self._answer = b""
        self._loop.call_soon_threadsafe(self._flows.set)
        self._do(self._reopen())

    def close(self) -> None:
        self._do(self._close())
        self._do(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)

    # --- Its own thread -----------------------------------------------------------------------------------------------

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _prepare(self) -> None:
        self._flows = asyncio.Event()
        self._flows.set()
        await self._open()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reopen(self) -> None:
        """Connections that somebody else has answered for end; those that only waited go on."""
        if self._server is None:
            await self._open()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._kept(writer):
            if self._answer:
                await reader.read(CHUNK_BYTES)
                writer.write(self._answer)
                await writer.drain()
                return
            await self._flows.wait()
            if there := await self._reach():
                with self._kept(there[1]):
                    await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for port in self.targets:
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From one side to the other, until one of them ends: then both do."""
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    @contextlib.contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Any:
        self._writers.add(writer)
        try:
            yield
        except OSError:
            pass  # it was reset: by the other side or by `cut`
        finally:
            self._writers.discard(writer)
            writer.close()
