"""The engine as an ASGI application: the client's WebSocket, the server API, the health check.

It may be served alone or mounted beside others, where lifespan events never come: background work begins with the
first request.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from engine import codes
from engine.api import Api
from engine.clock import Clock
from engine.codes import Disconnect
from engine.config import Config
from engine.core import Engine
from engine.schema import Malformed
from engine.session import Session

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("engine")

API_BODY_LIMIT_BYTES = 64 * 1024 * 1024
CLOSE_REASON_BYTES = 123
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


def build(config: Mapping[str, Any] | Config, clock: Clock = time.time) -> App:
    """An engine for this configuration. Raises ConfigError naming every option that is wrong."""
    return App(config if isinstance(config, Config) else Config.of(config), clock)


class App:
    """One engine behind ASGI. Where the server sends lifespan events, their shutdown calls `stop()`."""

    def __init__(self, config: Config, clock: Clock = time.time) -> None:
        self.config = config
        self._engine = Engine(config, clock)
        self._api = Api(self._engine)
        self._connections: set[asyncio.Task[None]] = set()
        self._origins = [_origin_pattern(origin) for origin in config.client.allowed_origins]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self._engine.start()
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def stop(self) -> None:
        """Send every client away, to come back later, and wait until they were told."""
        await self._engine.stop()
        if self._connections:
            await asyncio.wait(self._connections, timeout=self.config.websocket.write_timeout)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        headers = list(scope["headers"])
        if self.config.websocket.handler_prefix not in _paths(scope):
            await _refuse(scope, send, 404, b"404 page not found\n")
        elif not self._is_allowed_origin(headers):
            await _refuse(scope, send, 403, b"Forbidden\n")
        else:
            await send({"type": "websocket.accept"})
            connection = asyncio.create_task(_Connection(self._engine, headers, receive, send).serve())
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)
            await connection

    def _is_allowed_origin(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Browsers say where a page is from; what sends no origin is no browser and carries no one's cookies."""
        origin = next((value.decode("latin-1") for name, value in headers if name.lower() == b"origin"), "")
        return not origin or any(pattern.fullmatch(origin) for pattern in self._origins)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        paths = _paths(scope)
        health, prefix = self.config.health, self.config.http_api.handler_prefix.rstrip("/") + "/"
        method = next((path.removeprefix(prefix) for path in paths if path.startswith(prefix)), "")
        if self.config.websocket.handler_prefix in paths:
            await _respond(send, 400, b"Bad Request\n")
        elif health.enabled and health.handler_prefix in paths:
            await _respond(send, 200, b"{}", JSON)
        elif method in self._api.methods:
            await self._answer(method, scope, receive, send)
        else:
            await _respond(send, 404, b"404 page not found\n")

    async def _answer(self, method: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _respond(send, 405, b"")
        elif not self._has_key(scope):
            await _respond(send, 401, b"")
        else:
            body = await _body(receive)
            if body is None:
                await _respond(send, 413, b"Request Entity Too Large\n")
                return
            try:
                await _respond(send, 200, self._api.answer(method, body), JSON)
            except Malformed:
                await _respond(send, 400, b"Bad Request\n")

    def _has_key(self, scope: Scope) -> bool:
        """By X-API-Key, "Authorization: apikey ..." or the query; without a configured key nothing is allowed."""
        api = self.config.http_api
        if api.insecure:
            return True
        headers = {name.lower(): value for name, value in scope["headers"]}
        given = [headers.get(b"x-api-key", b"")]
        scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"apikey":
            given.append(credentials)
        given += [
            value.encode() for value in parse_qs(scope.get("query_string", b"").decode("latin-1")).get("api_key", [])
        ]
        return bool(api.key) and any(hmac.compare_digest(value, api.key.encode()) for value in given)


class _Connection:
    """Moves frames between one WebSocket and one session, each way in a task of its own, until either ends."""

    def __init__(self, engine: Engine, headers: list[tuple[bytes, bytes]], receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._write_timeout = engine.config.websocket.write_timeout
        self._session = Session(engine, headers)

    async def serve(self) -> None:
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write())
        loop = asyncio.get_running_loop()
        # A client that doesn't read would hold its writer, and with it the connection, for ever.
        self._session.on_close = partial(loop.call_later, self._write_timeout, writer.cancel)
        self._session.opened()
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._session.closed()
            reader.cancel()
            writer.cancel()
            for outcome in await asyncio.gather(reader, writer, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
                    log.debug("a connection ended with %r", outcome)

    async def _read(self) -> None:
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                return
            frame = event.get("text")
            await self._session.handle(event["bytes"] if frame is None else frame)
            if self._session.disconnect is not None:
                await asyncio.Event().wait()  # the writer says good-bye and ends the connection

    async def _write(self) -> None:
        await self._session.outbox.write_to(self._send_text)
        disconnect = self._session.disconnect
        if disconnect is not None and _can_be_sent(disconnect):
            await self._send({"type": "websocket.close", "code": disconnect.code, "reason": disconnect.reason})

    async def _send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})


def _can_be_sent(disconnect: Disconnect) -> bool:
    """Whether WebSocket allows the close code and reason; with others a connection just ends, as Centrifugo's does."""
    sendable = disconnect.code in (1000, codes.CLOSE_MESSAGE_TOO_BIG.code) or 3000 < disconnect.code < 5000
    return sendable and len(disconnect.reason.encode()) <= CLOSE_REASON_BYTES


def _paths(scope: Scope) -> set[str]:
    """The path with and without what the application is mounted under: servers and routers differ in what they pass."""
    path: str = scope["path"]
    return {path, path.removeprefix(scope.get("root_path") or "")}


def _origin_pattern(origin: str) -> re.Pattern[str]:
    """An allowed origin, in which "*" stands for any text."""
    return re.compile(".*".join(re.escape(part) for part in origin.split("*")), re.IGNORECASE)


async def _refuse(scope: Scope, send: Send, status: int, body: bytes) -> None:
    """Answer a WebSocket's opening with an HTTP status, where the server can do that."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})
        return
    await send(
        {"type": "websocket.http.response.start", "status": status, "headers": [(b"content-type", TEXT.encode())]}
    )
    await send({"type": "websocket.http.response.body", "body": body})


async def _respond(send: Send, status: int, body: bytes, content_type: str = TEXT) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes | None:
    """A request's whole body, or None where it is longer than the limit."""
    parts, size, more = [], 0, True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            break
        part = event.get("body", b"")
        size += len(part)
        if size > API_BODY_LIMIT_BYTES:
            return None
        parts.append(part)
        more = event.get("more_body", False)
    return b"".join(parts)
