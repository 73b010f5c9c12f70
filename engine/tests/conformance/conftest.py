"""An engine of each kind for each test, a gate that answers as the test says, and the real client."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from aiohttp import web

from engine.tests.conformance import sdk as sdk_module
from engine.tests.conformance.sdk import Sdk
from engine.tests.conformance.servers import CENTRIFUGO, Server, missing, running

Launch = Callable[..., AbstractContextManager[Server]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "engine/tests/conformance" in str(item.path):
            item.add_marker(pytest.mark.conformance)


@pytest.fixture(scope="session", params=["embedded", "centrifugo"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "centrifugo" and not CENTRIFUGO.exists():
        missing("no real Centrifugo at .local/bin/centrifugo: `make centrifugo` builds one")
    return str(request.param)


@pytest.fixture(scope="session")
def server(kind: str) -> Iterator[Server]:
    """One engine for all tests that need nothing special of it; each test uses channels and people of its own."""
    with running(kind) as server:
        yield server


@pytest.fixture
def launch(kind: str) -> Launch:
    """An engine for one test, with other options than the usual."""
    return lambda **options: running(kind, **options)


@pytest.fixture
def unique() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def channel(unique: str) -> str:
    """A recoverable channel of this test."""
    return f"tenant:{unique}"


class Gate:
    """The application's endpoint for new connections. `says` is its next answers: JSON, a status or a callable."""

    def __init__(self) -> None:
        self.says: Any = {"result": {"user": "alice"}}
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        says = self.says(body) if callable(self.says) else self.says
        if inspect.isawaitable(says):
            says = await says
        if isinstance(says, int):
            return web.Response(status=says)
        if isinstance(says, bytes):
            return web.Response(body=says)
        return web.json_response(says)

    def options(self, **more: Any) -> dict[str, Any]:
        """Configuration of an engine that asks this gate, and accepts no connection token itself."""
        connect = {"enabled": True, "endpoint": f"http://127.0.0.1:{self.port}/gate", "timeout": "500ms"} | more
        return {"token": {"hmac_secret_key": ""}, "proxy": {"connect": connect}}


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    app = web.Application()
    app.router.add_post("/gate", gate.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gate.port = runner.addresses[0][1]
    yield gate
    await runner.cleanup()


@pytest.fixture(scope="session")
def sdk_installed() -> None:
    sdk_module.install()


@pytest.fixture
async def sdk(sdk_installed: None) -> AsyncIterator[Sdk]:
    async with Sdk() as sdk:
        yield sdk
