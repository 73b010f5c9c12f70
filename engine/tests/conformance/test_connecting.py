"""Who may connect, and what ends a connection."""

from __future__ import annotations

import asyncio
import json
import time

import jwt
import pytest
from websockets.exceptions import InvalidStatus

from engine.tests.conformance.conftest import Launch
from engine.tests.conformance.sdk import Sdk
from engine.tests.conformance.servers import (
    CONNECTION_KEY,
    HURRIED,
    LIMITED,
    ORIGIN,
    PINGING,
    SUBSCRIPTION_KEY,
    Server,
    grant,
    now,
    outcome,
    token,
)


async def test_alice_connects_with_her_token(server: Server) -> None:
    async with server.raw() as alice:
        reply = (await alice.command(connect={"token": token("alice")}))["connect"]
    assert reply["client"]
    assert reply["version"]
    assert reply["expires"] is True
    assert 3580 <= reply["ttl"] <= 3600
    assert (reply["ping"], reply["pong"]) == (25, True)


async def test_a_token_without_an_end_makes_a_connection_without_one(server: Server) -> None:
    async with server.raw() as alice:
        reply = await alice.command(connect={"token": jwt.encode({"sub": "alice"}, CONNECTION_KEY)})
    assert "expires" not in reply["connect"]
    assert "ttl" not in reply["connect"]


@pytest.mark.parametrize(
    ("connect", "expected"),
    [
        ({}, 3501),
        ({"token": "garbage"}, 3500),
        ({"token": token(key=SUBSCRIPTION_KEY)}, 3500),
        ({"token": jwt.encode({"sub": "alice"}, None, algorithm="none")}, 3500),
        ({"token": jwt.encode({"sub": 5, "exp": now() + 60}, CONNECTION_KEY)}, 3500),
        ({"token": token(exp=5)}, 109),
        ({"token": token(nbf=now() + 600)}, 109),
        ({"token": token(expire_at=5)}, 110),
        ({"token": token(channels=["unheard:of"])}, 102),
        ({"token": token(b64info="!!")}, 100),
        ({"token": token(subs={"plain:a": {"b64info": "!!"}})}, 3500),
        ({"token": token(subs={"plain:a": {"b64data": "!!"}})}, 3500),
    ],
    ids=[
        "none",
        "garbage",
        "other key",
        "no signature",
        "no text as sub",
        "expired",
        "not yet",
        "over",
        "channel",
        "info",
        "sub's info",
        "sub's data",
    ],
)
async def test_a_connection_is_refused_with_its_code(server: Server, connect: dict[str, object], expected: int) -> None:
    async with server.raw() as stranger:
        assert outcome(await stranger.command(connect=connect), "connect") == expected


@pytest.mark.parametrize("claims", [{}, {"aud": "other", "iss": "neo"}, {"aud": "app", "iss": "other"}])
async def test_a_token_for_another_audience_or_issuer_is_invalid(launch: Launch, claims: dict[str, str]) -> None:
    key = {"hmac_secret_key": CONNECTION_KEY, "audience": "app", "issuer": "neo"}
    with launch(client={"token": key}) as server:
        async with server.raw() as stranger:
            assert await stranger.command(connect={"token": token(**claims)}) == 3500
        async with server.raw() as alice:
            reply = await alice.command(connect={"token": token(aud=["app", "x"], iss="neo")})
            assert "connect" in reply


async def test_the_client_asks_for_another_token_when_its_own_has_expired(server: Server, sdk: Sdk) -> None:
    tokens = iter([token(exp=5), token()])
    sdk.answers["getToken"] = lambda _: next(tokens)
    sdk.client("alice", server.websocket_url, asks=["getToken"])
    await sdk.event("connected", who="alice")
    assert sdk.asked == [("getToken", ""), ("getToken", "")]


async def test_the_client_gives_up_with_an_invalid_token(server: Server, sdk: Sdk) -> None:
    sdk.client("mallory", server.websocket_url, token=token(key=SUBSCRIPTION_KEY))
    assert (await sdk.event("disconnected", who="mallory"))["code"] == 3500


