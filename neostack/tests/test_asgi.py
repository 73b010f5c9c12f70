"""What answers on our port, and what does not."""

from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings

from neostack import asgi, gate_asgi

ORIGIN = (b"origin", settings.ALLOWED_ORIGINS[0].encode())


@pytest.fixture
def embedded() -> Any:
    return asgi.with_engine()


@pytest.fixture
def alone() -> Any:
    return asgi.without_engine()


async def request(application: Any, path: str, *headers: tuple[bytes, bytes], method: str = "POST") -> int:
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers), "query_string": b""}
    caller = ApplicationCommunicator(application, scope)
    await caller.send_input({"type": "http.request", "body": b"{}"})
    return (await caller.receive_output(5))["status"]


async def open_socket(application: Any, path: str, *headers: tuple[bytes, bytes]) -> str:
    scope = {"type": "websocket", "path": path, "headers": list(headers), "query_string": b"", "subprotocols": []}
    caller = ApplicationCommunicator(application, scope)
    await caller.send_input({"type": "websocket.connect"})
    answer = (await caller.receive_output(5))["type"]
    await caller.send_input({"type": "websocket.disconnect", "code": 1000})
    await caller.wait(5)
    return answer


async def test_the_engines_server_api_wants_its_key(embedded):
    assert await request(embedded, "/engine/api/info") == 401
    assert await request(embedded, "/engine/api/info", (b"x-api-key", b"wrong")) == 401
    assert await request(embedded, "/engine/api/info", (b"x-api-key", settings.ENGINE_API_KEY.encode())) == 200


async def test_the_gate_wants_its_key(embedded, alone):
    for application in (embedded, alone, gate_asgi.application):
        assert await request(application, "/api/realtime/connect") == 403
        key = (b"x-gate-key", settings.GATE_KEY.encode())
        assert await request(application, "/api/realtime/connect", key) == 200


async def test_the_engine_takes_connections_of_our_pages_only(embedded):
    assert await open_socket(embedded, "/connection/websocket", ORIGIN) == "websocket.accept"
    evil = (b"origin", b"https://evil.example")
    assert await open_socket(embedded, "/connection/websocket", evil) == "websocket.close"


@pytest.mark.parametrize("path", ["/", "/connection", "/connection/websocket/more", "/engine/api/connection/websocket"])
async def test_elsewhere_no_socket_opens(embedded, path):
    assert await open_socket(embedded, path, ORIGIN) == "websocket.close"


@pytest.mark.django_db(transaction=True)
async def test_with_an_engine_of_its_own_nothing_of_it_answers_here(alone):
    assert await open_socket(alone, "/connection/websocket", ORIGIN) == "websocket.close"
    key = (b"x-api-key", settings.ENGINE_API_KEY.encode())
    host = (b"host", b"localhost")
    assert await request(alone, "/engine/api/info", key, host) == 404
    assert await request(alone, "/healthz", host, method="GET") == 200
