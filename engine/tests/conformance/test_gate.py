"""The connect proxy: the application's gate decides who a connection is, and taking access away works with it.

People's tokens carry `{user}.{generation}`; connections are made with `data`, which the gate reads, never with a token.
"""

from __future__ import annotations

import asyncio
from typing import Any

from engine.tests.conformance.conftest import Gate, Launch
from engine.tests.conformance.sdk import Sdk, Unauthorized
from engine.tests.conformance.servers import Server, base64_of, free_port, grant, now, outcome, token
from engine.tests.conformance.test_subscribing import TOKENS


async def test_the_gate_is_told_who_asks(launch: Launch, gate: Gate) -> None:
    options = gate.options(http_headers=["X-Real-Ip", "Origin"], http={"static_headers": {"X-Gate-Key": "secret"}})
    with launch(client=options) as server:
        async with server.raw(additional_headers={"X-Real-Ip": "192.0.2.1", "Cookie": "private"}) as alice:
            reply = await alice.command(connect={"data": {"token": "t"}, "name": "js", "version": "1.2"})
    assert gate.asked == [
        {
            "client": reply["connect"]["client"],
            "transport": "websocket",
            "protocol": "json",
            "encoding": "json",
            "data": {"token": "t"},
            "name": "js",
            "version": "1.2",
        }
    ]
    headers = gate.headers[0]
    assert headers["x-real-ip"] == "192.0.2.1"
    assert headers["x-gate-key"] == "secret"
    assert headers["content-type"] == "application/json"
    assert "cookie" not in headers


async def test_the_gate_says_who_it_is_until_when_and_with_what(launch: Launch, gate: Gate, unique: str) -> None:
    channel, plain = f"tenant:{unique}", f"plain:{unique}"
    gate.says = {
        "result": {
            "user": "alice.1",
            "expire_at": now() + 100,
            "data": {"hello": "Alice"},
            "channels": [plain],
            "subs": {channel: {"data": {"d": 1}}},
        }
    }
    with launch(client=gate.options()) as server:
        async with server.raw() as alice:
            reply = (await alice.command(connect={"data": {}}))["connect"]
            assert reply["data"] == {"hello": "Alice"}
            assert 90 <= reply["ttl"] <= 100
            assert reply["subs"].keys() == {channel, plain}
            assert reply["subs"][channel]["data"] == {"d": 1}
            assert await alice.subscribe(channel, "alice.1") == 105
            assert isinstance(await alice.subscribe(channel + "x", "alice.1"), dict)


async def test_the_gate_may_say_everything_as_base64(launch: Launch, gate: Gate, unique: str) -> None:
    channel = f"collab:{unique}"
    gate.says = {
        "result": {
            "user": "alice",
            "data": 1,
            "b64data": base64_of({"hello": "Alice"}),
            "b64info": base64_of({"name": "Alice"}),
            "subs": {channel: {"b64data": base64_of([1]), "b64info": base64_of(2)}},
        }
    }
    with launch(client=gate.options()) as server:
        async with server.raw() as alice:
            reply = (await alice.command(connect={}))["connect"]
            assert reply["data"] == {"hello": "Alice"}
            assert reply["subs"] == {channel: {"data": [1]}}
            hers = {"user": "alice", "client": reply["client"], "conn_info": {"name": "Alice"}, "chan_info": 2}
            assert (await alice.next())["push"]["join"]["info"] == hers


async def test_a_subscription_of_the_gate_is_recovered_on_connecting(launch: Launch, gate: Gate, channel: str) -> None:
    gate.says = {"result": {"user": "alice", "subs": {channel: {}}}}
    with launch(client=gate.options()) as server:
        epoch = server.publish(channel, "seen", "missed")["epoch"]
        async with server.raw() as alice:
            asked = {"recover": True, "offset": 1, "epoch": epoch}
            sub = (await alice.command(connect={"subs": {channel: asked}}))["connect"]["subs"][channel]
            assert (sub["recovered"], sub["was_recovering"], sub["offset"]) == (True, True, 1)
            assert [publication["data"] for publication in sub["publications"]] == ["missed"]
    assert gate.asked[0]["channels"] == [channel]