async def test_the_client_refreshes_its_token_before_the_connection_ends(launch: Launch, sdk: Sdk) -> None:
    with launch(**HURRIED) as server:
        sdk.answers["getToken"] = lambda _: token(exp=now() + 3)
        sdk.client("alice", server.websocket_url, asks=["getToken"])
        await sdk.event("connected", who="alice")
        await sdk.asks("getToken", 3)
    assert not [event for event in sdk.events if event.get("event") == "disconnected"]


async def test_a_connection_whose_token_is_not_refreshed_ends(launch: Launch) -> None:
    with launch(**HURRIED) as server:
        async with server.connected(exp=now() + 2) as alice:
            assert await alice.next() == 3005


@pytest.mark.parametrize(
    ("refresh", "expected"),
    [
        (token("alice"), {"expires": True}),
        (jwt.encode({"sub": "alice"}, CONNECTION_KEY), {}),
        (token("bob"), 3500),
        ("garbage", 3500),
        (token(exp=5), 3005),
        (token(expire_at=5), 110),
        (token(b64info="!!"), 100),
        (token(channels=["unheard:of"]), 102),
        (token(channels=["plain:a"]), 3010),
        ("", 3501),
    ],
    ids=[
        "hers",
        "without end",
        "of another person",
        "garbage",
        "expired",
        "over",
        "bad info",
        "unknown channel",
        "new channel",
        "none",
    ],
)
async def test_refreshing_with_a_token(server: Server, refresh: str, expected: object) -> None:
    async with server.connected("alice") as alice:
        reply = outcome(await alice.command(refresh={"token": refresh}), "refresh")
    if isinstance(reply, dict):
        reply.pop("ttl", None)
    assert reply == expected


async def test_a_token_without_an_end_leaves_the_end_that_was(launch: Launch) -> None:
    with launch(**HURRIED) as server:
        async with server.connected(exp=now() + 2) as alice:
            answer = await alice.command(refresh={"token": jwt.encode({"sub": "alice"}, CONNECTION_KEY)})
            assert answer["refresh"] == {}
            assert await alice.next() == 3005


async def test_another_token_tells_others_something_else(server: Server, unique: str) -> None:
    talk = f"talk:{unique}"
    async with server.connected("alice", info={"name": "Al"}) as alice, server.connected("bob") as bob:
        for person in (alice, bob):
            await person.command(subscribe={"channel": talk})
        for claims, told in (({"info": {"name": "Alice"}}, {"name": "Alice"}), ({}, {"name": "Alice"})):
            assert "refresh" in await alice.command(refresh={"token": token(**claims)})
            await alice.send(json.dumps({"id": 90, "publish": {"channel": talk, "data": 1}}))
            assert (await bob.next())["push"]["pub"]["info"]["conn_info"] == told
            await alice.next(), await alice.next()  # the answer and the publication, over a Redis in either order
        server.result("refresh", user="alice", client=alice.id, expire_at=now() + 100, info=1)
        assert "refresh" in (await alice.next())["push"]
        await alice.send(json.dumps({"id": 91, "publish": {"channel": talk, "data": 1}}))
        assert (await bob.next())["push"]["pub"]["info"]["conn_info"] == 1


@pytest.mark.parametrize(
    ("claims", "expected"), [({"channels": ["plain:a"]}, dict), ({"subs": {"plain:a": {}}}, dict), ({}, 3010)]
)
async def test_other_channels_in_another_token_make_the_client_connect_again(
    server: Server, claims: dict[str, object], expected: object
) -> None:
    async with server.connected("alice", channels=["plain:a"]) as alice:
        answer = outcome(await alice.command(refresh={"token": token(**claims)}), "refresh")
    assert (answer if isinstance(answer, int) else type(answer)) == expected


async def test_a_connection_that_says_nothing_is_stale(launch: Launch) -> None:
    with launch(client={"stale_close_delay": "300ms"}) as server:
        async with server.raw() as nobody:
            assert await nobody.next() == 3502


async def test_one_person_has_only_so_many_connections(launch: Launch) -> None:
    """On one node: each counts those that it has itself."""
    with launch(**LIMITED) as server:
        async with server.connected("ann"), server.connected("ann"), server.connected("bob"), server.raw() as third:
            assert await third.command(connect={"token": token("ann")}) == 3504
            if len(server.nodes) > 1:
                async with server.connected("ann", node=0):
                    pass


