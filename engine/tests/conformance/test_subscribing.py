"""Who may listen to what, for how long, and what ends a subscription."""

from __future__ import annotations

import jwt
import pytest

from engine.tests.conformance.conftest import Launch
from engine.tests.conformance.sdk import Sdk
from engine.tests.conformance.servers import (
    CONNECTION_KEY,
    HURRIED,
    LIMITED,
    SUBSCRIPTION_KEY,
    Server,
    grant,
    now,
    outcome,
    token,
)


async def test_a_recoverable_channel_tells_its_position(server: Server, channel: str) -> None:
    async with server.connected() as alice:
        reply = await alice.subscribe(channel)
    assert reply.pop("epoch")
    assert 3580 <= reply.pop("ttl") <= 3600
    assert reply == {"expires": True, "recoverable": True, "positioned": True}


async def test_a_positioned_channel_tells_its_position_but_recovers_nothing(server: Server, unique: str) -> None:
    channel = f"positioned:{unique}"
    position = server.publish(channel, 1, 2)
    async with server.connected() as alice:
        reply = await alice.subscribe(channel, recover=True, offset=1, epoch=position["epoch"])
    assert (reply["offset"], reply["epoch"]) == (2, position["epoch"])
    assert reply["was_recovering"] is True
    assert not {"recovered", "recoverable", "publications"} & reply.keys()


async def test_a_channel_without_history_tells_nothing(server: Server, unique: str) -> None:
    async with server.connected() as alice:
        reply = await alice.subscribe(f"plain:{unique}")
    assert reply.keys() == {"expires", "ttl"}


TOKENS = {
    "of another person": (grant("tenant:a", "bob"), 3500),
    "of another generation of her": (grant("tenant:a", "alice.2"), 3500),
    "of another channel": (grant("tenant:b"), 3500),
    "of another client": (grant("tenant:a", client="other"), 3500),
    "of nobody": (jwt.encode({"channel": "tenant:a"}, SUBSCRIPTION_KEY), 3500),
    "signed with another key": (grant("tenant:a", key=CONNECTION_KEY), 103),
    "without signature": (jwt.encode({"sub": "alice", "channel": "tenant:a"}, None, algorithm="none"), 103),
    "garbage": ("garbage", 103),
    "none": ("", 103),
    "expired": (grant("tenant:a", exp=5), 109),
    "for later": (grant("tenant:a", nbf=now() + 600), 109),
    "for a time that is over": (grant("tenant:a", expire_at=5), 110),
    "with info that is no base64": (grant("tenant:a", b64info="!!"), 103),
}


@pytest.mark.parametrize("case", TOKENS)
async def test_a_subscription_token(server: Server, case: str) -> None:
    given, expected = TOKENS[case]
    async with server.connected("alice") as alice:
        answer = await alice.command(subscribe={"channel": "tenant:a", "token": given})
    assert outcome(answer, "subscribe") == expected


async def test_a_token_may_say_when_the_subscription_ends(server: Server, unique: str) -> None:
    channel = f"plain:{unique}"
    async with server.connected() as alice:
        assert (await alice.subscribe(channel, token=grant(channel, expire_at=0))) == {}
        reply = await alice.subscribe(channel + "2", token=grant(channel + "2", expire_at=now() + 100))
        assert 90 <= reply["ttl"] <= 100


async def test_a_token_may_make_one_subscription_recoverable(server: Server, unique: str) -> None:
    channel = f"public:{unique}"
    given = grant(channel, override={"force_recovery": {"value": True}})
    async with server.connected() as alice:
        reply = await alice.subscribe(channel, token=given)
    assert reply["recoverable"] is True
    assert reply["epoch"]


async def test_without_a_key_of_their_own_subscription_tokens_are_signed_as_connection_tokens(
    launch: Launch, channel: str
) -> None:
    with launch(client={"subscription_token": {"enabled": False}}) as server:
        async with server.connected() as alice:
            reply = await alice.subscribe(channel, token=grant(channel, key=CONNECTION_KEY))
            assert reply["recoverable"] is True


