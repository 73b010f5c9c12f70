"""Starts an engine of either kind, as a process with a configuration of its own, and speaks to it by its address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cent import AsyncClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

ROOT = Path(__file__).parents[3]
CENTRIFUGO = ROOT / ".local/bin/centrifugo"
API_KEY = "api-key-of-the-conformance-tests"
CONNECTION_KEY = "connection-key-of-the-conformance-tests"
SUBSCRIPTION_KEY = "subscription-key-of-the-conformance-tests"
ORIGIN = "https://app.example"
DEADLINE_SECONDS = 10.0

NAMESPACES = [
    {"name": "tenant", "history_size": 1000, "history_ttl": "1h", "force_recovery": True},
    {"name": "few", "history_size": 5, "history_ttl": "1h", "force_recovery": True},
    {"name": "brief", "history_size": 10, "history_ttl": "1s", "history_meta_ttl": "1h", "force_recovery": True},
    {"name": "positioned", "history_size": 10, "history_ttl": "1h", "force_positioning": True},
    {"name": "plain"},
    {"name": "public", "allow_subscribe_for_client": True, "history_size": 10, "history_ttl": "1h"},
    {"name": "digits", "allow_subscribe_for_client": True, "channel_regex": "^[0-9]+$"},
    {"name": "own", "allow_user_limited_channels": True},
    {
        "name": "talk",
        "allow_subscribe_for_client": True,
        "allow_publish_for_subscriber": True,
        "allow_history_for_subscriber": True,
        "history_size": 10,
        "history_ttl": "1h",
    },
]


def missing(reason: str) -> None:
    """Skip, or fail in the mode where nothing may be left out."""
    if os.environ.get("NEO_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for name, value in more.items():
        old = both.get(name)
        both[name] = merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return both


def config(port: int) -> dict[str, Any]:
    return {
        "http_server": {"address": "127.0.0.1", "port": port},
        "http_api": {"key": API_KEY, "handler_prefix": "/engine/api"},
        "client": {
            "allowed_origins": [ORIGIN],
            "token": {"hmac_secret_key": CONNECTION_KEY},
            "subscription_token": {"enabled": True, "hmac_secret_key": SUBSCRIPTION_KEY},
            "recovery_max_publication_limit": 100,
        },
        "channel": {"namespaces": NAMESPACES},
        "health": {"enabled": True},
    }


# Centrifugo looks for expired subscriptions when it updates presence; the embedded engine always looks.
CENTRIFUGO_ONLY = {"client": {"presence_update_interval": "1s"}}


class Server:
    """A running engine."""

    def __init__(self, kind: str, options: dict[str, Any], environment: dict[str, str] | None = None) -> None:
        self.kind = kind
        self.port = free_port()
        self._config = merged(config(self.port), options)
        self._environment = os.environ | (environment or {})
        self._http = httpx.Client(base_url=self.url, headers={"X-API-Key": API_KEY}, timeout=DEADLINE_SECONDS)
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/connection/websocket"

    def start(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(self._config if self.kind == "embedded" else merged(self._config, CENTRIFUGO_ONLY), file)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        program = [sys.executable, "-m", "engine"] if self.kind == "embedded" else [str(CENTRIFUGO)]
        self.process = subprocess.Popen(
            [*program, "-c", file.name], cwd=ROOT, env=self._environment, stdout=self._log, stderr=self._log
        )
        self._wait_until_healthy()
        Path(file.name).unlink()

    def stop(self, ending: int = signal.SIGTERM) -> int:
        self.process.send_signal(ending)
        return self.process.wait(DEADLINE_SECONDS)

    def api(self, method: str, body: Any = None, **request: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return self._http.post(f"/engine/api/{method}", content=content, **request)

    def result(self, method: str, /, **body: Any) -> dict[str, Any]:
        reply = self.api(method, body).json()
        assert "error" not in reply, reply
        result: dict[str, Any] = reply["result"]
        return result

    def error(self, method: str, /, **body: Any) -> int:
        code: int = self.api(method, body).json()["error"]["code"]
        return code

    def publish(self, channel: str, *values: Any) -> dict[str, Any]:
        """Publish each value; the position of the last."""
        commands = [{"publish": {"channel": channel, "data": value}} for value in values]
        replies = self.api("batch", {"commands": commands}).json()["replies"]
        last: dict[str, Any] = replies[-1]["publish"]
        return last

    def get(self, path: str) -> httpx.Response:
        return self._http.get(path)

    def cent(self) -> AsyncClient:
        return AsyncClient(f"{self.url}/engine/api", API_KEY)

    @contextlib.asynccontextmanager
    async def raw(self, **options: Any) -> AsyncIterator[Raw]:
        """A bare WebSocket: what the client library hides."""
        async with connect(
            self.websocket_url, compression=None, ping_interval=None, max_size=None, **options
        ) as socket_:
            yield Raw(socket_)

    @contextlib.asynccontextmanager
    async def connected(self, user: str = "alice", **claims: Any) -> AsyncIterator[Raw]:
        async with self.raw() as client:
            reply = await client.command(connect={"token": token(user, **claims)})
            client.id = reply["connect"]["client"]
            yield client

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if self._http.get("/health").status_code == httpx.codes.OK:
                    return
            time.sleep(0.02)
        self._log.seek(0)
        raise RuntimeError(f"{self.kind} did not start: {self._log.read().decode()}")


class Raw:
    """A WebSocket that speaks the protocol by hand. What ends the connection is read as its close code."""

    def __init__(self, socket_: ClientConnection) -> None:
        self._socket = socket_
        self._received: list[Any] = []
        self._commands = 0
        self.id = ""

    async def send(self, text: str | bytes) -> None:
        await self._socket.send(text)

    async def next(self) -> Any:
        """The next message, or the close code."""
        while not self._received:
            try:
                frame = await _soon(self._socket.recv())
            except ConnectionClosed:
                return self._socket.close_code
            self._received = [json.loads(line) for line in frame.splitlines()]
        return self._received.pop(0)

    async def command(self, **command: Any) -> Any:
        """The answer to a command, or the code with which it ended the connection."""
        self._commands += 1
        await self.send(json.dumps({"id": self._commands} | command))
        return await self.next()

    async def subscribe(self, channel: str, user: str = "alice", **options: Any) -> Any:
        """The `subscribe` of the answer, or its error's code, or the code with which the connection ended."""
        answer = await self.command(subscribe={"channel": channel, "token": grant(channel, user)} | options)
        return outcome(answer, "subscribe")

    async def nothing_came(self) -> bool:
        """Whether nothing waits to be read: what was sent before a command's answer would have come before it."""
        answer = await self.command(unsubscribe={"channel": "plain:nothing"})
        return isinstance(answer, dict) and "unsubscribe" in answer

    @property
    def reason(self) -> str | None:
        return self._socket.close_reason


def outcome(answer: Any, method: str) -> Any:
    if not isinstance(answer, dict):
        return answer
    return answer["error"]["code"] if "error" in answer else answer[method]


async def _soon(awaitable: Awaitable[Any]) -> Any:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await awaitable


def now() -> int:
    return int(time.time())


def token(user: str = "alice", key: str = CONNECTION_KEY, **claims: Any) -> str:
    """A connection token for an hour."""
    return jwt.encode({"sub": user, "exp": now() + 3600} | claims, key, algorithm="HS256")


def grant(channel: str, user: str = "alice", key: str = SUBSCRIPTION_KEY, **claims: Any) -> str:
    """A subscription token for an hour."""
    return jwt.encode({"sub": user, "channel": channel, "exp": now() + 3600} | claims, key, algorithm="HS256")


@contextlib.contextmanager
def running(kind: str, environment: dict[str, str] | None = None, **options: Any) -> Iterator[Server]:
    server = Server(kind, options, environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