async def test_connecting_comes_first_and_once(server: Server) -> None:
    async with server.raw() as hasty:
        assert await hasty.command(subscribe={"channel": "public:news"}) == 3501
    async with server.connected() as alice:
        assert await alice.command(connect={"token": token()}) == 3501


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [(None, True), (ORIGIN, True), (ORIGIN.upper(), True), ("https://evil.example", False), ("null", False)],
)
async def test_only_pages_of_allowed_origins_connect(server: Server, origin: str | None, allowed: bool) -> None:
    if allowed:
        async with server.raw(origin=origin) as alice:
            assert "connect" in await alice.command(connect={"token": token()})
        return
    with pytest.raises(InvalidStatus) as refused:
        async with server.raw(origin=origin):
            pass
    assert refused.value.response.status_code == 403


async def test_an_origin_may_be_a_pattern_and_without_any_no_page_connects(launch: Launch) -> None:
    with launch(client={"allowed_origins": ["https://*.example"]}) as server:
        async with server.raw(origin="https://a.b.example") as alice:
            assert "connect" in await alice.command(connect={"token": token()})
    with launch(client={"allowed_origins": []}) as server, pytest.raises(InvalidStatus):
        async with server.raw(origin=server.connected_to.url):
            pass


async def test_where_nothing_is_checked_everything_is_allowed(launch: Launch, channel: str) -> None:
    with launch(client={"insecure": True, "token": {"hmac_secret_key": ""}}) as server:
        async with server.raw() as anyone:
            assert "connect" in await anyone.command(connect={})
            assert "subscribe" in await anyone.command(subscribe={"channel": channel})
            await anyone.send(json.dumps({"id": 9, "publish": {"channel": channel, "data": 1}}))
            replies = [await anyone.next(), await anyone.next()]
            assert {"id": 9, "publish": {}} in replies


async def test_nobody_in_particular_may_connect_where_that_is_allowed(launch: Launch, channel: str) -> None:
    with launch(client={"allow_anonymous_connect_without_token": True}) as server:
        async with server.raw() as nobody:
            assert "connect" in await nobody.command(connect={})
            assert outcome(await nobody.command(subscribe={"channel": "public:news"}), "subscribe") == 103
            reply = await nobody.command(subscribe={"channel": channel, "token": grant(channel, "")})
            assert "subscribe" in reply


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "\n",
        "{bad",
        "[]",
        '"text"',
        "{}",
        '{"id": 3}',
        '{"id": 3, "unheard_of": {}}',
        '{"id": 3, "ping": {}}',
        '{"id": 3, "subscribe": null}',
        '{"subscribe": {"channel": "public:a"}}',
        '{"id": "3", "subscribe": {"channel": "public:a"}}',
        '{"id": -3, "subscribe": {"channel": "public:a"}}',
        '{"id": 3.5, "subscribe": {"channel": "public:a"}}',
        '{"id": 4294967296, "subscribe": {"channel": "public:a"}}',
        '{"id": 3, "subscribe": {"channel": 5}}',
        '{"id": 3, "subscribe": {"channel": ""}}',
        '{"id": 3, "unsubscribe": {"channel": ""}}',
        '{"id": 3, "publish": {"channel": "", "data": 1}}',
        '{"id": 3, "history": {"channel": ""}}',
        '{"id": 3, "presence": {"channel": ""}}',
        '{"id": 3, "sub_refresh": {"channel": "", "token": "x"}}',
    ],
)
async def test_what_is_not_of_the_protocol_ends_the_connection(server: Server, frame: str) -> None:
    async with server.connected() as alice:
        await alice.send(frame)
        assert await alice.next() == 3501


async def test_fields_that_nobody_knows_are_ignored(server: Server, unique: str) -> None:
    async with server.connected() as alice:
        reply = await alice.command(novelty=1, subscribe={"channel": f"public:{unique}", "novelty": [1]})
        assert reply["subscribe"] == {}