NAMES = {
    "unheard:of": 102,
    "without-namespace": 103,
    "public:news": {},
    "$public:news": 103,
    "public:" + "a" * 248: {},
    "public:" + "a" * 249: 107,
    "public:über": 107,
    "public:*&/": {},
    "digits:12": {},
    "digits:abc": 107,
    "own:page#alice": {},
    "own:page#alice,bob": {},
    "own:page#bob": 103,
    "own:page": 103,
}


@pytest.mark.parametrize("name", NAMES)
async def test_a_channel_name_without_a_token(server: Server, name: str) -> None:
    async with server.connected("alice") as alice:
        answer = await alice.command(subscribe={"channel": name})
    assert outcome(answer, "subscribe") == NAMES[name]


@pytest.mark.parametrize("name", ["unheard:of", "digits:abc"])
async def test_a_token_makes_no_impossible_channel_possible(server: Server, name: str) -> None:
    async with server.connected() as alice:
        assert await alice.subscribe(name) == NAMES[name]


async def test_nobody_subscribes_twice(server: Server, channel: str) -> None:
    async with server.connected() as alice:
        await alice.subscribe(channel)
        assert await alice.subscribe(channel) == 105


async def test_one_connection_has_only_so_many_channels(launch: Launch) -> None:
    with launch(**LIMITED) as server:
        async with server.connected() as alice:
            assert [await alice.subscribe(f"plain:{n}") for n in range(3)][2] == 106
            await alice.command(unsubscribe={"channel": "plain:0"})
            assert isinstance(await alice.subscribe("plain:3"), dict)


async def test_who_is_given_more_channels_than_a_connection_has_is_disconnected(launch: Launch, unique: str) -> None:
    with launch(**LIMITED) as server:
        async with server.raw() as alice:
            assert await alice.command(connect={"token": token(channels=["plain:1", "plain:2", "plain:3"])}) == 3505
        async with server.connected(unique, channels=["plain:1", "plain:2"]) as alice:
            server.result("subscribe", user=unique, channel="plain:3")
            assert await alice.next() == 3505


@pytest.mark.parametrize(("kind_of_subscription", "expected"), [(1, 103), (4, 108)])
async def test_only_streams_can_be_subscribed_to(
    server: Server, channel: str, kind_of_subscription: int, expected: int
) -> None:
    async with server.connected() as alice:
        assert await alice.subscribe(channel, type=kind_of_subscription) == expected


async def test_filters_are_not_offered_and_deltas_are_not_needed(server: Server, channel: str) -> None:
    async with server.connected() as alice:
        assert await alice.subscribe(channel, tf={"cmp": "eq", "key": "a", "val": "b"}) == 107
        assert "delta" not in await alice.subscribe(channel, delta="fossil")


@pytest.mark.parametrize(
    ("namespace", "asked", "granted"),
    [
        ("public", {"recoverable": True, "positioned": True}, set()),
        ("talk", {"recoverable": True}, {"recoverable", "positioned", "epoch"}),
        ("talk", {"positioned": True}, {"positioned", "epoch"}),
        ("public", {"join_leave": True}, set()),
    ],
)
async def test_what_a_client_asks_for_itself_needs_the_right_to_read_history(
    server: Server, unique: str, namespace: str, asked: dict[str, bool], granted: set[str]
) -> None:
    async with server.connected() as alice:
        answer = await alice.command(subscribe={"channel": f"{namespace}:{unique}"} | asked)
    assert answer["subscribe"].keys() == granted


async def test_after_unsubscribing_nothing_comes(server: Server, channel: str) -> None:
    async with server.connected() as alice:
        await alice.subscribe(channel)
        assert (await alice.command(unsubscribe={"channel": channel}))["unsubscribe"] == {}
        server.publish(channel, "too late")
        assert await alice.nothing_came()


async def test_unsubscribing_from_what_one_has_not_changes_nothing(server: Server, channel: str) -> None:
    async with server.connected() as alice:
        assert (await alice.command(unsubscribe={"channel": channel}))["unsubscribe"] == {}


