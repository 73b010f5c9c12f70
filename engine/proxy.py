"""The connect proxy: an HTTP endpoint of the application decides who a connection without a token is."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson

from engine.codes import CLOSE_BAD_REQUEST, INTERNAL_TEMPORARY, Closed, Disconnect, Error, Refused
from engine.config import ConnectProxy
from engine.schema import Malformed, anything, check, flag, int64, record, record_map, text, texts, uint32

_RESULT = {
    "user": text,
    "expire_at": int64,
    "info": anything,
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
        self._http: httpx.AsyncClient | None = None

    @property
    def enabled(self) -> bool:
        return self._config.enabled

    async def ask(self, request: Mapping[str, Any], headers: Sequence[tuple[bytes, bytes]]) -> dict[str, Any]:
        """The endpoint's `result`. Raises Refused or Closed as it says; Refused (100) where it cannot be asked."""
        try:
            async with asyncio.timeout(self._config.timeout):
                response = await self._client().post(
                    self._config.endpoint, content=orjson.dumps(request), headers=self._headers(headers)
                )
            if response.status_code != httpx.codes.OK:
                raise Refused(INTERNAL_TEMPORARY)
            reply = check(orjson.loads(response.content), _REPLY)
        except (TimeoutError, httpx.HTTPError, orjson.JSONDecodeError, Malformed):
            raise Refused(INTERNAL_TEMPORARY) from None
        return self._result(reply)

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
            is_encrypted = self._config.endpoint.startswith("https://")  # else skip the slow loading of certificates
            timeout = self._config.timeout
            self._http = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False, verify=is_encrypted)
        return self._http

    def _headers(self, headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        wanted = {name.lower().encode() for name in self._config.http_headers}
        fixed = [(name.encode(), value.encode()) for name, value in self._config.http.static_headers.items()]
        passed = [(name, value) for name, value in headers if name.lower() in wanted]
        return [*fixed, *passed, (b"Content-Type", b"application/json")]

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
        if "b64data" in result:
            result["data"] = decode_json(result["b64data"])
        return result


def decode_json(text64: str) -> Any:
    """What base64 text holds. Raises Refused (100) where that is not JSON: this engine speaks no binary protocol."""
    try:
        return orjson.loads(base64.b64decode(text64, validate=True))
    except (binascii.Error, orjson.JSONDecodeError):
        raise Refused(INTERNAL_TEMPORARY) from None
