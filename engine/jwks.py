"""A JSON Web Key Set (RFC 7517) at an address: which keys the tokens of others are signed with."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import jwt
import orjson

log = logging.getLogger("engine")

#: A key once read is looked for again after this long, so that one which is published no more is refused.
KEPT_SECONDS = 60.0
#: Between two requests for keys that nobody may have: who invents some waits, and is no burden to the address.
PAUSE_SECONDS = 0.2
#: As Centrifugo asks: twice, and a second for each.
TIMEOUT_SECONDS = 1.0
ATTEMPTS = 2

_ALGORITHMS = {
    ("RSA", None): ("RS256", "RS384", "RS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and the algorithms that it may have been used with: the token's own word on it decides nothing."""

    public: Any
    algorithms: tuple[str, ...]

    @classmethod
    def of(cls, jwk: Mapping[str, Any]) -> Key | None:
        """None for a key that signs no tokens, or by an algorithm that Centrifugo doesn't take here."""
        possible = _ALGORITHMS.get((str(jwk.get("kty")), jwk.get("crv") if jwk.get("kty") != "RSA" else None), ())
        allowed = tuple(name for name in possible if jwk.get("alg") in (None, name))
        if jwk.get("use") != "sig" or not allowed:
            return None
        try:
            return cls(jwt.PyJWK(dict(jwk), algorithm=allowed[0]).key, allowed)
        except (jwt.PyJWTError, ValueError, TypeError):
            return None


class KeySet:
    """The keys at an address, as they were read last. `look_for` first, outside anything that must not wait."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._keys: dict[str, Key] = {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._pause_until = 0.0

    def get(self, kid: str) -> Key | None:
        return self._keys.get(kid)

    async def look_for(self, kid: str) -> None:
        """Read the set if this key is not in it, or was last seen too long ago. One request serves all who wait."""
        if kid in self._keys and time.monotonic() - self._read_at < KEPT_SECONDS:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        await asyncio.sleep(max(0.0, self._pause_until - time.monotonic()))
        for _ in range(ATTEMPTS):
            try:
                self._keys = await self._fetch()
            except (TimeoutError, aiohttp.ClientError, ValueError) as problem:
                log.warning("the keys of tokens could not be read at %s: %r", self._endpoint, problem)
            else:
                self._read_at = time.monotonic()
                break
        self._pause_until = time.monotonic() + PAUSE_SECONDS

    async def _fetch(self) -> dict[str, Key]:
        """Raises TimeoutError, aiohttp.ClientError or ValueError: what was known before goes on."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(self._endpoint) as response:
            if response.status != HTTPStatus.OK:
                raise ValueError(f"status {response.status}")
            answer = orjson.loads(await response.read())
        listed = answer.get("keys") if isinstance(answer, dict) else None
        if not isinstance(listed, list):
            raise ValueError("this is no JSON Web Key Set")
        found = {jwk["kid"]: Key.of(jwk) for jwk in listed if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str)}
        return {kid: key for kid, key in found.items() if kid and key}
