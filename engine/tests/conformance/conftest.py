"""An engine of each kind for each test, a gate that answers as the test says, and the real client."""

from __future__ import annotations

import contextlib
import inspect
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from aiohttp import web

from engine.tests.conformance import sdk as sdk_module
from engine.tests.conformance.sdk import Sdk
from engine.tests.conformance.servers import CENTRIFUGO, KINDS, Pool, Server, free_port, missing, running
from tests import services

Launch = Callable[..., AbstractContextManager[Server]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "engine/tests/conformance" in str(item.path):
            item.add_marker(pytest.mark.conformance)


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if request.param != "embedded" and not CENTRIFUGO.exists():
        missing("no real Centrifugo at .local/bin/centrifugo: `make centrifugo` builds one")
    return str(request.param)


@contextlib.contextmanager
def some_redis() -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(services.redis())
        except services.NotHere as reason:
            missing(str(reason))
        yield url


@pytest.fixture(scope="session")
def pair() -> Iterator[Server]:
    """Two nodes with one Redis, for what a single node cannot show."""
    if not CENTRIFUGO.exists():
        missing("no real Centrifugo at .local/bin/centrifugo: `make centrifugo` builds one")
    with some_redis() as url, running("redis", url, engine={"redis": {"presence_ttl": "2s"}}) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(kind: str) -> Iterator[str]:
    """The address of a Redis, where two nodes share one."""
    if kind != "redis":
        yield ""
        return
    with some_redis() as url:
        yield url


@pytest.fixture(scope="session")
def pool(kind: str, redis_url: str) -> Iterator[Pool]:
    pool = Pool(kind, redis_url)
    yield pool
    pool.stop()


@pytest.fixture(scope="session")
def server(kind: str, redis_url: str) -> Iterator[Server]:
    """One engine for all tests that need nothing special of it; each test uses channels and people of its own."""
    with running(kind, redis_url) as server:
        yield server


@pytest.fixture
def launch(pool: Pool) -> Launch:
    """An engine with other options than the usual. It may have been used before, and will be used again."""
    return lambda **options: contextlib.nullcontext(pool.get(options))


@pytest.fixture
def own(kind: str, redis_url: str) -> Iterator[Server]:
    """An engine for one test, which may stop it."""
    with running(kind, redis_url) as server:
        yield server


@pytest.fixture
def unique() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def channel(unique: str) -> str:
    """A recoverable channel of this test."""
    return f"tenant:{unique}"


class Gate:
    """The application's endpoint for new connections. `says` is its next answers: JSON, a status or a callable."""

    def __init__(self, port: int) -> None:
        self.says: Any = {"result": {"user": "alice"}}
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.port = port

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        says = self.says(body) if callable(self.says) else self.says
        if inspect.isawaitable(says):
            says = await says
        answer = web.Response(**_answer(says))
        answer.force_close()  # the engine outlives this gate, and shall not keep a connection to it
        return answer

    def options(self, **more: Any) -> dict[str, Any]:
        """Configuration of an engine that asks this gate, and accepts no connection token itself."""
        connect = {"enabled": True, "endpoint": f"http://127.0.0.1:{self.port}/gate", "timeout": "500ms"} | more
        return {"token": {"hmac_secret_key": ""}, "proxy": {"connect": connect}}


def _answer(says: Any) -> dict[str, Any]:
    if isinstance(says, int):
        return {"status": says}
    if isinstance(says, bytes):
        return {"body": says}
    return {"text": json.dumps(says), "content_type": "application/json"}


@pytest.fixture(scope="session")
def gate_port() -> int:
    """Always the same, so that engines which ask a gate can be shared."""
    return free_port()


@pytest.fixture
async def gate(gate_port: int) -> AsyncIterator[Gate]:
    gate = Gate(gate_port)
    app = web.Application()
    app.router.add_post("/gate", gate.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", gate_port, reuse_address=True).start()
    yield gate
    await runner.cleanup()


@pytest.fixture(scope="session")
def sdk_installed() -> None:
    sdk_module.install()


@pytest.fixture
async def sdk(sdk_installed: None) -> AsyncIterator[Sdk]:
    async with Sdk() as sdk:
        yield sdk
