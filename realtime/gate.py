"""The gate: the engine asks it about each connection, with the connection token that the browser sent.

A bare ASGI callable beside Django's and not a Django view, because after a restart of the engine every open page comes
by at once. It never says yes when it could not look.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import connections

from accounts.models import User
from events import generations
from events.engine_client import ACCESS_CHANGED
from realtime import nodes
from realtime.metrics import GATE_ANSWERS, GATE_DATABASE_READS
from realtime.tokens import Bearer, InvalidToken, read_connection_token

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = logging.getLogger("realtime.gate")

BODY_LIMIT_BYTES = 64 * 1024
#: People whose generation is read in one query.
READ_TOGETHER = 500
COMPLAINTS_EVERY_SECONDS = 1.0
#: After Redis did not answer, rows alone are read for so long: waiting for one that hangs would take all the time.
ROWS_ALONE_SECONDS = 2.0
#: The engine's own temporary error: the client tries again.
TRY_AGAIN = {"error": {"code": 100, "message": "internal server error", "temporary": True}}


class Gate:
    """Answers the engine's connect proxy: `result` with the user, `disconnect` for a refusal, `error` to try again."""

    def __init__(self) -> None:
        self._reader = GenerationReader()
        self._quiet_until = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await respond(send, 405)
        elif not _has_key(scope):
            await respond(send, 403)
        elif (body := await read_body(receive)) is None:
            await respond(send, 413)
        elif (request := _connect_request(body)) is None:
            await respond(send, 400)
        else:
            node = _header(scope, b"x-node-name").decode("latin-1")
            await respond(send, 200, await self.answer(_token(request), node, _text(request.get("client"))))

    async def answer(self, token: str, node: str = "", client: str = "") -> dict[str, Any]:
        """The reply to a connection that shows this token: `client` is its id, at the node that says this name."""
        try:
            bearer = read_connection_token(token)
            connection = nodes.Connection(node, bearer.subject, client) if node and client else None
            is_current = await self._reader.is_current(bearer, connection)
        except InvalidToken as problem:
            return _refuse(str(problem))
        except Exception as problem:  # whatever kept it from looking: a database that is away, a time-out
            self._complain(problem)
            GATE_ANSWERS.labels("try_again").inc()
            return TRY_AGAIN
        if not is_current:
            return _refuse("access changed")
        GATE_ANSWERS.labels("accepted").inc()
        return {"result": {"user": bearer.subject}}

    def _complain(self, problem: Exception) -> None:
        """Log it, once a second: ten thousand tracebacks cost more than they tell, just when there is no time."""
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + COMPLAINTS_EVERY_SECONDS
            logger.error("The gate could not read an access generation; clients try again.", exc_info=problem)


def _refuse(reason: str) -> dict[str, Any]:
    """End the connection so that the page forgets its tokens, asks for new ones and reloads its state."""
    GATE_ANSWERS.labels("refused").inc()
    return {"disconnect": {"code": ACCESS_CHANGED, "reason": reason}}


