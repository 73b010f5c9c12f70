"""A browser's connection without the browser: it subscribes to one channel and notes when each event arrived."""

import asyncio
import time
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from tests.whole.people import Company, Person

PATIENCE_SECONDS = 60.0


class Listener:
    """`arrivals` maps each event's id to when it came (`time.monotonic`), `seqs` has their numbers in order."""

    def __init__(self) -> None:
        self.arrivals: dict[str, float] = {}
        self.seqs: list[int] = []

    async def open(self, person: Person, company: Company, channel: str) -> "Listener":
        token = person.post("/api/realtime/token", tenant=company.slug).json()["token"]
        body = {"channels": [channel]}
        tokens = person.post("/api/realtime/subscriptions", tenant=company.slug, json=body).json()["tokens"]
        environ = person.platform.environ
        self._socket: ClientConnection = await connect(
            environ["ENGINE_CLIENT_URL"],
            origin=person.platform.url,
            compression=None,
            max_size=None,  # type: ignore[arg-type]
        )
        await self._ask({"id": 1, "connect": {"data": {"token": token}}})
        await self._ask({"id": 2, "subscribe": {"channel": channel, "token": tokens[channel]}})
        return self

    async def wait_for(self, count: int) -> None:
        """Read until so many events have come. Raises TimeoutError when none comes for a minute, pings apart."""
        last = time.monotonic()
        while len(self.arrivals) < count:
            message = await asyncio.wait_for(self._socket.recv(), max(0.0, last + PATIENCE_SECONDS - time.monotonic()))
            now = time.monotonic()
            for line in message.splitlines():
                if line == "{}":
                    await self._socket.send("{}")
                elif publication := orjson.loads(line).get("push", {}).get("pub"):
                    last = now
                    self.arrivals.setdefault(publication["data"]["id"], now)
                    self.seqs.append(publication["data"]["seq"])

    @property
    def is_in_order(self) -> bool:
        """Nothing came twice, and nothing after what is later."""
        return self.seqs == sorted(set(self.seqs))

    async def close(self) -> None:
        await self._socket.close()

    async def _ask(self, command: dict[str, Any]) -> None:
        await self._socket.send(orjson.dumps(command).decode())
        answer = orjson.loads((await self._socket.recv()).splitlines()[0])
        assert "error" not in answer, answer
