"""Starts an engine of either kind, as a process with a configuration of its own, and speaks to it by its address."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import redis
from cent import AsyncClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

ROOT = Path(__file__).parents[3]
CENTRIFUGO = ROOT / ".local/bin/centrifugo"
API_KEY = "api-key-of-the-conformance-tests"
CONNECTION_KEY = "connection-key-of-the-conformance-tests"
SUBSCRIPTION_KEY = "subscription-key-of-the-conformance-tests"
ORIGIN = "https://app.example"
DEADLINE_SECONDS = 30.0
START_WITHIN_SECONDS = 60.0

# What several tests need, so that one engine does for all of them.
HURRIED = {"client": {"expired_close_delay": "1s", "expired_sub_close_delay": "1s"}}
PINGING = {"client": {"ping_interval": "1s", "pong_timeout": "500ms"}}
LIMITED = {
    "client": {
        "channel_limit": 2,
        "user_connection_limit": 2,
        "history_max_publication_limit": 3,
        "queue_max_size": 100_000,
    },
    "websocket": {"message_size_limit": 1000},
    "channel": {"max_length": 100},
}

NAMESPACES = [
    {"name": "tenant", "history_size": 1000, "history_ttl": "1h", "force_recovery": True},
    {"name": "few", "history_size": 5, "history_ttl": "1h", "force_recovery": True},
    {"name": "brief", "history_size": 10, "history_ttl": "1s", "history_meta_ttl": "1h", "force_recovery": True},
    {"name": "positioned", "history_size": 10, "history_ttl": "1h", "force_positioning": True},
    {"name": "plain"},
    {
        "name": "collab",
        "presence": True,
        "join_leave": True,
        "force_push_join_leave": True,
        "allow_presence_for_subscriber": True,
    },
    {"name": "discreet", "presence": True, "join_leave": True},
    {"name": "lobby", "presence": True, "join_leave": True, "allow_presence_for_client": True},
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

KINDS = ("embedded", "centrifugo", "redis")
"""What answers by the contract: `engine/`; a Centrifugo in memory; two Centrifugo that share a Redis."""


class Node:
    """One process of an engine, with a configuration of its own, which it reads again at each start."""

    def __init__(self, program: list[str], config: dict[str, Any], environment: dict[str, str]) -> None:
        self.port = int(config["http_server"]["port"])
        self.http = httpx.Client(base_url=self.url, headers={"X-API-Key": API_KEY}, timeout=DEADLINE_SECONDS)
        self._program = program
        self._config = config
        self._environment = os.environ | environment
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the node)
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/connection/websocket"

    def start(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(self._config, file)
        self.process = subprocess.Popen(
            [*self._program, "-c", file.name], cwd=ROOT, env=self._environment, stdout=self._log, stderr=self._log
        )
        self._wait_until_healthy()
        Path(file.name).unlink()

    def stop(self, ending: int = signal.SIGTERM) -> int:
        self.process.send_signal(ending)
        return self.process.wait(DEADLINE_SECONDS)

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_WITHIN_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if self.http.get("/health").status_code == httpx.codes.OK:
                    return
            time.sleep(0.02)
        self._log.seek(0)
        raise RuntimeError(f"{self._program} did not start: {self._log.read().decode()}")


class Server:
    """A running engine: one node, or two. Where there are two, the first is asked by its server API and the last one
    has the clients: so every test that does both acts on one node and looks at the other.
    """

    def __init__(
        self, kind: str, options: dict[str, Any], redis_url: str = "", environment: dict[str, str] | None = None
    ) -> None:
        self.kind = kind
        shared = {"address": redis_url, "prefix": uuid.uuid4().hex}
        program = [sys.executable, "-m", "engine"] if kind == "embedded" else [str(CENTRIFUGO)]
        if kind != "embedded":
            options = merged(options, CENTRIFUGO_ONLY)
        if kind == "redis":
            options = merged({"engine": {"type": "redis", "redis": shared}}, options)
        self.nodes = [
            Node(program, merged(config(free_port()), options), environment or {})
            for _ in range(2 if kind == "redis" else 1)
        ]
        self.asked, self.connected_to = self.nodes[0], self.nodes[-1]
        self._redis_url, self._prefix = redis_url, shared["prefix"]
        self._wait_until_nodes_know_each_other()

    @property
    def url(self) -> str:
        """Where the server API is."""
        return self.asked.url

    @property
    def websocket_url(self) -> str:
        """Where clients connect."""
        return self.connected_to.websocket_url

    def start(self) -> None:
        """Start what does not run."""
        for node in self.nodes:
            if node.process.poll() is not None:
                node.start()
        self._wait_until_nodes_know_each_other()

    def stop(self, ending: int = signal.SIGTERM) -> None:
        for node in self.nodes:
            node.stop(ending)

    def lose_everything(self) -> None:
        """Kill it, and start it again without anything that it kept."""
        self.stop(signal.SIGKILL)
        if self.kind == "redis":
            with redis.Redis.from_url(self._redis_url) as kept:
                kept.delete(*kept.keys(f"{self._prefix}*"))
        self.start()

    def stop_what_runs(self) -> None:
        for node in self.nodes:
            if node.process.poll() is None:
                node.stop()

    def _wait_until_nodes_know_each_other(self) -> None:
        if len(self.nodes) == 1 or self.asked.http.post("/engine/api/info", content=b"{}").is_error:
            return
        deadline = time.monotonic() + START_WITHIN_SECONDS
        while any(len(self._nodes_known_to(node)) < len(self.nodes) for node in self.nodes):
            if time.monotonic() > deadline:
                raise RuntimeError("two nodes did not find each other by their Redis")
            time.sleep(0.05)

    @staticmethod
    def _nodes_known_to(node: Node) -> list[Any]:
        reply = node.http.post("/engine/api/info", content=b"{}")
        return list(reply.json()["result"]["nodes"])

    def api(self, method: str, body: Any = None, node: int = 0, **request: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return self.nodes[node].http.post(f"/engine/api/{method}", content=content, **request)

    def result(self, method: str, /, node: int = 0, **body: Any) -> dict[str, Any]:
        reply = self.api(method, body, node).json()
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
        return self.asked.http.get(path)

    def cent(self) -> AsyncClient:
        return AsyncClient(f"{self.url}/engine/api", API_KEY)

    @contextlib.asynccontextmanager
    async def raw(self, node: int = -1, **options: Any) -> AsyncIterator[Raw]:
        """A bare WebSocket, to one of the nodes: what the client library hides."""
        async with connect(
            self.nodes[node].websocket_url, compression=None, ping_interval=None, max_size=None, **options
        ) as socket_:
            yield Raw(socket_)

    @contextlib.asynccontextmanager
    async def connected(self, user: str = "alice", node: int = -1, **claims: Any) -> AsyncIterator[Raw]:
        async with self.raw(node) as client:
            reply = await client.command(connect={"token": token(user, **claims)})
            client.id = reply["connect"]["client"]
            yield client


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

    async def close(self) -> None:
        await self._socket.close()

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


def base64_of(value: Any) -> str:
    """What goes into a field whose name begins with "b64"."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def signed(claims: dict[str, Any], key: str) -> str:
    """Every token of the suite is made here."""
    return jwt.encode(claims, key, algorithm="HS256")


