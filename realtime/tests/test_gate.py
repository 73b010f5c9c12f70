"""The gate, as the engine calls it."""

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import jwt
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import OperationalError, connections

from accounts.actions import disable_person, raise_generation
from accounts.events import Reason
from events import channels, generations
from realtime import gate as gate_module
from realtime import keys, tokens
from realtime.gate import TRY_AGAIN, Gate

pytestmark = pytest.mark.django_db(transaction=True)

REFUSED = {"disconnect": {"code": 3014, "reason": "token refused"}}
CHANGED = {"disconnect": {"code": 3014, "reason": "access changed"}}


async def ask(
    gate: Gate, body: Any, key: str | None = None, method: str = "POST", pieces: int = 1, node: str = ""
) -> tuple[int, dict[str, Any] | None]:
    """Call the gate as an ASGI server would; the status and the JSON of its answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = -(-len(content) // pieces) or 1
    parts = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [
        (b"x-gate-key", (django_settings.GATE_KEY if key is None else key).encode()),
        (b"x-node-name", node.encode()),
    ]
    await gate({"type": "http", "method": method, "headers": headers}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"]) if sent[1]["body"] else None


async def show(gate: Gate, token: str) -> dict[str, Any] | None:
    status, answer = await ask(gate, {"client": "c", "transport": "websocket", "data": {"token": token}})
    assert status == 200
    return answer


def forged(**claims: Any) -> str:
    secret = claims.pop("secret", django_settings.CONNECTION_TOKEN_SECRET)
    content = {"sub": f"{uuid4()}.1", "aud": "connection", "exp": time.time() + 60} | claims
    return jwt.encode({name: value for name, value in content.items() if value is not None}, secret, algorithm="HS256")


async def test_bobs_token_lets_him_in_as_of_his_generation(bob):
    token = tokens.connection_token(bob.user).token
    assert await show(Gate(), token) == {"result": {"user": f"{bob.user.id}.{bob.user.access_generation}"}}


async def test_after_a_revocation_the_old_token_is_refused_and_a_new_one_lets_him_in(bob):
    gate = Gate()
    old = tokens.connection_token(bob.user).token
    await sync_to_async(raise_generation)(bob.user, Reason.POLICY_NARROWED, by=None)
    assert await show(gate, old) == CHANGED
    assert "result" in await show(gate, tokens.connection_token(bob.user).token)


async def test_who_was_disabled_stays_outside(bob):
    token = tokens.connection_token(bob.user).token
    await sync_to_async(disable_person)(bob.user, by=None)
    assert await show(Gate(), token) == CHANGED


@pytest.mark.parametrize(
    "claims",
    [
        {"secret": "somebody-elses-secret-of-thirty-two-bytes"},
        {"aud": "subscription"},
        {"aud": None},
        {"exp": None},
        {"sub": "bob.1"},
        {"sub": f"{uuid4()}"},
        {"sub": None},
    ],
)
async def test_what_is_no_connection_token_of_ours_is_refused(claims):
    assert await show(Gate(), forged(**claims)) == REFUSED


@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
async def test_what_is_no_token_at_all_is_refused(token):
    assert await show(Gate(), token) == REFUSED


async def test_a_token_without_a_signature_is_refused(bob):
    header, payload, _ = tokens.connection_token(bob.user).token.split(".")
    unsigned = jwt.encode({"alg": "none"}, "x" * 32).split(".")[0]
    assert await show(Gate(), f"{unsigned}.{payload}.") == REFUSED
    assert await show(Gate(), f"{header}.{payload}.") == REFUSED


async def test_a_subscription_token_lets_nobody_in_whoever_signed_it(bob):
    """Nor does a connection token that was signed with a key of the engine's, as if that were the gate's secret."""
    token = await sync_to_async(tokens.subscription_token)(bob.user, channels.inbox(bob.user.id))
    assert await show(Gate(), token.token) == REFUSED
    kid, private = await sync_to_async(keys.ring.signing_key)()
    claims = {"sub": f"{bob.user.id}.{bob.user.access_generation}", "aud": "connection", "exp": time.time() + 60}
    assert await show(Gate(), jwt.encode(claims, private, algorithm="ES256", headers={"kid": kid})) == REFUSED


async def test_an_expired_token_is_refused_so_that_the_page_asks_for_another(bob):
    expired = forged(sub=f"{bob.user.id}.{bob.user.access_generation}", exp=time.time() - 1)
    assert await show(Gate(), expired) == {"disconnect": {"code": 3014, "reason": "token expired"}}


async def test_a_person_who_was_never_there_is_refused():
    assert await show(Gate(), forged()) == CHANGED


@pytest.mark.parametrize("data", [None, {}, [], "x", {"token": 5}, {"token": None}])
async def test_a_client_that_sends_no_token_is_refused(data):
    assert await ask(Gate(), {"client": "c", "data": data}) == (200, REFUSED)


@pytest.mark.parametrize("key", ["", "wrong", "ü"])
async def test_only_the_engine_may_ask(bob, key):
    body = {"data": {"token": tokens.connection_token(bob.user).token}}
    assert await ask(Gate(), body, key=key) == (403, None)


async def test_what_is_no_request_of_the_engines_is_told_so():
    gate = Gate()
    assert await ask(gate, b"", method="GET") == (405, None)
    assert await ask(gate, b"not json") == (400, None)
    assert await ask(gate, b"[]") == (400, None)
    assert await ask(gate, b'{"data":' * 5000) == (400, None)
    assert await ask(gate, b'"' + b"x" * 70_000 + b'"', pieces=9) == (413, None)


async def test_while_the_database_is_away_clients_are_told_to_try_again(bob, monkeypatch):
    def away(bearers: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(gate_module, "_current_in_database", away)
    gate = Gate()
    token = tokens.connection_token(bob.user).token
    assert await show(gate, token) == TRY_AGAIN
    monkeypatch.undo()
    assert "result" in await show(gate, token)


async def test_while_redis_is_away_the_row_decides(bob, settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    gate = Gate()
    old = tokens.connection_token(bob.user).token
    assert "result" in await show(gate, old)
    await sync_to_async(raise_generation)(bob.user, Reason.POLICY_NARROWED, by=None)
    assert await show(gate, old) == CHANGED
    assert "result" in await show(gate, tokens.connection_token(bob.user).token)


async def test_a_redis_that_is_away_is_not_waited_for_by_everybody(bob, settings, monkeypatch):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    asked: list[object] = []

    def away(users: object, beside: object) -> None:
        asked.append(users)
        raise generations.GenerationsAway("Redis did not give access generations: timed out")

    monkeypatch.setattr(generations, "read_many", away)
    gate = Gate()
    token = tokens.connection_token(bob.user).token
    assert "result" in await show(gate, token)
    assert "result" in await show(gate, token)
    assert len(asked) == 1


async def test_redis_is_asked_again_when_it_may_be_back(bob, redis_url, settings, monkeypatch):
    monkeypatch.setattr(gate_module, "ROWS_ALONE_SECONDS", 0)
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    gate = Gate()
    token = tokens.connection_token(bob.user).token
    assert "result" in await show(gate, token)
    settings.REDIS_URL = redis_url
    await sync_to_async(generations.write)(bob.user.id, bob.user.access_generation + 1)
    assert await show(gate, token) == CHANGED


async def test_a_database_that_hangs_costs_a_moment_and_lets_nobody_in(bob, monkeypatch, settings):
    settings.GATE_TIMEOUT_SECONDS = 0.05
    monkeypatch.setattr(gate_module, "_current_in_database", lambda bearers: time.sleep(0.3) or bearers)
    assert await show(Gate(), tokens.connection_token(bob.user).token) == TRY_AGAIN


async def test_redis_settles_what_it_knows_and_the_database_what_is_newer(bob, monkeypatch):
    """What the relay has written refuses the old; a token newer than that is looked up in the row."""
    gate = Gate()
    old = tokens.connection_token(bob.user).token
    was = bob.user.access_generation
    written = {bob.user.id: was}
    monkeypatch.setattr(generations, "read_many", lambda users, beside: written)
    await sync_to_async(raise_generation)(bob.user, Reason.POLICY_NARROWED, by=None)
    new = tokens.connection_token(bob.user).token
    assert "result" in await show(gate, old)  # the relay has not got there: it will disconnect when it does
    assert "result" in await show(gate, new)
    written[bob.user.id] = was + 1
    assert await show(gate, old) == CHANGED
    assert "result" in await show(gate, new)


async def test_with_redis_what_the_relay_wrote_is_refused_without_asking_the_database(
    bob, redis_url, settings, monkeypatch
):
    settings.REDIS_URL = redis_url
    gate = Gate()
    old = tokens.connection_token(bob.user).token
    new_generation = await sync_to_async(raise_generation)(bob.user, Reason.POLICY_NARROWED, by=None)
    await sync_to_async(generations.write)(bob.user.id, new_generation)
    monkeypatch.setattr(gate_module, "_current_in_database", lambda bearers: pytest.fail("the database was asked"))
    assert await show(gate, old) == CHANGED
    assert "result" in await show(gate, tokens.connection_token(bob.user).token)


async def test_a_hundred_connections_at_once_share_a_few_reads(alice, bob, monkeypatch):
    reads: list[int] = []
    read = gate_module._current_in_database

    def counted(bearers: set[Any]) -> set[Any]:
        reads.append(len(bearers))
        return read(bearers)

    monkeypatch.setattr(gate_module, "_current_in_database", counted)
    gate = Gate()
    shown = [tokens.connection_token(person.user).token for person in (alice, bob)] * 50
    answers = await asyncio.gather(*(show(gate, token) for token in shown))
    assert all("result" in answer for answer in answers)
    assert len(reads) <= 3


async def test_the_gate_gives_its_database_connection_back(bob):
    gate = Gate()
    await show(gate, tokens.connection_token(bob.user).token)

    def left_open() -> bool:
        return any(connection.connection is not None for connection in connections.all(initialized_only=True))

    assert not gate._reader._threads.submit(left_open).result()


async def test_who_was_read_from_the_database_once_is_known_to_redis(bob, redis_url, settings, monkeypatch):
    """When the engine restarts everybody comes by at once, and nobody's row is read."""
    settings.REDIS_URL = redis_url
    token = tokens.connection_token(bob.user).token
    assert "result" in await show(Gate(), token)
    monkeypatch.setattr(gate_module, "_current_in_database", lambda bearers: pytest.fail("the database was asked"))
    assert "result" in await show(Gate(), token)
    await sync_to_async(generations.write)(bob.user.id, bob.user.access_generation + 1)
    assert await show(Gate(), token) == CHANGED


async def test_a_redis_that_takes_nothing_keeps_nobody_out(bob, redis_url, settings, monkeypatch):
    def full(found: object) -> None:
        raise generations.GenerationsAway("OOM command not allowed")

    settings.REDIS_URL = redis_url
    monkeypatch.setattr(generations, "write_many", full)
    assert "result" in await show(Gate(), tokens.connection_token(bob.user).token)


async def test_a_token_that_let_somebody_in_before_ends_all_the_same(bob, monkeypatch):
    gate, signed = Gate(), tokens.connection_token(bob.user)
    assert "result" in await show(gate, signed.token)
    monkeypatch.setattr(tokens.time, "time", lambda: signed.expires_at + 0.5)
    assert await show(gate, signed.token) == {"disconnect": {"code": 3014, "reason": "token expired"}}