ANSWERS: dict[str, tuple[Any, Any]] = {
    "an error": ({"error": {"code": 1000, "message": "no"}}, {"code": 1000, "message": "no"}),
    "a passing error": (
        {"error": {"code": 1000, "message": "no", "temporary": True}},
        {"code": 1000, "message": "no", "temporary": True},
    ),
    "another status": (500, {"code": 100, "message": "internal server error", "temporary": True}),
    "no JSON": (b"<html>", {"code": 100, "message": "internal server error", "temporary": True}),
    "another form": ({"result": {"user": 5}}, {"code": 100, "message": "internal server error", "temporary": True}),
    "an unknown channel": (
        {"result": {"user": "alice", "subs": {"unheard:of": {}}}},
        {"code": 102, "message": "unknown channel"},
    ),
    "info that is no base64": (
        {"result": {"user": "alice", "b64info": "!!"}},
        {"code": 100, "message": "internal server error", "temporary": True},
    ),
    "a subscription's data that is no base64": (
        {"result": {"user": "alice", "subs": {"plain:a": {"b64data": "!!"}}}},
        {"code": 100, "message": "internal server error", "temporary": True},
    ),
    "an end in the past": ({"result": {"user": "alice", "expire_at": 5}}, {"code": 110, "message": "expired"}),
    "a disconnect": ({"disconnect": {"code": 3014, "reason": "access changed"}}, 3014),
    "a disconnect of its own": ({"disconnect": {"code": 4501, "reason": "no"}}, 4501),
    "a code that WebSocket has not": ({"disconnect": {"code": 12, "reason": "no"}}, 1006),
    "nothing": ({}, 3501),
}


async def test_what_the_gate_may_answer(launch: Launch, gate: Gate) -> None:
    with launch(client=gate.options()) as server:
        for case, (says, expected) in ANSWERS.items():
            gate.says = says
            async with server.raw() as someone:
                answer = await someone.command(connect={"data": {}})
                assert (answer["error"] if isinstance(answer, dict) else answer) == expected, case


async def test_a_gate_that_is_too_slow_or_away_is_a_passing_error(launch: Launch, gate: Gate) -> None:
    async def slowly() -> Any:
        await asyncio.sleep(2)

    gate.says = lambda _: slowly()
    with launch(client=gate.options(timeout="200ms")) as server:
        async with server.raw() as someone:
            assert (await someone.command(connect={}))["error"]["temporary"] is True
    with launch(client=gate.options(endpoint=f"http://127.0.0.1:{free_port()}/gate")) as server:
        async with server.raw() as someone:
            assert (await someone.command(connect={}))["error"]["temporary"] is True


async def test_behind_a_gate_a_connection_token_opens_nothing(launch: Launch, gate: Gate) -> None:
    with launch(client=gate.options()) as server:
        async with server.raw() as mallory:
            assert await mallory.command(connect={"token": token()}) == 3500
        async with server.raw() as alice:
            await alice.command(connect={})
            assert await alice.command(refresh={"token": token()}) == 3500
    assert len(gate.asked) == 1


async def test_behind_a_gate_subscription_tokens_open_what_they_open_elsewhere(launch: Launch, gate: Gate) -> None:
    with launch(client=gate.options()) as server:
        for case, (given, expected) in TOKENS.items():
            async with server.raw() as alice:
                await alice.command(connect={})
                answer = await alice.command(subscribe={"channel": "tenant:a", "token": given})
                assert outcome(answer, "subscribe") == expected, case
            async with server.raw() as alice:
                await alice.command(connect={})
                assert isinstance(await alice.subscribe("tenant:a"), dict)


async def test_a_connection_of_the_gate_ends_when_it_said(launch: Launch, gate: Gate) -> None:
    with launch(client={**gate.options(), "expired_close_delay": "500ms"}) as server:
        async with server.raw() as alice:
            gate.says = {"result": {"user": "alice", "expire_at": now() + 2}}
            assert "connect" in await alice.command(connect={})
            assert await alice.next() == 3005


async def test_commands_sent_before_the_gate_has_answered_wait(launch: Launch, gate: Gate) -> None:
    async def slowly() -> Any:
        await asyncio.sleep(0.2)
        return {"result": {"user": "alice"}}

    gate.says = lambda _: slowly()
    with launch(client=gate.options()) as server:
        async with server.raw() as alice:
            await alice.send('{"id": 1, "connect": {}}\n{"id": 2, "subscribe": {"channel": "public:news"}}')
            assert "connect" in await alice.next()
            assert outcome(await alice.next(), "subscribe") == {}