async def test_several_commands_in_one_frame_are_answered_in_order(server: Server, unique: str) -> None:
    frame = "\n".join(json.dumps({"id": n, "subscribe": {"channel": f"public:{unique}{n}"}}) for n in (2, 3, 4))
    async with server.connected() as alice:
        await alice.send(frame + "\n")
        assert [(await alice.next())["id"] for _ in range(3)] == [2, 3, 4]


async def test_what_stands_before_a_malformed_command_is_still_answered(server: Server, unique: str) -> None:
    async with server.connected() as alice:
        await alice.send(f'{{"id": 2, "subscribe": {{"channel": "public:{unique}"}}}}\n{{bad')
        assert (await alice.next())["id"] == 2
        assert await alice.next() == 3501


async def test_connecting_and_subscribing_may_come_in_one_frame(server: Server, channel: str) -> None:
    commands = [{"id": 1, "connect": {"token": token()}}, {"id": 2, "subscribe": {"channel": "public:a"}}]
    async with server.raw() as alice:
        await alice.send("\n".join(map(json.dumps, commands)))
        assert "connect" in await alice.next()
        assert "subscribe" in await alice.next()


async def test_binary_frames_are_read_too(server: Server) -> None:
    async with server.raw() as alice:
        await alice.send(json.dumps({"id": 1, "connect": {"token": token()}}).encode())
        assert "connect" in await alice.next()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"id": 3, "rpc": {"method": "x", "data": {}}}, 108),
        ({"send": {"data": {}}}, 3508),
        ({"id": 3, "presence": {"channel": "public:a"}}, 108),
        ({"id": 3, "presence_stats": {"channel": "public:a"}}, 108),
        ({"id": 3, "presence": {"channel": "unheard:of"}}, 102),
        ({"id": 3, "presence_stats": {"channel": "unheard:of"}}, 102),
    ],
)
async def test_what_is_not_offered_is_answered_with_its_code(
    server: Server, command: dict[str, object], expected: int
) -> None:
    async with server.connected() as alice:
        await alice.send(json.dumps(command))
        assert outcome(await alice.next(), "") == expected


async def test_a_frame_that_is_too_long_ends_the_connection(launch: Launch) -> None:
    with launch(**LIMITED) as server:
        async with server.connected() as alice:
            assert outcome(await alice.command(rpc={"data": "x" * 900}), "") == 108
            assert await alice.command(rpc={"data": "x" * 1000}) == 1009


async def test_who_answers_pings_stays(launch: Launch) -> None:
    with launch(**PINGING) as server:
        async with server.connected() as alice:
            for _ in range(3):
                assert await alice.next() == {}
                await alice.send("{}")
            assert await alice.nothing_came()


async def test_who_answers_no_ping_goes_whatever_else_it_sends(launch: Launch) -> None:
    with launch(**PINGING) as server:
        async with server.connected() as silent:
            asked = time.monotonic()
            assert await silent.next() == {}
            assert outcome(await silent.command(rpc={"data": 1}), "") == 108
            assert await silent.next() == 3012
            assert time.monotonic() - asked < 3


async def test_an_answer_to_no_ping_is_a_mistake(launch: Launch) -> None:
    with launch(**PINGING) as server:
        async with server.connected() as eager:
            assert await eager.next() == {}
            await eager.send("{}")
            await eager.send("{}")
            assert await eager.next() == 3501


async def test_the_client_stays_connected_over_pings(launch: Launch, sdk: Sdk, channel: str) -> None:
    with launch(**PINGING) as server:
        sdk.client("alice", server.websocket_url, token=token())
        await sdk.event("connected")
        sdk.subscribe("alice", channel, token=grant(channel))
        await sdk.event("subscribed")
        await asyncio.sleep(2.5)
        server.publish(channel, "still here")
        assert await sdk.received(channel, 1) == ["still here"]
    assert [event["event"] for event in sdk.events].count("connecting") == 1


async def test_an_engine_that_is_told_to_stop_says_so_and_ends_well(own: Server) -> None:
    async with own.connected() as alice:
        process = own.connected_to.process
        process.terminate()
        assert await alice.next() == 3001
        assert alice.reason == "shutdown"
    assert await asyncio.to_thread(process.wait, 30) == 0
