"""The server API over people's connections: subscribe, unsubscribe, disconnect, refresh, channels, info."""

from __future__ import annotations

import pytest
from cent import (
    ChannelsRequest,
    Disconnect,
    DisconnectRequest,
    InfoRequest,
    RefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)

from engine.tests.conformance.conftest import Launch
from engine.tests.conformance.sdk import Sdk
from engine.tests.conformance.servers import HURRIED, Server, base64_of, grant, now, token


async def test_disconnecting_a_person_ends_all_their_connections_and_no_others(server: Server, unique: str) -> None:
    async with (
        server.connected(f"alice {unique}") as first,
        server.connected(f"alice {unique}") as second,
        server.connected(f"bob {unique}") as bob,
    ):
        cent = server.cent()
        await cent.disconnect(DisconnectRequest(user=f"alice {unique}"))
        assert [await first.next(), await second.next()] == [3503, 3503]
        assert first.reason == "force disconnect"
        assert await bob.nothing_came()
        await cent._session.close()


async def test_disconnecting_with_a_code_and_reason(server: Server, unique: str) -> None:
    async with server.connected(unique) as alice:
        cent = server.cent()
        await cent.disconnect(DisconnectRequest(user=unique, disconnect=Disconnect(code=3014, reason="changed")))
        assert (await alice.next(), alice.reason) == (3014, "changed")
        await cent._session.close()


@pytest.mark.parametrize(
    ("code", "reason", "seen"),
    [
        (1000, "r", 1000),
        (4001, "x" * 123, 4001),
        (4001, "x" * 124, 1006),
        (1, "r", 1006),
        (2999, "r", 1006),
        (5000, "r", 1006),
    ],
)
async def test_a_code_or_reason_that_websocket_has_not_just_ends_the_connection(
    server: Server, unique: str, code: int, reason: str, seen: int
) -> None:
    async with server.connected(unique) as alice:
        server.result("disconnect", user=unique, disconnect={"code": code, "reason": reason})
        assert await alice.next() == seen


async def test_disconnecting_one_client_or_all_but_some(server: Server, unique: str) -> None:
    async with server.connected(unique) as first, server.connected(unique) as second, server.connected(unique) as third:
        server.result("disconnect", user=unique, client=first.id)
        assert await first.next() == 3503
        server.result("disconnect", user=unique, whitelist=[second.id])
        assert await third.next() == 3503
        assert await second.nothing_came()
        server.result("disconnect", user="somebody else", client=second.id)
        assert await second.nothing_came()


async def test_what_was_published_before_a_disconnect_still_arrives(server: Server, unique: str) -> None:
    channel = f"tenant:{unique}"
    async with server.connected(unique) as alice:
        await alice.subscribe(channel, unique)
        server.publish(channel, *range(20))
        server.result("disconnect", user=unique, disconnect={"code": 3014, "reason": "changed"})
        received = []
        while isinstance(message := await alice.next(), dict):
            received.append(message["push"]["pub"]["data"])
        assert message == 3014
        assert received == list(range(20))


async def test_what_is_published_after_a_disconnect_does_not(server: Server, unique: str) -> None:
    channel = f"tenant:{unique}"
    async with server.connected(unique) as alice:
        await alice.subscribe(channel, unique)
        server.result("disconnect", user=unique, disconnect={"code": 3014, "reason": "changed"})
        server.publish(channel, "secret")
        assert await alice.next() == 3014


async def test_subscribing_a_person_from_the_server(server: Server, unique: str) -> None:
    channel = f"tenant:{unique}"
    epoch = server.publish(channel, "before")["epoch"]
    async with server.connected(unique) as first, server.connected(unique) as second:
        cent = server.cent()
        await cent.subscribe(SubscribeRequest(user=unique, channel=channel, data={"d": 1}))
        for alice in (first, second):
            push = (await alice.next())["push"]
            assert push["channel"] == channel
            assert push["subscribe"] == {
                "recoverable": True,
                "positioned": True,
                "epoch": epoch,
                "offset": 1,
                "data": {"d": 1},
            }
        server.publish(channel, "live")
        assert (await second.next())["push"]["pub"]["data"] == "live"
        await cent._session.close()


async def test_the_server_may_subscribe_again_and_to_single_clients(server: Server, unique: str) -> None:
    channel = f"tenant:{unique}"
    async with server.connected(unique) as first, server.connected(unique) as second:
        for _ in range(2):
            server.result("subscribe", user=unique, channel=channel, client=first.id)
            assert "subscribe" in (await first.next())["push"]
        server.publish(channel, "once")
        assert (await first.next())["push"]["pub"]["data"] == "once"
        assert await first.nothing_came()
        assert await second.nothing_came()


async def test_the_server_takes_over_what_the_client_subscribed_to_itself(server: Server, unique: str) -> None:
    channel = f"tenant:{unique}"
    async with server.connected(unique) as alice:
        await alice.subscribe(channel, unique)
        server.result("subscribe", user=unique, channel=channel)
        assert "subscribe" in (await alice.next())["push"]
        server.publish(channel, "once")
        assert (await alice.next())["push"]["pub"]["data"] == "once"
        assert await alice.nothing_came()
        assert await alice.command(sub_refresh={"channel": channel, "token": grant(channel, unique)}) == 3501


