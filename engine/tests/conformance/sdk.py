"""The real centrifuge client, in a Node process that tests instruct line by line."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.tests.conformance.servers import DEADLINE_SECONDS, missing

FOLDER = Path(__file__).parent / "sdk"
Answer = Callable[[dict[str, Any]], Any]


class Unauthorized(Exception):
    """Raised by an answer: the application refuses, and the client shall give up."""


def install() -> None:
    """Install the client library, as its lock file says, if that has not happened yet."""
    if shutil.which("npm") is None:
        missing("the centrifuge client needs Node.js and npm, which were not found on PATH")
    installed = FOLDER / "node_modules/.package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (FOLDER / "package-lock.json").stat().st_mtime:
        return
    subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=FOLDER, check=True, capture_output=True)


class Sdk:
    """Clients by name, and all that happened to them, in order. `answers` are what the application says when asked."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []  # what and, for subscriptions, of which channel
        self._changed = asyncio.Event()
        self._calls = 0

    async def __aenter__(self) -> Sdk:
        self._process = await asyncio.create_subprocess_exec(
            "node", "driver.mjs", cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**24
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reader

    def client(self, name: str, url: str, **options: Any) -> None:
        self._instruct(op="client", client=name, url=url, **options)

    def subscribe(self, name: str, channel: str, **options: Any) -> None:
        self._instruct(op="subscribe", client=name, channel=channel, **options)

    def connect(self, name: str) -> None:
        self._instruct(op="connect", client=name)

    def disconnect(self, name: str) -> None:
        self._instruct(op="disconnect", client=name)

    async def call(self, name: str, method: str, *args: Any) -> dict[str, Any]:
        """{"result": ...} or {"error": {"code": ...}}, as the client library reports it."""
        self._calls += 1
        self._instruct(op="call", client=name, call=self._calls, method=method, args=args)
        return await self.happens(lambda event: event.get("reply") == self._calls)

    async def happens(self, wanted: Callable[[dict[str, Any]], bool], after: int = 0) -> dict[str, Any]:
        """The first event that is wanted, from number `after` on; it may have happened already."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                self._changed.clear()
                found = next((event for event in self.events[after:] if wanted(event)), None)
                if found is not None:
                    return found
                await self._changed.wait()

    async def event(self, name: str, after: int = 0, **fields: Any) -> dict[str, Any]:
        """The first event of this name with these fields."""
        try:
            return await self.happens(lambda event: fields.items() | {("event", name)} <= _plain(event), after)
        except TimeoutError:
            raise AssertionError(f"no {name} {fields} came, but {self.events[after:]}") from None

    async def asks(self, what: str, times: int) -> None:
        """Wait until the application was asked this so many times."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while sum(question == what for question, _ in self.asked) < times:
                self._changed.clear()
                await self._changed.wait()

    async def received(self, channel: str, count: int) -> list[Any]:
        """What was published in a channel, once there are at least this many."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(data := self.data(channel)) < count:
                self._changed.clear()
                await self._changed.wait()
        return data

    def data(self, channel: str) -> list[Any]:
        events = (event for event in self.events if event.get("event") == "publication")
        return [event["data"] for event in events if event["channel"] == channel]

    @property
    def now(self) -> int:
        """The number of the next event."""
        return len(self.events)

    def _instruct(self, **instruction: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(instruction).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = json.loads(line)
            if "ask" in event:
                self._answer(event)
            else:
                self.events.append(event)
            self._changed.set()

    def _answer(self, question: dict[str, Any]) -> None:
        self.asked.append((question["what"], question.get("channel", "")))
        try:
            reply = {"value": self.answers[question["what"]](question)}
        except Unauthorized:
            reply = {"unauthorized": True}
        except Exception as error:
            reply = {"error": repr(error)}
        self._instruct(answer=question["ask"], **reply)


def _plain(event: dict[str, Any]) -> set[tuple[str, Any]]:
    return {(name, value) for name, value in event.items() if isinstance(value, str | int | bool)}