async def test_a_subscription_that_is_not_refreshed_ends(launch: Launch, channel: str) -> None:
    with launch(**HURRIED) as server:
        async with server.connected() as alice:
            await alice.subscribe(channel, token=grant(channel, exp=now() + 2))
            push = (await alice.next())["push"]
            assert push == {"channel": channel, "unsubscribe": {"code": 2501, "reason": "subscription expired"}}


async def test_the_client_refreshes_its_subscription_tokens(launch: Launch, sdk: Sdk, channel: str) -> None:
    with launch(**HURRIED) as server:
        sdk.answers["getToken"] = lambda asked: grant(asked["channel"], exp=now() + 3)
        sdk.client("alice", server.websocket_url, token=token())
        await sdk.event("connected")
        sdk.subscribe("alice", channel, asks=["getToken"])
        await sdk.event("subscribed")
        await sdk.asks("getToken", 3)
    assert [event["event"] for event in sdk.events].count("subscribing") == 1


REFRESHES = {
    "hers": (grant("tenant:a"), {"expires": True}),
    "of another person": (grant("tenant:a", "bob"), 3500),
    "of another channel": (grant("tenant:b"), 3500),
    "garbage": ("garbage", 3500),
    "none": ("", 107),
    "expired": (grant("tenant:a", exp=5), {}),
    "for a time that is over": (grant("tenant:a", expire_at=5), 110),
    "with info that is no base64": (grant("tenant:a", b64info="!!"), 3500),
}


@pytest.mark.parametrize("case", REFRESHES)
async def test_refreshing_a_subscription(server: Server, case: str) -> None:
    given, expected = REFRESHES[case]
    async with server.connected("alice") as alice:
        await alice.subscribe("tenant:a")
        reply = outcome(await alice.command(sub_refresh={"channel": "tenant:a", "token": given}), "sub_refresh")
    if isinstance(reply, dict):
        reply.pop("ttl", None)
    assert reply == expected


async def test_there_must_be_a_subscription_to_refresh(server: Server, channel: str) -> None:
    async with server.connected() as alice:
        answer = await alice.command(sub_refresh={"channel": channel, "token": grant(channel)})
    assert outcome(answer, "sub_refresh") == 103


async def test_subscriptions_of_the_server_are_not_refreshed_by_the_client(server: Server, unique: str) -> None:
    channel = f"plain:{unique}"
    async with server.connected(channels=[channel]) as alice:
        assert await alice.command(sub_refresh={"channel": channel, "token": grant(channel)}) == 3501


async def test_a_name_is_too_long_only_to_subscribe_to(server: Server) -> None:
    channel = "talk:" + "a" * 300
    async with server.connected() as alice:
        assert await alice.subscribe(channel) == 107
        assert outcome(await alice.command(publish={"channel": channel, "data": 1}), "publish") == 103
        assert outcome(await alice.command(history={"channel": channel}), "history") == 103
    assert server.publish(channel, 1)["offset"] == 1


async def test_a_refused_subscription_is_an_error_to_the_client(server: Server, sdk: Sdk) -> None:
    sdk.client("alice", server.websocket_url, token=token())
    await sdk.event("connected")
    sdk.subscribe("alice", "unheard:of")
    assert (await sdk.event("unsubscribed", channel="unheard:of"))["code"] == 102


@pytest.mark.parametrize("both", [False, True])
async def test_a_token_may_subscribe_to_channels_on_connecting(server: Server, unique: str, both: bool) -> None:
    """By `subs`, with options, or by `channels`, which is ignored beside `subs`."""
    channel, plain = f"tenant:{unique}", f"plain:{unique}"
    claims = {"subs": {channel: {"data": {"hello": 1}}}} | ({"channels": [plain]} if both else {})
    async with server.raw() as alice:
        subs = (await alice.command(connect={"token": token(**claims)}))["connect"]["subs"]
        assert subs[channel].pop("epoch")
        assert subs == {channel: {"recoverable": True, "positioned": True, "data": {"hello": 1}}}
        server.publish(channel, "to you")
        assert (await alice.next())["push"]["pub"]["data"] == "to you"
    async with server.raw() as alice:
        reply = await alice.command(connect={"token": token(channels=[plain])})
        assert reply["connect"]["subs"] == {plain: {}}