async def test_subscribing_from_the_server_tells_a_position_and_recovers_nothing(server: Server, unique: str) -> None:
    channel = f"tenant:{unique}"
    epoch = server.publish(channel, 1, 2, 3)["epoch"]
    position = {"recoverable": True, "positioned": True, "epoch": epoch}
    async with server.connected(unique) as alice:
        for since, offset in (({"offset": 1, "epoch": epoch}, 1), ({"offset": 1, "epoch": "other"}, 3)):
            server.result("subscribe", user=unique, channel=channel, recover_since=since)
            assert (await alice.next())["push"]["subscribe"] == position | {"offset": offset}
            assert await alice.nothing_came()


async def test_subscribing_from_the_server_with_base64(server: Server, unique: str) -> None:
    channel = f"collab:{unique}"
    async with server.connected(unique) as alice:
        told = {"data": 1, "b64data": base64_of({"d": 2}), "info": 3, "b64info": base64_of([4])}
        server.result("subscribe", user=unique, channel=channel, **told)
        assert (await alice.next())["push"]["subscribe"]["data"] == {"d": 2}
        assert (await alice.next())["push"]["join"]["info"]["chan_info"] == [4]


async def test_a_subscription_from_the_server_that_expires_ends_the_connection(launch: Launch, unique: str) -> None:
    with launch(**HURRIED) as server:
        async with server.connected(unique) as alice:
            server.result("subscribe", user=unique, channel=f"plain:{unique}", expire_at=now() + 2)
            assert "push" in await alice.next()
            assert await alice.next() == 3006


async def test_unsubscribing_a_person_from_the_server(server: Server, unique: str) -> None:
    channel = f"tenant:{unique}"
    async with server.connected(unique) as alice:
        await alice.subscribe(channel, unique)
        cent = server.cent()
        await cent.unsubscribe(UnsubscribeRequest(user=unique, channel=channel))
        push = (await alice.next())["push"]
        assert push == {"channel": channel, "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}
        server.publish(channel, "too late")
        assert await alice.nothing_came()
        await cent._session.close()


async def test_unsubscribing_from_what_nobody_has_is_told_all_the_same(server: Server, unique: str) -> None:
    async with server.connected(unique) as alice:
        server.result("unsubscribe", user=unique, channel="plain:a")
        told = {"code": 2000, "reason": "server unsubscribe"}
        assert (await alice.next())["push"] == {"channel": "plain:a", "unsubscribe": told}
        server.result("unsubscribe", user=unique)
        assert (await alice.next())["push"] == {"unsubscribe": told}


async def test_the_client_that_is_unsubscribed_stays_so(server: Server, sdk: Sdk, unique: str) -> None:
    channel = f"tenant:{unique}"
    sdk.client("alice", server.websocket_url, token=token(unique))
    sdk.subscribe("alice", channel, token=grant(channel, unique))
    await sdk.event("subscribed")
    server.result("unsubscribe", user=unique, channel=channel)
    assert (await sdk.event("unsubscribed"))["code"] == 2000


async def test_refreshing_a_connection_from_the_server(server: Server, unique: str) -> None:
    async with server.connected(unique) as alice:
        cent = server.cent()
        await cent.refresh(RefreshRequest(user=unique, expire_at=now() + 100))
        refresh = (await alice.next())["push"]["refresh"]
        assert refresh["expires"] is True
        assert 90 <= refresh["ttl"] <= 100
        await cent.refresh(RefreshRequest(user=unique))
        assert (await alice.next())["push"]["refresh"] == {}
        await cent.refresh(RefreshRequest(user=unique, expired=True))
        assert await alice.next() == 3005
        await cent._session.close()
    async with server.connected(unique) as alice:
        server.result("refresh", user=unique, expire_at=now() - 5)
        assert await alice.next() == 3005


async def test_channels_are_those_that_somebody_listens_to(server: Server, unique: str) -> None:
    mine = {f"tenant:{unique}:a": {"num_clients": 2}, f"tenant:{unique}:b": {"num_clients": 1}}
    async with server.connected() as first, server.connected() as second:
        await first.subscribe(f"tenant:{unique}:a")
        await second.subscribe(f"tenant:{unique}:a")
        await second.subscribe(f"tenant:{unique}:b")
        cent = server.cent()
        everything = await cent.channels(ChannelsRequest())
        assert mine.keys() <= everything.channels.keys()
        await cent._session.close()
        for pattern, found in {
            f"tenant:{unique}*": mine.keys(),
            f"tenant:{unique}:?": mine.keys(),
            f"tenant:{unique}:[b-z]": {f"tenant:{unique}:b"},
            f"tenant:{unique}:[!b-z]": {f"tenant:{unique}:a"},
            f"{{tenant,user}}:{unique}:a": {f"tenant:{unique}:a"},
            f"tenant:{unique}": set(),
        }.items():
            channels = server.result("channels", pattern=pattern)["channels"]
            assert channels.keys() == found, pattern
            assert all(mine[name] == info for name, info in channels.items())


async def test_info_is_of_each_node(server: Server) -> None:
    cent = server.cent()
    nodes = (await cent.info(InfoRequest())).nodes
    assert len({node.uid for node in nodes}) == len(server.nodes)
    for node in nodes:
        assert node.uid
        assert node.name
        assert node.version
    await cent._session.close()
