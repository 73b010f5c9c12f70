"""The engine inside another application: no lifespan events, other roots, servers that can do less."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from engine.asgi import App, build
from engine.config import ConfigError
from engine.tests.conformance.servers import API_KEY, ORIGIN, config, grant, now, token


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return now() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> App:
    return build(config(8000), clock)


async def post(application: Any, method: str, body: dict[str, Any], prefix: str = "/engine/api/") -> dict[str, Any]:
    headers = [(b"x-api-key", API_KEY.encode())]
    scope = {"type": "http", "method": "POST", "path": prefix + method, "query_string": b"", "headers": headers}
    request = ApplicationCommunicator(application, scope)
    await request.send_input({"type": "http.request", "body": json.dumps(body).encode()})
    start, response = [await request.receive_output(5) for _ in range(2)]
    assert start["status"] == 200
    answer: dict[str, Any] = json.loads(response["body"])
    return answer


class Browser:
    """A WebSocket opened at an ASGI application."""

    def __init__(self, application: Any, path: str = "/connection/websocket", origin: str = "") -> None:
        headers = [(b"origin", origin.encode())] if origin else []
        self._socket = ApplicationCommunicator(application, {"type": "websocket", "path": path, "headers": headers})

    async def open(self) -> str:
        """What the application answers to the opening."""
        await self._socket.send_input({"type": "websocket.connect"})
        return str((await self._socket.receive_output(5))["type"])

    async def command(self, **command: Any) -> dict[str, Any]:
        await self._socket.send_input({"type": "websocket.receive", "text": json.dumps({"id": 1} | command)})
        return await self.message()

    async def message(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads((await self._socket.receive_output(5))["text"])
        return message

    async def subscribe(self, channel: str) -> dict[str, Any]:
        answer = await self.command(subscribe={"channel": channel, "token": grant(channel)})
        subscribed: dict[str, Any] = answer["subscribe"]
        return subscribed

    async def close_code(self) -> int:
        event = await self._socket.receive_output(5)
        assert event["type"] == "websocket.close"
        return int(event["code"])

    async def leave(self) -> None:
        await self._socket.send_input({"type": "websocket.disconnect", "code": 1001})
        await self._socket.wait(5)


async def connected(application: Any, path: str = "/connection/websocket") -> Browser:
    browser = Browser(application, path)
    assert await browser.open() == "websocket.accept"
    assert "connect" in await browser.command(connect={"token": token()})
    return browser


async def test_without_lifespan_events_it_publishes_to_who_subscribes(engine: App) -> None:
    alice = await connected(engine)
    assert (await alice.subscribe("tenant:a"))["recoverable"] is True
    assert (await post(engine, "publish", {"channel": "tenant:a", "data": "live"}))["result"]["offset"] == 1
    assert (await alice.message())["push"]["pub"]["data"] == "live"
    await alice.leave()


@pytest.mark.parametrize("root_in_path", ["", "/root"])
async def test_a_root_path_is_known_whether_or_not_it_stands_in_the_path(engine: App, root_in_path: str) -> None:
    async def under_root(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await engine(scope | {"root_path": "/root"}, receive, send)

    alice = await connected(under_root, root_in_path + "/connection/websocket")
    await alice.leave()
    await post(under_root, "info", {}, root_in_path + "/engine/api/")


async def test_without_a_server_that_can_refuse_by_status_a_wrong_origin_is_closed(engine: App) -> None:
    assert await Browser(engine, origin="https://evil.example").open() == "websocket.close"
    allowed = Browser(engine, origin=ORIGIN)
    assert await allowed.open() == "websocket.accept"
    await allowed.leave()


async def test_time_passes_without_lifespan_events(engine: App, clock: Clock) -> None:
    alice = await connected(engine)
    clock.ahead = 2 * 3600
    assert await alice.close_code() == 3005


async def test_nothing_published_in_the_same_batch_after_a_disconnect_is_delivered(engine: App) -> None:
    alice = await connected(engine)
    await alice.subscribe("tenant:a")
    disconnect = {"disconnect": {"user": "alice", "disconnect": {"code": 3014, "reason": "changed"}}}
    publish = {"publish": {"channel": "tenant:a", "data": "secret"}}
    await post(engine, "batch", {"commands": [disconnect, publish]})
    assert await alice.close_code() == 3014


async def test_who_is_gone_is_forgotten(engine: App) -> None:
    alice = await connected(engine)
    await alice.subscribe("tenant:a")
    await alice.leave()
    [node] = (await post(engine, "info", {}))["result"]["nodes"]
    assert (node["num_clients"], node["num_channels"], node["num_users"]) == (0, 0, 0)
    assert (await post(engine, "channels", {}))["result"]["channels"] == {}


async def test_lifespan_events_are_answered_where_they_come(engine: App) -> None:
    sent: list[str] = []
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, Any]:
        return next(events)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await engine({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_configuration_that_cannot_be_used_is_not_built() -> None:
    with pytest.raises(ConfigError, match=r"client\.novelty"):
        build({"client": {"novelty": 1}})