def token(user: str = "alice", key: str = CONNECTION_KEY, **claims: Any) -> str:
    """A connection token for an hour."""
    return signed({"sub": user, "exp": now() + 3600} | claims, key)


def grant(channel: str, user: str = "alice", key: str = SUBSCRIPTION_KEY, **claims: Any) -> str:
    """A subscription token for an hour."""
    return signed({"sub": user, "channel": channel, "exp": now() + 3600} | claims, key)


@contextlib.contextmanager
def running(
    kind: str, redis_url: str = "", environment: dict[str, str] | None = None, **options: Any
) -> Iterator[Server]:
    server = Server(kind, options, redis_url, environment)
    try:
        yield server
    finally:
        server.stop_what_runs()


class Pool:
    """Engines by their options, so that tests which need the same ones share them. The last few used go on running."""

    SIZE = 3

    def __init__(self, kind: str, redis_url: str) -> None:
        self._kind = kind
        self._redis_url = redis_url
        self._running: OrderedDict[str, Server] = OrderedDict()

    def get(self, options: dict[str, Any]) -> Server:
        name = json.dumps(options, sort_keys=True)
        if name not in self._running:
            self._running[name] = Server(self._kind, options, self._redis_url)
        self._running.move_to_end(name)
        while len(self._running) > self.SIZE:
            self._running.popitem(last=False)[1].stop_what_runs()
        return self._running[name]

    def stop(self) -> None:
        for server in self._running.values():
            server.stop_what_runs()