class GenerationReader:
    """Reads access generations for many connections at once.

    Whoever asks while a read is under way waits for the next one, which reads for all who wait: a thousand connections
    in the same moment cost a few queries, none of them begun before its question was asked. One thread reads, with one
    database connection that is given back after each read.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gate")
        self._memory = Memory()
        self._waiting: dict[Bearer, asyncio.Future[bool]] = {}
        self._to_note: list[nodes.Connection] = []
        self._reading: asyncio.Task[None] | None = None

    async def is_current(self, bearer: Bearer, connection: nodes.Connection | None) -> bool:
        """Whether this is the person's generation now; where the connection came in is noted by the way.

        Raises whatever kept it from reading, TimeoutError included.
        """
        if connection:
            self._to_note.append(connection)
        answer = self._waiting.get(bearer)
        if answer is None:
            answer = self._waiting[bearer] = asyncio.get_running_loop().create_future()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        async with asyncio.timeout(settings.GATE_TIMEOUT_SECONDS):
            return await asyncio.shield(answer)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            asked = {bearer: self._waiting.pop(bearer) for bearer in list(self._waiting)[:READ_TOGETHER]}
            to_note, self._to_note = self._to_note, []
            try:
                current = await loop.run_in_executor(self._threads, current_of, list(asked), self._memory, to_note)
            except Exception as error:
                _fail(asked.values(), error)
            else:
                for bearer, answer in asked.items():
                    answer.set_result(bearer in current)


def _fail(answers: Iterable[asyncio.Future[bool]], error: Exception) -> None:
    for answer in answers:
        answer.set_exception(error)
        answer.exception()  # whoever waited may have given up: then nobody else asks


class Memory:
    """The access generations that Redis knows. While it is away, nobody's: then their rows decide, in one query."""

    def __init__(self) -> None:
        self._away_until = float("-inf")

    def read(self, user_ids: set[UUID], to_note: Iterable[nodes.Connection]) -> dict[UUID, int]:
        """Redis is told at once what it is to note: that costs no wait of its own, and nothing where it is away."""
        if time.monotonic() < self._away_until:
            return {}
        try:
            return generations.read_many(user_ids, beside=partial(nodes.note, to_note))
        except generations.GenerationsAway as problem:
            self._lose(problem)
            return {}

    def keep(self, read: set[Bearer]) -> None:
        """Save the next read of these. The relay may have written a newer one meanwhile: that stays."""
        if time.monotonic() < self._away_until:
            return
        try:
            generations.write_many({bearer.user_id: bearer.generation for bearer in read})
        except generations.GenerationsAway as problem:
            self._lose(problem)

    def _lose(self, problem: generations.GenerationsAway) -> None:
        self._away_until = time.monotonic() + ROWS_ALONE_SECONDS
        logger.warning("%s. The gate asks the database alone for %g s.", problem, ROWS_ALONE_SECONDS)


def current_of(bearers: list[Bearer], memory: Memory, to_note: Iterable[nodes.Connection]) -> set[Bearer]:
    """Those of the bearers whose generation is the person's now.

    Redis knows what the relay has written and what the gate has read, the database what has been committed. Redis
    settles all but those it does not know and those newer than what it knows (of whom the relay has not got that far).
    What the database says of these, Redis knows from then on: when everybody comes back, nothing asks the database.
    """
    known = memory.read({bearer.user_id for bearer in bearers}, to_note)
    current = {bearer for bearer in bearers if known.get(bearer.user_id) == bearer.generation}
    unsettled = {bearer for bearer in bearers if bearer.generation > known.get(bearer.user_id, 0)}
    if unsettled:
        read = _current_in_database(unsettled)
        memory.keep(read)
        current |= read
    return current


def _current_in_database(bearers: set[Bearer]) -> set[Bearer]:
    GATE_DATABASE_READS.inc()
    people = User.objects.filter(pk__in={bearer.user_id for bearer in bearers}, is_active=True)
    try:
        rows = {Bearer(*row) for row in people.values_list("pk", "access_generation")}
    finally:
        connections.close_all()
    return bearers & rows


# --- HTTP -------------------------------------------------------------------------------------------------------------


def _has_key(scope: Scope) -> bool:
    return hmac.compare_digest(_header(scope, b"x-gate-key"), settings.GATE_KEY.encode())


def _header(scope: Scope, wanted: bytes) -> bytes:
    found: bytes = next((value for name, value in scope["headers"] if name == wanted), b"")
    return found


async def read_body(receive: Receive) -> bytes | None:
    """The request's body; None if it is longer than the limit."""
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
        if len(body) > BODY_LIMIT_BYTES:
            return None
    return body


def _connect_request(body: bytes) -> dict[str, Any] | None:
    """None if it is none."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return request if isinstance(request, dict) else None


def _token(request: dict[str, Any]) -> str:
    """The token in a connect request, "" where the client sent none."""
    data = request.get("data")
    return _text(data.get("token")) if isinstance(data, dict) else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


async def respond(send: Send, status: int, content: dict[str, Any] | int | None = None) -> None:
    """Send this as JSON, or nothing but the status."""
    body = b"" if content is None else orjson.dumps(content)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
