"""What only two Centrifugo nodes with one Redis can show. Every other test of this suite, too, acts on one and looks at
the other where there are two.
"""

from __future__ import annotations

import asyncio
import signal
import time

from engine.tests.conformance.sdk import Sdk
from engine.tests.conformance.servers import DEADLINE_SECONDS, Server, grant, token


async def test_subscribers_of_both_nodes_receive_the_same_in_the_same_order(pair: Server, channel: str) -> None:
    async with pair.connected(node=0) as first, pair.connected(node=1) as second:
        await first.subscribe(channel)
        await second.subscribe(channel)
        for n in range(20):
            pair.result("publish", n % 2, channel=channel, data=n)
        for alice in (first, second):
            publications = [(await alice.next())["push"]["pub"] for _ in range(20)]
            assert [publication["data"] for publication in publications] == list(range(20))
            assert [publication["offset"] for publication in publications] == list(range(1, 21))


async def test_what_one_node_had_the_other_drops(pair: Server, channel: str) -> None:
    versioned = {"channel": channel, "data": 1, "version": 5, "version_epoch": "log"}
    first = pair.result("publish", 0, **versioned)
    assert pair.result("publish", 1, **versioned) == first
    once = pair.result("publish", 0, channel=channel, data="once", idempotency_key="k")
    assert pair.result("publish", 1, channel=channel, data="twice", idempotency_key="k") == once
    assert len(pair.result("history", 1, channel=channel, limit=-1)["publications"]) == 2


async def test_who_changes_nodes_misses_nothing(pair: Server, channel: str) -> None:
    async with pair.connected(node=0) as alice:
        epoch = (await alice.subscribe(channel))["epoch"]
        pair.result("publish", 1, channel=channel, data="seen")
        assert (await alice.next())["push"]["pub"]["offset"] == 1
    pair.result("publish", 0, channel=channel, data="missed")
    async with pair.connected(node=1) as alice:
        reply = await alice.subscribe(channel, recover=True, offset=1, epoch=epoch)
        assert [publication["data"] for publication in reply["publications"]] == ["missed"]


async def test_who_was_on_a_node_that_was_killed_comes_back_to_all_that_the_other_took(
    pair: Server, sdk: Sdk, channel: str
) -> None:
    sdk.answers["getState"] = lambda _: pair.result("history", channel=channel)
    sdk.client("alice", pair.websocket_url, token=token())
    sdk.subscribe("alice", channel, token=grant(channel), asks=["getState"])
    await sdk.event("subscribed", channel=channel)
    then = sdk.now
    await asyncio.to_thread(pair.connected_to.stop, signal.SIGKILL)
    await sdk.event("connecting", then, who="alice")
    pair.publish(channel, "meanwhile")
    await asyncio.to_thread(pair.start)
    subscribed = await sdk.event("subscribed", then, channel=channel)
    assert subscribed["recovered"] is True
    assert sdk.asked.count(("getState", channel)) == 1
    pair.publish(channel, "after")
    assert await sdk.received(channel, 2) == ["meanwhile", "after"]


async def test_who_was_on_a_node_that_was_killed_is_absent_when_its_time_is_over(pair: Server, unique: str) -> None:
    """Nobody says that it left: presence ends by its TTL, and join and leave are no more than a hint."""
    channel = f"collab:{unique}"
    async with pair.connected("bob", node=0) as bob, pair.connected("alice", node=1) as alice:
        for person, name in ((bob, "bob"), (alice, "alice")):
            await person.subscribe(channel, name)
        await asyncio.to_thread(pair.connected_to.stop, signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while pair.result("presence", channel=channel)["presence"].keys() != {bob.id}:
            assert time.monotonic() < deadline, "presence did not end"
            await asyncio.sleep(0.1)
        joins = [(await bob.next())["push"] for _ in range(2)]
        assert [push["join"]["info"]["user"] for push in joins] == ["bob", "alice"]
        assert await bob.nothing_came()
    await asyncio.to_thread(pair.start)
