"""Who came in at which node: what the gate notes of it, and how a node is drained by it."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings

from events import engine_client, generations
from events.engine_client import SHUTDOWN, EngineAway
from realtime import nodes, tokens
from realtime.drain import Drain
from realtime.gate import Gate
from realtime.nodes import Connection, disconnect_part
from realtime.tests.test_gate import CHANGED, ask


@pytest.fixture
def node(redis_url, settings) -> str:
    """A node of which Redis knows nothing yet."""
    settings.REDIS_URL = redis_url
    return f"centrifugo-{uuid4().hex}"


def noted(node: str) -> set[str]:
    server = generations.server()
    assert server
    return {member.decode() for member in server.zrange(nodes.key(node), 0, -1)}


def note(node: str, *clients: str) -> None:
    """Bob came in with these."""
    server = generations.server()
    assert server
    pipeline = server.pipeline(transaction=False)
    nodes.note([Connection(node, "bob.1", client) for client in clients], pipeline)
    pipeline.execute()


# --- Noting -----------------------------------------------------------------------------------------------------------


async def come_in(gate: Gate, person: Any, node: str, client: str) -> dict[str, Any] | None:
    body = {"client": client, "data": {"token": tokens.connection_token(person.user).token}}
    status, answer = await ask(gate, body, node=node)
    assert status == 200
    return answer


def subject(person: Any) -> str:
    return tokens.Bearer.of(person.user).subject


@pytest.mark.django_db(transaction=True)
async def test_whoever_comes_in_is_noted_at_the_node_that_says_its_name(alice, bob, node):
    gate = Gate()
    for person, client in ((alice, "c1"), (bob, "c2"), (bob, "c3")):
        assert "result" in await come_in(gate, person, node, client)
    await come_in(gate, bob, node + "-2", "c4")
    assert noted(node) == {f"{subject(alice)} c1", f"{subject(bob)} c2", f"{subject(bob)} c3"}
    assert noted(node + "-2") == {f"{subject(bob)} c4"}


@pytest.mark.django_db(transaction=True)
async def test_all_windows_that_one_person_opens_at_once_are_noted(bob, node):
    gate = Gate()
    clients = [f"c{number}" for number in range(50)]
    await asyncio.gather(*(come_in(gate, bob, node, client) for client in clients))
    assert noted(node) == {f"{subject(bob)} {client}" for client in clients}


@pytest.mark.django_db(transaction=True)
async def test_what_is_noted_comes_with_the_read_and_costs_no_round_trip(bob, node, monkeypatch):
    gate = Gate()
    await come_in(gate, bob, node, "c1")  # from here on Redis knows Bob's generation
    monkeypatch.setattr("redis.client.Redis.execute_command", lambda *_: pytest.fail("Redis was asked once more"))
    assert "result" in await come_in(gate, bob, node, "c2")


@pytest.mark.django_db(transaction=True)
async def test_a_node_that_says_no_name_and_a_connection_without_an_id_are_not_noted(bob, node):
    gate, server = Gate(), generations.server()
    assert server
    before = set(server.scan_iter(nodes.key("*")))
    assert "result" in await come_in(gate, bob, "", "c1")
    assert "result" in await come_in(gate, bob, node, "")
    assert set(server.scan_iter(nodes.key("*"))) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", ["", "redis://127.0.0.1:9/0"], ids=["without Redis", "Redis away"])
async def test_where_nothing_can_be_noted_everybody_comes_in_all_the_same(bob, settings, url):
    settings.REDIS_URL = url
    assert "result" in await come_in(Gate(), bob, "centrifugo-1", "c1")


@pytest.mark.django_db(transaction=True)
async def test_a_redis_that_takes_no_notes_still_says_whose_access_changed(bob, node):
    server = generations.server()
    assert server
    server.set(nodes.key(node), "nothing can be added to this")
    await sync_to_async(generations.write)(bob.user.id, bob.user.access_generation)
    assert "result" in await come_in(Gate(), bob, node, "c1")
    await sync_to_async(generations.write)(bob.user.id, bob.user.access_generation + 1)
    assert await come_in(Gate(), bob, node, "c1") == CHANGED


def test_of_a_node_the_newest_are_noted_and_no_more_than_so_many(node, monkeypatch):
    monkeypatch.setattr(nodes, "NOTED_AT_A_NODE", 3)
    now = iter(range(1, 6))
    monkeypatch.setattr(nodes.time, "time", lambda: next(now))
    for client in ("c1", "c2", "c3", "c4", "c5"):
        note(node, client)
    assert noted(node) == {"bob.1 c3", "bob.1 c4", "bob.1 c5"}


def test_what_was_noted_a_day_ago_is_forgotten(node, monkeypatch):
    server = generations.server()
    assert server
    now = nodes.time.time()
    for later, client in ((0, "c1"), (10, "c2"), (nodes.NOTED_SECONDS + 5, "c3")):
        monkeypatch.setattr(nodes.time, "time", lambda: now + later)  # noqa: B023
        note(node, client)
    assert noted(node) == {"bob.1 c2", "bob.1 c3"}
    assert 0 < server.ttl(nodes.key(node)) <= nodes.NOTED_SECONDS, "nothing stays of a node that died"


# --- Draining ---------------------------------------------------------------------------------------------------------


class Engine:
    """Takes what it is told to disconnect."""

    def __init__(self) -> None:
        self.disconnected: list[list[str]] = []
        self.is_away = False
        self.refuses: set[str] = set()

    @property
    def told(self) -> list[str]:
        return [client for part in self.disconnected for client in part]

    def push(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.is_away:
            raise EngineAway("The engine can't be reached.")
        given = [command["disconnect"] for command in commands]
        assert all(one["user"] == "bob.1" and one["disconnect"]["code"] == SHUTDOWN for one in given)
        self.disconnected.append([one["client"] for one in given])
        return [{"error": {"code": 100}} if one["client"] in self.refuses else {"disconnect": {}} for one in given]


@pytest.fixture
def engine(monkeypatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(engine_client, "push", engine.push)
    return engine


CLIENTS = [f"c{number}" for number in range(10)]


def test_a_node_is_drained_in_equal_parts_until_nobody_is_noted(node, engine):
    note(node, *CLIENTS)
    assert [disconnect_part(node, parts) for parts in (4, 3, 2, 1)] == [7, 4, 2, 0]
    assert [len(part) for part in engine.disconnected] == [3, 3, 2, 2]
    assert sorted(engine.told) == CLIENTS
    server = generations.server()
    assert server
    assert not server.exists(nodes.key(node))
    assert disconnect_part(node, 4) == 0


def test_who_comes_in_meanwhile_leaves_with_one_of_the_parts_that_follow(node, engine):
    note(node, *CLIENTS)
    disconnect_part(node, 3)
    note(node, "late")
    disconnect_part(node, 2)
    assert disconnect_part(node, 1) == 0
    assert sorted(engine.told) == [*CLIENTS, "late"]


def test_while_the_engine_is_away_all_stay_noted_and_leave_in_what_time_is_left(node, engine):
    note(node, *CLIENTS)
    engine.is_away = True
    with pytest.raises(EngineAway):
        disconnect_part(node, 3)
    engine.is_away = False
    assert disconnect_part(node, 2) == 5


def test_what_the_engine_did_not_take_is_tried_again(node, engine):
    note(node, *CLIENTS)
    engine.refuses = {"c4"}
    assert disconnect_part(node, 1) == 1
    assert noted(node) == {"bob.1 c4"}


def test_one_request_disconnects_no_more_than_so_many(node, engine, monkeypatch):
    monkeypatch.setattr(nodes, "PART_LIMIT", 4)
    note(node, *CLIENTS)
    assert disconnect_part(node, 1) == 6


def test_without_redis_nobody_is_noted(settings, engine):
    settings.REDIS_URL = ""
    assert disconnect_part("centrifugo-1", 4) == 0


# --- What the hook is answered ----------------------------------------------------------------------------------------


async def ask_to_drain(query: str, body: bytes | None = None, method: str = "POST") -> tuple[int, bytes]:
    content = f"{django_settings.GATE_KEY}\n".encode() if body is None else body  # as it stands in a file
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "headers": [], "query_string": query.encode()}
    await Drain()(scope, receive, send)  # type: ignore[arg-type]
    return sent[0]["status"], sent[1]["body"]


async def test_the_hook_is_told_how_many_are_left(node, engine):
    note(node, *CLIENTS)
    assert await ask_to_drain(f"node={node}&parts=2") == (200, b"5")
    assert await ask_to_drain(f"node={node}&parts=1") == (200, b"0"), "then it stops"


async def test_while_the_engine_or_redis_is_away_the_hook_goes_on(node, engine, settings):
    note(node, *CLIENTS)
    engine.is_away = True
    assert await ask_to_drain(f"node={node}&parts=2") == (503, b"")
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    assert await ask_to_drain(f"node={node}&parts=2") == (503, b"")


@pytest.mark.parametrize("body", [b"", b"guessed", "ü".encode()])
async def test_only_who_has_the_gates_key_drains(node, engine, body):
    note(node, *CLIENTS)
    assert await ask_to_drain(f"node={node}&parts=1", body) == (403, b"")
    assert len(noted(node)) == len(CLIENTS)


@pytest.mark.parametrize("query", ["", "node=a", "parts=1", "node=a&parts=0", "node=a&parts=-1", "node=a&parts=all"])
async def test_what_says_no_node_or_no_parts_is_told_so(query):
    assert await ask_to_drain(query) == (400, b"")


async def test_what_is_no_request_of_the_hooks_is_told_so():
    assert await ask_to_drain("", method="GET") == (405, b"")
    assert await ask_to_drain("", b"x" * 70_000) == (413, b"")