class Application:
    """What the platform does for its people's browsers: tokens of their generation, and a gate that knows it."""

    def __init__(self, gate: Gate, sdk: Sdk) -> None:
        self.generation = 1
        gate.says = self.judge
        sdk.answers = {
            "getData": lambda _: {"generation": self.generation},
            "getToken": lambda asked: grant(asked["channel"], self.user),
            "getState": lambda asked: self.positions[asked["channel"]],
        }
        self.positions: dict[str, dict[str, Any]] = {}

    @property
    def user(self) -> str:
        return f"alice.{self.generation}"

    def judge(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["data"]["generation"] != self.generation:
            return {"disconnect": {"code": 3014, "reason": "access changed"}}
        return {"result": {"user": self.user}}

    def open_page(self, server: Server, sdk: Sdk, channel: str) -> None:
        self.positions[channel] = server.result("history", channel=channel)
        sdk.client("alice", server.websocket_url, asks=["getData"])
        sdk.subscribe("alice", channel, asks=["getToken", "getState"])


async def test_who_is_disconnected_with_3014_comes_back_with_new_data_tokens_and_state(
    launch: Launch, gate: Gate, sdk: Sdk, channel: str
) -> None:
    with launch(client=gate.options()) as server:
        application = Application(gate, sdk)
        application.open_page(server, sdk, channel)
        await sdk.event("subscribed", channel=channel)
        assert sorted(sdk.asked) == [("getData", ""), ("getState", channel), ("getToken", channel)]

        then = sdk.now
        application.generation = 2
        server.result("disconnect", user="alice.1", disconnect={"code": 3014, "reason": "access changed"})
        assert (await sdk.event("connecting", then, who="alice"))["code"] == 3014
        await sdk.event("subscribed", then, channel=channel)

        assert sorted(sdk.asked[3:]) == [("getData", ""), ("getState", channel), ("getToken", channel)]
        assert [asked["data"]["generation"] for asked in gate.asked] == [1, 2]


async def test_who_is_refused_with_3014_asks_for_new_data(launch: Launch, gate: Gate, sdk: Sdk, channel: str) -> None:
    with launch(client=gate.options()) as server:
        application = Application(gate, sdk)
        generations = iter([7, 8, 1])
        sdk.answers["getData"] = lambda _: {"generation": next(generations)}
        application.open_page(server, sdk, channel)
        await sdk.event("connected", who="alice")
        assert [asked["data"]["generation"] for asked in gate.asked] == [7, 8, 1]


async def test_an_application_that_has_no_data_to_give_ends_the_client(launch: Launch, gate: Gate, sdk: Sdk) -> None:
    def refuse(_: dict[str, Any]) -> Any:
        raise Unauthorized

    with launch(client=gate.options()) as server:
        sdk.answers["getData"] = refuse
        sdk.client("alice", server.websocket_url, asks=["getData"])
        assert (await sdk.event("disconnected", who="alice"))["code"] == 1
    assert gate.asked == []


async def test_an_ordinary_disconnect_keeps_the_old_subscription_token_and_so_ends_in_3500(
    launch: Launch, gate: Gate, sdk: Sdk, channel: str
) -> None:
    with launch(client=gate.options()) as server:
        application = Application(gate, sdk)
        application.open_page(server, sdk, channel)
        await sdk.event("subscribed", channel=channel)
        then = sdk.now
        application.generation = 2
        server.result("disconnect", user="alice.1", disconnect={"code": 4000, "reason": "again"})
        assert (await sdk.event("disconnected", then, who="alice"))["code"] == 3500


async def test_old_tokens_let_nobody_back_in(launch: Launch, gate: Gate, sdk: Sdk, channel: str) -> None:
    """A client that keeps everything it was ever given, and comes back with recovery, misses everything."""
    with launch(client=gate.options()) as server:
        application = Application(gate, sdk)
        old = grant(channel, "alice.1")
        epoch = server.publish(channel, "before")["epoch"]
        application.generation = 2
        server.publish(channel, "secret")
        async with server.raw() as mallory:
            assert await mallory.command(connect={"data": {"generation": 1}}) == 3014
        async with server.raw() as mallory:
            await mallory.command(connect={"data": {"generation": 2}})
            assert await mallory.subscribe(channel, token=old, recover=True, offset=1, epoch=epoch) == 3500
