"""Who was away gets all that was missed, in order, or is told that this cannot be done."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from engine.tests.conformance.conftest import Launch
from engine.tests.conformance.sdk import Sdk
from engine.tests.conformance.servers import DEADLINE_SECONDS, LIMITED, Raw, Server, grant, token

LIMIT = 100  # recovery_max_publication_limit of the usual server


async def recover(alice: Raw, channel: str, offset: int, epoch: str, **options: Any) -> Any:
    await alice.command(unsubscribe={"channel": channel})
    return await alice.subscribe(channel, recover=True, offset=offset, epoch=epoch, **options)


def data(reply: dict[str, Any]) -> list[Any]:
    return [publication["data"] for publication in reply.get("publications", [])]


async def test_what_was_missed_comes_with_the_subscription(server: Server, channel: str) -> None:
    epoch = server.publish(channel, "seen", "missed 1", {"missed": 2})["epoch"]
    async with server.connected() as alice:
        reply = await alice.subscribe(channel, recover=True, offset=1, epoch=epoch)
        assert (reply["recovered"], reply["was_recovering"]) == (True, True)
        assert (reply["offset"], reply["epoch"]) == (1, epoch)
        assert reply["publications"] == [{"data": "missed 1", "offset": 2}, {"data": {"missed": 2}, "offset": 3}]
        server.publish(channel, "live")
        assert (await alice.next())["push"]["pub"] == {"data": "live", "offset": 4}


async def test_who_missed_nothing_has_recovered(server: Server, channel: str) -> None:
    position = server.publish(channel, 1, 2)
    async with server.connected() as alice:
        reply = await alice.subscribe(channel, recover=True, **position)
    assert (reply["recovered"], reply["was_recovering"], data(reply)) == (True, True, [])


async def test_the_first_publication_of_a_stream_tells_its_epoch(server: Server, channel: str) -> None:
    async with server.connected() as alice:
        epoch = (await alice.subscribe(channel))["epoch"]
        server.publish(channel, "first", "second")
        assert (await alice.next())["push"]["pub"] == {"data": "first", "offset": 1, "epoch": epoch}
        assert (await alice.next())["push"]["pub"] == {"data": "second", "offset": 2}


async def test_a_channel_never_published_to_has_a_stable_epoch_and_offset_0(server: Server, channel: str) -> None:
    first = server.result("history", channel=channel)
    assert first["offset"] == 0
    assert first["epoch"]
    async with server.connected() as alice:
        assert (await alice.subscribe(channel))["epoch"] == first["epoch"]
        reply = await recover(alice, channel, 0, first["epoch"])
        assert reply["recovered"] is True
        assert "offset" not in reply
    assert server.result("history", channel=channel) == first
    assert server.publish(channel, 1) == {"offset": 1, "epoch": first["epoch"]}


POSITIONS = {
    "of another epoch": (2, "other", False),
    "ahead of the stream": (50, None, False),
    "without an epoch, which switches the check off": (2, "", True),
    "at the beginning": (0, None, True),
}


@pytest.mark.parametrize("case", POSITIONS)
async def test_a_position(server: Server, channel: str, case: str) -> None:
    offset, epoch, recovered = POSITIONS[case]
    position = server.publish(channel, 1, 2, 3)
    async with server.connected() as alice:
        reply = await alice.subscribe(
            channel, recover=True, offset=offset, epoch=position["epoch"] if epoch is None else epoch
        )
    assert reply.get("recovered", False) is recovered
    assert reply["was_recovering"] is True
    assert data(reply) == ([1, 2, 3][offset:] if recovered else [])
    assert reply.get("offset", 0) == (offset if recovered else 3)


async def test_as_many_as_the_limit_are_recovered_and_one_more_is_not(server: Server, channel: str) -> None:
    epoch = server.publish(channel, *range(LIMIT + 1))["epoch"]
    async with server.connected() as alice:
        assert data(await recover(alice, channel, 1, epoch)) == list(range(1, LIMIT + 1))
        reply = await recover(alice, channel, 0, epoch)
        assert "recovered" not in reply
        assert "publications" not in reply


async def test_a_thousand_missed_are_recovered_where_the_limit_says_so(launch: Launch, channel: str) -> None:
    with launch(client={"recovery_max_publication_limit": 1000}) as server:
        epoch = server.publish(channel, *range(1001))["epoch"]
        async with server.connected() as alice:
            assert data(await recover(alice, channel, 2, epoch)) == list(range(2, 1001))
            assert data(await recover(alice, channel, 1, epoch)) == list(range(1, 1001))
            assert "recovered" not in await recover(alice, channel, 0, epoch)


async def test_what_has_left_the_history_makes_recovery_impossible(server: Server, unique: str) -> None:
    channel = f"few:{unique}"
    epoch = server.publish(channel, *range(9))["epoch"]
    async with server.connected() as alice:
        assert "recovered" not in await recover(alice, channel, 3, epoch)
        assert data(await recover(alice, channel, 4, epoch)) == [4, 5, 6, 7, 8]


async def test_what_is_too_old_makes_recovery_impossible(server: Server, unique: str) -> None:
    channel = f"brief:{unique}"
    position = server.publish(channel, 1, 2)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while server.result("history", channel=channel, limit=-1)["publications"] and time.monotonic() < deadline:
        time.sleep(0.1)  # noqa: ASYNC251 (nothing else runs here)
    async with server.connected() as alice:
        assert "recovered" not in await recover(alice, channel, 1, position["epoch"])
        assert (await recover(alice, channel, 2, position["epoch"]))["recovered"] is True
    assert server.publish(channel, 3) == {"offset": 3, "epoch": position["epoch"]}


async def test_removed_history_makes_recovery_impossible_but_keeps_the_position(server: Server, channel: str) -> None:
    position = server.publish(channel, 1, 2)
    server.result("history_remove", channel=channel)
    async with server.connected() as alice:
        assert "recovered" not in await recover(alice, channel, 1, position["epoch"])
        assert (await recover(alice, channel, 2, position["epoch"]))["recovered"] is True


async def test_who_cannot_live_with_a_gap_is_refused_with_112(server: Server, channel: str) -> None:
    reject = 2
    epoch = server.publish(channel, *range(LIMIT + 2))["epoch"]
    async with server.connected() as alice:
        assert await alice.subscribe(channel, recover=True, offset=3, epoch="other", flag=reject) == 112
        assert await alice.subscribe(channel, recover=True, offset=500, epoch=epoch, flag=reject) == 112
        assert await alice.subscribe(channel, recover=True, offset=0, epoch=epoch, flag=reject) == 112
        reply = await alice.subscribe(channel, recover=True, offset=LIMIT, epoch=epoch, flag=reject)
        assert data(reply) == [LIMIT, LIMIT + 1]


async def test_a_position_alone_asks_for_nothing(server: Server, channel: str) -> None:
    epoch = server.publish(channel, 1, 2)["epoch"]
    async with server.connected() as alice:
        reply = await alice.subscribe(channel, offset=1, epoch=epoch)
    assert "was_recovering" not in reply
    assert "publications" not in reply


async def test_the_client_that_was_away_misses_nothing(server: Server, sdk: Sdk, channel: str) -> None:
    sdk.client("alice", server.websocket_url, token=token())
    sdk.subscribe("alice", channel, token=grant(channel))
    await sdk.event("subscribed", channel=channel)
    server.publish(channel, *range(3))
    await sdk.received(channel, 3)

    sdk.disconnect("alice")
    await sdk.event("disconnected", who="alice")
    server.publish(channel, *range(3, 50))
    then = sdk.now
    sdk.connect("alice")
    subscribed = await sdk.event("subscribed", then, channel=channel)
    assert (subscribed["wasRecovering"], subscribed["recovered"]) == (True, True)
    server.publish(channel, 50)
    assert await sdk.received(channel, 51) == list(range(51))


async def test_the_client_that_was_away_too_long_is_told(server: Server, sdk: Sdk, channel: str) -> None:
    sdk.client("alice", server.websocket_url, token=token())
    sdk.subscribe("alice", channel, token=grant(channel))
    await sdk.event("subscribed", channel=channel)
    sdk.disconnect("alice")
    await sdk.event("disconnected", who="alice")
    server.publish(channel, *range(LIMIT + 1))
    then = sdk.now
    sdk.connect("alice")
    subscribed = await sdk.event("subscribed", then, channel=channel)
    assert (subscribed["wasRecovering"], subscribed["recovered"]) == (True, False)
    assert sdk.data(channel) == []


async def test_a_page_subscribes_from_the_position_of_its_state(server: Server, sdk: Sdk, channel: str) -> None:
    server.publish(channel, "in the page")
    position = server.result("history", channel=channel)
    server.publish(channel, "while it was loading")
    sdk.answers["getState"] = lambda _: {"offset": position["offset"], "epoch": position["epoch"]}
    sdk.client("alice", server.websocket_url, token=token())
    sdk.subscribe("alice", channel, token=grant(channel), asks=["getState"])
    server.publish(channel, "live")
    assert await sdk.received(channel, 2) == ["while it was loading", "live"]


async def test_a_page_too_far_behind_reloads_its_state_and_goes_on(server: Server, sdk: Sdk, channel: str) -> None:
    epoch = server.publish(channel, *range(LIMIT + 5))["epoch"]
    states = iter([0, LIMIT + 4])
    sdk.answers["getState"] = lambda _: {"offset": next(states), "epoch": epoch}
    sdk.client("alice", server.websocket_url, token=token())
    sdk.subscribe("alice", channel, token=grant(channel), asks=["getState"])
    subscribed = await sdk.event("subscribed", channel=channel)
    assert subscribed["recovered"] is True
    assert sdk.asked == [("getState", channel)] * 2
    assert await sdk.received(channel, 1) == [LIMIT + 4]


async def test_after_the_engine_lost_its_streams_pages_reload_and_go_on(own: Server, sdk: Sdk, channel: str) -> None:
    own.publish(channel, "before")
    sdk.answers["getState"] = lambda _: own.result("history", channel=channel)
    sdk.client("alice", own.websocket_url, token=token())
    sdk.subscribe("alice", channel, token=grant(channel), asks=["getState"])
    await sdk.event("subscribed", channel=channel)
    old = own.result("history", channel=channel)

    then = sdk.now
    await asyncio.to_thread(own.lose_everything)
    await sdk.event("connecting", then, who="alice")
    await sdk.event("subscribed", then, channel=channel)
    assert own.result("history", channel=channel)["epoch"] != old["epoch"]
    assert sdk.asked.count(("getState", channel)) == 2
    own.publish(channel, "after")
    assert await sdk.received(channel, 1) == ["after"]


async def test_a_thousand_publications_reach_every_subscriber_in_order(server: Server, sdk: Sdk, channel: str) -> None:
    people = [f"person {n}" for n in range(10)]
    for person in people:
        sdk.client(person, server.websocket_url, token=token(person))
        sdk.subscribe(person, channel, token=grant(channel, person))
    for person in people:
        await sdk.event("subscribed", who=person, channel=channel)
    for start in range(0, 1000, 100):
        server.publish(channel, *range(start, start + 100))
    await sdk.received(channel, 1000 * len(people))
    for person in people:
        events = [event for event in sdk.events if event.get("who") == person and event["event"] == "publication"]
        assert [event["data"] for event in events] == list(range(1000))
        assert [event["offset"] for event in events] == list(range(1, 1001))


async def test_a_reader_that_is_too_slow_is_disconnected_and_never_skipped(launch: Launch, channel: str) -> None:
    with launch(**LIMITED) as server:
        async with server.raw(max_queue=1) as slow:
            await slow.command(connect={"token": token()})
            await slow.subscribe(channel)
            sent = 0
            async with asyncio.timeout(DEADLINE_SECONDS):
                while channel in server.result("channels")["channels"]:
                    server.publish(channel, *({"n": sent + n, "pad": "x" * 20_000} for n in range(10)))
                    sent += 10
                    await asyncio.sleep(0)
            received = []
            while isinstance(message := await slow.next(), dict):
                received.append(message["push"]["pub"]["data"]["n"])
            assert received == list(range(len(received)))
            assert len(received) <= sent
            assert message in (1006, 3008)
