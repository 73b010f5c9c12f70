"""The connect proxy: an HTTP endpoint of the application decides who a connection without a token is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from engine.codes import CLOSE_BAD_REQUEST, INTERNAL_TEMPORARY, Closed, Disconnect, Error, Refused
from engine.config import ConnectProxy
from engine.schema import Malformed, anything, check, flag, int64, record, record_map, text, texts, uint32, with_encoded

Headers = list[tuple[str, str]]

MAX_CONNECTIONS = 64

_RESULT = {
    "user": text,
    "expire_at": int64,
    "info": anything,
    "b64info": text,
    "data": anything,
    "b64data": text,
    "channels": texts,
    "subs": record_map({}),
}
_REPLY = {
    "result": record(_RESULT),
    "error": record({"code": uint32, "message": text, "temporary": flag}),
    "disconnect": record({"code": uint32, "reason": text}),
}


class Gate:
    """Asks the configured endpoint about each connection that comes without a token."""

    def __init__(self, config: ConnectProxy) -> None:
        self._config = config
        self._http: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)

    @property
    def enabled(self) -> bool:
        return self._config.enabled

    async def ask(self, request: Mapping[str, Any], headers: Sequence[tuple[bytes, bytes]]) -> dict[str, Any]:
        """The endpoint's `result`; its `info` and `data`, and those of its `subs`, are encoded or None.

        Raises Refused or Closed as it says; Refused (100) where it cannot be asked."""
        try:
            status, body = await self._post(orjson.dumps(request), self._headers(headers))
            if status != HTTPStatus.OK:
                raise Refused(INTERNAL_TEMPORARY)
            return self._result(check(orjson.loads(body), _REPLY))
        except (TimeoutError, aiohttp.ClientError, orjson.JSONDecodeError, Malformed):
            raise Refused(INTERNAL_TEMPORARY) from None

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _post(self, body: bytes, headers: Headers) -> tuple[int, bytes]:
        """The time limit begins with a connection's turn: when thousands come back at once, none fails by waiting."""
        async with self._turns:
            post = self._client().post(self._config.endpoint, data=body, headers=headers, allow_redirects=False)
            async with post as response:
                return response.status, await response.read()

    def _client(self) -> aiohttp.ClientSession:
        """Connections to the endpoint, kept open, without a memory for cookies: one person's would reach the next."""
        if self._http is None:
            self._http = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._config.timeout),
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._http

    def _headers(self, headers: Sequence[tuple[bytes, bytes]]) -> Headers:
        """The configured headers: fixed ones, which nobody can overwrite, and those of the client to pass on."""
        fixed = self._config.http.static_headers | {"Content-Type": "application/json"}
        taken = {name.lower() for name in fixed}
        wanted = {name.lower() for name in self._config.http_headers} - taken
        decoded = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        return [*fixed.items(), *((name, value) for name, value in decoded if name.lower() in wanted)]

    @staticmethod
    def _result(reply: dict[str, Any]) -> dict[str, Any]:
        if "disconnect" in reply:
            raise Closed(Disconnect(reply["disconnect"].get("code", 0), reply["disconnect"].get("reason", "")))
        if "error" in reply:
            error = reply["error"]
            raise Refused(Error(error.get("code", 0), error.get("message", ""), error.get("temporary", False)))
        if "result" not in reply:
            raise Closed(CLOSE_BAD_REQUEST)
        result: dict[str, Any] = reply["result"]
        subscriptions = {channel: with_encoded(granted) for channel, granted in (result.get("subs") or {}).items()}
        return with_encoded(result) | {"subs": subscriptions}
