"""Who is in a channel, joins and leaves it. Alice is on the first node, Bob on the last, where there are two."""

from __future__ import annotations

from typing import Any

import pytest
from cent import PresenceRequest, PresenceStatsRequest

from engine.tests.conformance.conftest import Launch
from engine.tests.conformance.sdk import Sdk
from engine.tests.conformance.servers import HURRIED, Raw, Server, base64_of, grant, now, outcome, token

FIRST, LAST = 0, -1


@pytest.fixture
def channel(unique: str) -> str:
    return f"collab:{unique}"


def told(message: Any) -> tuple[str, str]:
    """("join", "alice") of a push."""
    [(kind, body)] = [(kind, body) for kind, body in message["push"].items() if kind != "channel"]
    return kind, body["info"]["user"]


async def enter(channel: str, person: Raw, name: str, **claims: Any) -> None:
    """Subscribe, and read the join that tells of oneself."""
    assert isinstance(await person.subscribe(channel, token=grant(channel, name, **claims)), dict)
    assert told(await person.next()) == ("join", name)


async def test_who_joins_and_leaves_is_told_to_everybody_there(server: Server, channel: str) -> None:
    async with (
        server.connected("alice", FIRST, info={"name": "Alice"}) as alice,
        server.connected("bob", LAST) as bob,
    ):
        await enter(channel, bob, "bob")
        await enter(channel, alice, "alice", info={"colour": "red"})
        hers = {"user": "alice", "client": alice.id, "conn_info": {"name": "Alice"}, "chan_info": {"colour": "red"}}
        assert (await bob.next())["push"] == {"channel": channel, "join": {"info": hers}}
        await alice.command(unsubscribe={"channel": channel})
        assert (await bob.next())["push"] == {"channel": channel, "leave": {"info": hers}}
        await enter(channel, alice, "alice")
        assert told(await bob.next()) == ("join", "alice")
    async with server.connected("carol", LAST) as carol:
        await enter(channel, carol, "carol")
        assert await carol.nothing_came()


@pytest.mark.parametrize("ending", ["closes", "is disconnected", "is unsubscribed"])
async def test_however_one_ends_the_others_are_told(server: Server, channel: str, unique: str, ending: str) -> None:
    async with server.connected("bob", LAST) as bob, server.connected(unique, FIRST) as alice:
        await enter(channel, bob, "bob")
        await enter(channel, alice, unique)
        assert told(await bob.next()) == ("join", unique)
        if ending == "closes":
            await alice.close()
        elif ending == "is disconnected":
            server.result("disconnect", user=unique)
            assert await alice.next() == 3503
        else:
            server.result("unsubscribe", user=unique, channel=channel)
            assert (await alice.next())["push"]["unsubscribe"]["code"] == 2000
        assert told(await bob.next()) == ("leave", unique)
        assert server.result("presence_stats", channel=channel) == {"num_clients": 1, "num_users": 1}


async def test_a_subscription_that_expires_leaves(launch: Launch, channel: str) -> None:
    with launch(**HURRIED) as server:
        async with server.connected("bob", LAST) as bob, server.connected("alice", FIRST) as alice:
            await enter(channel, bob, "bob")
            await enter(channel, alice, "alice", exp=now() + 2)
            assert told(await bob.next()) == ("join", "alice")
            assert (await alice.next())["push"]["unsubscribe"]["code"] == 2501
            assert told(await bob.next()) == ("leave", "alice")


async def test_presence_is_the_same_wherever_it_is_asked(server: Server, channel: str) -> None:
    async with (
        server.connected("alice", FIRST) as first,
        server.connected("alice", LAST) as second,
        server.connected("bob", LAST, info={"name": "Bob"}) as bob,
    ):
        await enter(channel, first, "alice")
        await enter(channel, second, "alice")
        await enter(channel, bob, "bob", info=[1])
        expected = {
            first.id: {"user": "alice", "client": first.id},
            second.id: {"user": "alice", "client": second.id},
            bob.id: {"user": "bob", "client": bob.id, "conn_info": {"name": "Bob"}, "chan_info": [1]},
        }
        for node in range(len(server.nodes)):
            assert server.result("presence", node, channel=channel) == {"presence": expected}
            stats = server.result("presence_stats", node, channel=channel)
            assert stats == {"num_clients": 3, "num_users": 2}
        assert outcome(await bob.command(presence={"channel": channel}), "presence") == {"presence": expected}
        asked = await bob.command(presence_stats={"channel": channel})
        assert outcome(asked, "presence_stats") == {"num_clients": 3, "num_users": 2}


async def test_cent_reads_presence(server: Server, channel: str) -> None:
    async with server.connected("alice", LAST) as alice:
        await enter(channel, alice, "alice")
        cent = server.cent()
        presence = (await cent.presence(PresenceRequest(channel=channel))).presence
        assert presence[alice.id].user == "alice"
        stats = await cent.presence_stats(PresenceStatsRequest(channel=channel))
        assert (stats.num_clients, stats.num_users) == (1, 1)
        await cent._session.close()


async def test_an_empty_channel_has_nobody(server: Server, channel: str) -> None:
    assert server.result("presence", channel=channel) == {"presence": {}}
    assert server.result("presence_stats", channel=channel) == {"num_clients": 0, "num_users": 0}


