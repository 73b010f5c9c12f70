"""The public keys of subscription tokens, at an address where the engine, and anybody, may read them.

A bare ASGI callable beside Django's, like the gate: Centrifugo asks here about each token whose key it does not know,
waits a second, asks once more and then refuses the token. Answered from memory, whoever invents keys costs little.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import orjson
from django.db import connections

from realtime import keys
from realtime.gate import Receive, Scope, Send

PATH = ".well-known/jwks.json"

logger = logging.getLogger("realtime.jwks")


class PublicKeys:
    """Answers GET and HEAD with a JSON Web Key Set (RFC 7517). What was read once is said on without the database."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jwks")
        self._reading: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _respond(send, 405)
            return
        if not keys.ring.is_fresh:
            await self._read_together()
        if found := keys.ring.public_keys():
            body = orjson.dumps({"keys": found})
            await _respond(send, 200, b"" if scope["method"] == "HEAD" else body, int(keys.read_again_seconds()))
        else:
            await _respond(send, 503)

    async def _read_together(self) -> None:
        """Everybody who asks while a read is under way waits for its end."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, _read)
        except Exception:
            logger.exception("The signing keys could not be read; what was read before is published on.")


def _read() -> None:
    try:
        keys.ring.signing_key()  # which makes the first key, where there is none
    except keys.CannotUnseal as problem:
        logger.error("%s", problem)
    finally:
        connections.close_all()


async def _respond(send: Send, status: int, body: bytes = b"", seconds: int = 0) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", f"public, max-age={seconds}".encode() if seconds else b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