async def test_only_who_may_reads_presence(server: Server, unique: str) -> None:
    async with server.connected("alice") as alice:
        for name, before, after in (("collab", 103, dict), ("discreet", 103, int), ("lobby", dict, dict)):
            channel = f"{name}:{unique}"
            for method in ("presence", "presence_stats"):
                reply = outcome(await alice.command(**{method: {"channel": channel}}), method)
                assert reply == before if isinstance(before, int) else isinstance(reply, before)
            await alice.command(subscribe={"channel": channel, "token": grant(channel)})
            if name == "collab":
                assert told(await alice.next()) == ("join", "alice")
            for method in ("presence", "presence_stats"):
                assert isinstance(outcome(await alice.command(**{method: {"channel": channel}}), method), after)


@pytest.mark.parametrize(("namespace", "hears"), [("discreet", False), ("lobby", True), ("plain", False)])
async def test_who_may_read_presence_may_ask_to_be_told_of_changes(
    server: Server, unique: str, namespace: str, hears: bool
) -> None:
    channel = f"{namespace}:{unique}"
    async with server.connected("alice", FIRST) as alice, server.connected("bob", LAST) as bob:
        await bob.subscribe(channel, token=grant(channel, "bob"), join_leave=True)
        if hears:
            assert told(await bob.next()) == ("join", "bob")
        await alice.subscribe(channel)
        if hears:
            assert told(await bob.next()) == ("join", "alice")
        assert await alice.nothing_came()  # she did not ask
        assert await bob.nothing_came()


ON = {"value": True}
OFF = {"value": False}


async def test_a_token_may_hide_one_person_or_make_one_subscription_tell(server: Server, unique: str) -> None:
    hidden = {"presence": OFF, "join_leave": OFF}
    told_anyway = {"join_leave": ON, "force_push_join_leave": ON}
    channel, plain = f"collab:{unique}", f"plain:{unique}"
    async with server.connected("alice", FIRST) as alice, server.connected("bob", LAST) as bob:
        await enter(channel, bob, "bob")
        await alice.subscribe(channel, token=grant(channel, override=hidden))
        assert await bob.nothing_came()
        assert server.result("presence", channel=channel)["presence"].keys() == {bob.id}
        await alice.subscribe(plain, token=grant(plain, override=told_anyway))
        assert told(await alice.next()) == ("join", "alice")
        assert server.error("presence", channel=plain) == 108


async def test_subscriptions_of_the_server_are_present_too(server: Server, unique: str) -> None:
    channel = f"collab:{unique}"
    async with server.connected("bob", LAST) as bob:
        await enter(channel, bob, "bob")
        async with server.connected(unique, FIRST) as alice:
            server.result("subscribe", user=unique, channel=channel, info={"by": "the server"})
            assert "subscribe" in (await alice.next())["push"]
            assert told(await alice.next()) == ("join", unique)
            assert (await bob.next())["push"]["join"]["info"]["chan_info"] == {"by": "the server"}
            assert server.result("presence", channel=channel)["presence"].keys() == {alice.id, bob.id}
        assert told(await bob.next()) == ("leave", unique)
        async with server.connected("carol", FIRST, subs={channel: {"info": 7}}) as carol:
            assert told(await carol.next()) == ("join", "carol")
            assert (await bob.next())["push"]["join"]["info"]["chan_info"] == 7


async def test_what_is_told_of_people_may_come_as_base64(server: Server, channel: str) -> None:
    async with (
        server.connected("bob", LAST, b64info=base64_of({"name": "Bob"})) as bob,
        server.connected("carol", FIRST, subs={channel: {"b64info": base64_of(7)}}) as carol,
    ):
        assert told(await carol.next()) == ("join", "carol")
        await enter(channel, bob, "bob", b64info=base64_of([1]))
        assert server.result("presence", channel=channel)["presence"] == {
            bob.id: {"user": "bob", "client": bob.id, "conn_info": {"name": "Bob"}, "chan_info": [1]},
            carol.id: {"user": "carol", "client": carol.id, "chan_info": 7},
        }


async def test_joining_and_leaving_change_no_position(server: Server, unique: str) -> None:
    override = {"presence": ON, "join_leave": ON, "force_push_join_leave": ON}
    channel = f"tenant:{unique}"
    position = server.publish(channel, 1)
    async with server.connected("alice", FIRST) as alice, server.connected("bob", LAST) as bob:
        for person, name in ((alice, "alice"), (bob, "bob")):
            await enter(channel, person, name, override=override)
    assert server.result("history", channel=channel, limit=-1)["publications"] == [{"data": 1, "offset": 1}]
    assert server.result("history", channel=channel)["offset"] == position["offset"]


async def test_the_client_reports_presence_joins_and_leaves(server: Server, sdk: Sdk, channel: str) -> None:
    sdk.client("alice", server.websocket_url, token=token("alice"))
    sdk.subscribe("alice", channel, token=grant(channel), joinLeave=True)
    await sdk.event("join", who="alice", channel=channel)
    async with server.connected("bob", FIRST) as bob:
        await enter(channel, bob, "bob")
        joined = await sdk.happens(lambda event: event.get("event") == "join" and event["info"]["user"] == "bob")
        assert joined["info"]["client"] == bob.id
        clients = (await sdk.call("alice", "presence", channel))["result"]["clients"]
        assert {client["user"] for client in clients.values()} == {"alice", "bob"}
        stats = (await sdk.call("alice", "presenceStats", channel))["result"]
        assert stats == {"numClients": 2, "numUsers": 2}
    left = await sdk.event("leave", who="alice", channel=channel)
    assert left["info"]["user"] == "bob"
