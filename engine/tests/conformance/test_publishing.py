"""The server API: publishing, reading history, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from cent import (
    AsyncClient,
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentUnauthorizedError,
    HistoryRemoveRequest,
    HistoryRequest,
    PresenceRequest,
    PublishRequest,
    StreamPosition,
)

from engine.tests.conformance.conftest import Launch
from engine.tests.conformance.sdk import Sdk
from engine.tests.conformance.servers import API_KEY, LIMITED, Server, base64_of, grant, outcome, token


async def test_cent_publishes_and_reads_history(server: Server, channel: str) -> None:
    cent = server.cent()
    first = await cent.publish(PublishRequest(channel=channel, data={"n": 1}))
    second = await cent.publish(PublishRequest(channel=channel, data={"n": 2}, tags={"a": "b"}))
    assert (first.offset, second.offset) == (1, 2)
    assert first.epoch == second.epoch
    history = await cent.history(HistoryRequest(channel=channel, limit=10))
    assert [(p.offset, p.data, p.tags) for p in history.publications] == [
        (1, {"n": 1}, None),
        (2, {"n": 2}, {"a": "b"}),
    ]
    assert (history.offset, history.epoch) == (2, first.epoch)
    assert (await cent.history(HistoryRequest(channel=channel))).publications == []
    await cent.history_remove(HistoryRemoveRequest(channel=channel))
    assert (await cent.history(HistoryRequest(channel=channel, limit=10))).publications == []
    await cent._session.close()


async def test_cent_broadcasts_and_sends_batches(server: Server, channel: str) -> None:
    cent = server.cent()
    broadcast = await cent.broadcast(BroadcastRequest(channels=[channel, "unheard:of", "plain:a"], data=1))
    first, second, third = broadcast.responses
    assert first.result
    assert first.result.offset == 1
    assert second.error
    assert second.error.code == 102
    assert third.error is None
    requests = [PublishRequest(channel=channel, data=2), HistoryRequest(channel=channel, limit=5)]
    for parallel in (False, True):
        replies = (await cent.batch(BatchRequest(requests=requests, parallel=parallel))).replies
        assert len(replies) == 2
    assert server.result("history", channel=channel)["offset"] == 3
    await cent._session.close()


async def test_cent_raises_what_the_engine_answers(server: Server) -> None:
    cent = server.cent()
    with pytest.raises(CentApiResponseError) as unknown:
        await cent.publish(PublishRequest(channel="unheard:of", data=1))
    assert unknown.value.code == 102
    with pytest.raises(CentApiResponseError) as unavailable:
        await cent.presence(PresenceRequest(channel="tenant:a"))
    assert unavailable.value.code == 108
    await cent._session.close()
    stranger = AsyncClient(f"{server.url}/engine/api", "another key")
    with pytest.raises(CentUnauthorizedError):
        await stranger.publish(PublishRequest(channel="tenant:a", data=1))
    await stranger._session.close()


async def test_what_is_published_reaches_subscribers_as_it_was(server: Server, sdk: Sdk, channel: str) -> None:
    values: list[Any] = [{"text": "é <>&\n\u2028"}, [1, 2.5, -3], "text", 0, None, True, {}, ""]
    sdk.client("alice", server.websocket_url, token=token())
    sdk.subscribe("alice", channel, token=grant(channel))
    await sdk.event("subscribed")
    server.publish(channel, *values)
    assert await sdk.received(channel, len(values)) == values
    history = server.result("history", channel=channel, limit=-1)
    assert [publication["data"] for publication in history["publications"]] == values


async def test_what_is_published_beside_the_history_is_delivered_without_an_offset(
    server: Server, channel: str
) -> None:
    async with server.connected() as alice:
        await alice.subscribe(channel)
        assert server.result("publish", channel=channel, data="passing", skip_history=True) == {}
        assert (await alice.next())["push"] == {"channel": channel, "pub": {"data": "passing"}}
    assert server.result("history", channel=channel)["offset"] == 0


async def test_tags_are_delivered(server: Server, channel: str) -> None:
    async with server.connected() as alice:
        await alice.subscribe(channel)
        server.result("publish", channel=channel, data=1, tags={"a": "b"})
        assert (await alice.next())["push"]["pub"]["tags"] == {"a": "b"}


async def test_base64_data_is_published_as_the_json_it_holds(server: Server, channel: str) -> None:
    server.result("publish", channel=channel, b64data=base64.b64encode(b'{"a":1}').decode())
    assert server.result("history", channel=channel, limit=1)["publications"][0]["data"] == {"a": 1}


async def test_base64_goes_before_what_stands_beside_it(server: Server, channel: str) -> None:
    server.result("publish", channel=channel, data=1, b64data=base64_of(2))
    server.result("publish", channel=channel, data=3, b64data="")
    history = server.result("history", channel=channel, limit=-1)
    assert [publication["data"] for publication in history["publications"]] == [2, 3]


REFUSED = {
    "publish": [
        ({"channel": "unheard:of", "data": 1}, 102),
        ({"channel": "", "data": 1}, 107),
        ({"data": 1}, 107),
        ({"channel": "tenant:a"}, 107),
        ({"channel": "tenant:a", "b64data": "!!"}, 107),
    ],
    "broadcast": [({"channels": [], "data": 1}, 107), ({"data": 1}, 107)],
    "history": [({"channel": "plain:a"}, 108), ({"channel": "unheard:of"}, 102), ({"channel": ""}, 107)],
    "history_remove": [({"channel": "plain:a"}, 108), ({"channel": "unheard:of"}, 102), ({"channel": ""}, 107)],
    "presence": [({"channel": "tenant:a"}, 108), ({"channel": "unheard:of"}, 102), ({"channel": ""}, 107)],
    "presence_stats": [({"channel": "tenant:a"}, 108)],
    "subscribe": [
        ({"user": "alice"}, 107),
        ({"user": "alice", "channel": "unheard:of"}, 102),
        ({"user": "alice", "channel": "tenant:a", "b64info": "!!"}, 107),
        ({"user": "alice", "channel": "tenant:a", "b64data": "!!"}, 107),
    ],
    "unsubscribe": [({"user": "alice", "channel": "unheard:of"}, 102)],
    "rpc": [({"method": "x"}, 104)],
}


@pytest.mark.parametrize("method", REFUSED)
async def test_a_request_is_refused_with_its_code(server: Server, method: str) -> None:
    for body, expected in REFUSED[method]:
        assert server.error(method, **body) == expected, body


BAD_BODIES = [
    b"",
    b"{bad",
    b"[]",
    b'{"channel": 5, "data": 1}',
    b'{"channel": "tenant:a", "data": 1, "version": "5"}',
    b'{"channel": "tenant:a", "data": 1, "version": -5}',
    b'{"channel": "tenant:a", "data": 1, "version": 1.5}',
    b'{"channel": "tenant:a", "data": 1, "tags": {"a": 1}}',
    b'{"channel": "tenant:a", "data": 1, "skip_history": "no"}',
]


@pytest.mark.parametrize("body", BAD_BODIES)
async def test_a_malformed_body_is_a_bad_request(server: Server, body: bytes) -> None:
    assert server.api("publish", body).status_code == 400


async def test_fields_that_nobody_knows_are_ignored(server: Server, channel: str) -> None:
    assert server.result("publish", channel=channel, data=1, novelty=2)["offset"] == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"headers": {"X-API-Key": API_KEY}}, 200),
        ({"headers": {"X-API-Key": "", "Authorization": f"apikey {API_KEY}"}}, 200),
        ({"headers": {"X-API-Key": ""}, "params": {"api_key": API_KEY}}, 200),
        ({"headers": {"X-API-Key": ""}}, 401),
        ({"headers": {"X-API-Key": "another"}}, 401),
        ({"headers": {"X-API-Key": "", "Authorization": f"Bearer {API_KEY}"}}, 401),
    ],
)
async def test_the_key_is_needed(server: Server, request_: dict[str, Any], status: int) -> None:
    assert server.api("info", {}, **request_).status_code == status


async def test_without_a_key_configured_nobody_has_it_unless_it_is_not_needed(launch: Launch) -> None:
    with launch(http_api={"key": ""}) as server:
        assert server.api("info", {}, headers={"X-API-Key": ""}).status_code == 401
    with launch(http_api={"key": "", "insecure": True}) as server:
        assert server.api("info", {}, headers={"X-API-Key": ""}).status_code == 200


async def test_other_paths_and_methods(server: Server) -> None:
    assert server.api("novelty").status_code == 404
    assert server.get("/engine/api/publish").status_code == 405
    assert server.get("/elsewhere").status_code == 404
    assert server.get("/connection/websocket").status_code == 400
    assert (server.get("/health").status_code, server.get("/health").json()) == (200, {})


async def test_a_batch_answers_each_command_in_order(server: Server, channel: str) -> None:
    commands = [
        {"publish": {"channel": channel, "data": 1}},
        {"publish": {"channel": "unheard:of", "data": 1}},
        {"history": {"channel": channel, "limit": 1}},
        {"novelty": {}},
        {},
        {"broadcast": {"channels": [channel], "data": 2}},
        {"disconnect": {"user": "nobody"}},
        {"presence": {"channel": channel}},
    ]
    replies = server.api("batch", {"commands": commands}).json()["replies"]
    assert replies[0]["publish"]["offset"] == 1
    assert [reply.get("error", {}).get("code") for reply in replies] == [None, 102, None, 104, 104, None, None, 108]
    assert replies[2]["history"]["publications"] == [{"data": 1, "offset": 1}]
    assert replies[5]["broadcast"]["responses"][0]["result"]["offset"] == 2
    assert replies[6] == {"disconnect": {}}


async def test_an_empty_batch_is_answered_with_nothing(server: Server) -> None:
    assert server.api("batch", {"commands": []}).json() == {}


async def test_one_malformed_command_spoils_the_whole_batch(server: Server, channel: str) -> None:
    commands = [{"publish": {"channel": channel, "data": 1}}, {"publish": {"channel": 5, "data": 1}}]
    assert server.api("batch", {"commands": commands}).status_code == 400
    assert server.result("history", channel=channel)["offset"] == 0


async def test_a_version_that_was_seen_is_dropped_and_answered_like_an_accepted_one(
    server: Server, channel: str
) -> None:
    def publish(version: int, epoch: str = "") -> int:
        result = server.result("publish", channel=channel, data=version, version=version, version_epoch=epoch)
        return int(result["offset"])

    async with server.connected() as alice:
        await alice.subscribe(channel)
        assert [publish(5, "log"), publish(5, "log"), publish(4, "log"), publish(6, "log")] == [1, 1, 1, 2]
        assert [publish(3, "other log"), publish(3, "other log"), publish(2)] == [3, 3, 3]
        received = [(await alice.next())["push"]["pub"] for _ in range(3)]
        assert [(publication["data"], publication["version"]) for publication in received] == [(5, 5), (6, 6), (3, 3)]
        assert await alice.nothing_came()


async def test_what_comes_without_a_version_is_accepted(server: Server, channel: str) -> None:
    """A Centrifugo in memory then forgets the last version; one with Redis, and the embedded engine, remember it."""
    forgets = server.kind == "centrifugo"
    versioned = {"version": 5, "version_epoch": "log"}
    assert server.result("publish", channel=channel, data=1, **versioned)["offset"] == 1
    assert server.result("publish", channel=channel, data=1)["offset"] == 2
    assert server.result("publish", channel=channel, data=1, **versioned)["offset"] == (3 if forgets else 2)


async def test_versions_outlive_the_removal_of_history(server: Server, channel: str) -> None:
    versioned = {"version": 5, "version_epoch": "log"}
    server.result("publish", channel=channel, data=1, **versioned)
    server.result("history_remove", channel=channel)
    assert server.result("publish", channel=channel, data=1, **versioned)["offset"] == 1


async def test_without_history_versions_are_not_compared(server: Server, unique: str) -> None:
    channel = f"plain:{unique}"
    async with server.connected() as alice:
        await alice.subscribe(channel)
        for _ in range(2):
            server.result("publish", channel=channel, data=1, version=1, version_epoch="log")
        assert [(await alice.next())["push"]["pub"] for _ in range(2)] == [{"data": 1, "version": 1}] * 2


async def test_a_key_makes_publishing_again_change_nothing(server: Server, channel: str) -> None:
    async with server.connected() as alice:
        await alice.subscribe(channel)
        first = server.result("publish", channel=channel, data="once", idempotency_key="k")
        server.result("publish", channel=channel, data="between")
        assert server.result("publish", channel=channel, data="twice", idempotency_key="k") == first
        assert [(await alice.next())["push"]["pub"]["data"] for _ in range(2)] == ["once", "between"]
        assert await alice.nothing_came()
    assert server.result("publish", channel=channel + "x", data=1, idempotency_key="k")["offset"] == 1


async def test_a_key_works_without_history_and_in_broadcasts(server: Server, unique: str) -> None:
    plain, channel = f"plain:{unique}", f"tenant:{unique}"
    async with server.connected() as alice:
        await alice.subscribe(plain)
        for _ in range(2):
            server.result("publish", channel=plain, data=1, idempotency_key="k")
        assert "push" in await alice.next()
        assert await alice.nothing_came()
    responses = server.result("broadcast", channels=[channel, channel], data=1, idempotency_key="k")["responses"]
    assert [response["result"]["offset"] for response in responses] == [1, 1]


SINCE: list[tuple[dict[str, Any], list[int]]] = [
    ({"limit": 2}, [5, 6]),
    ({"limit": -1}, [5, 6, 7, 8, 9]),
    ({"limit": -1, "reverse": True}, [9, 8, 7, 6, 5]),
    ({"limit": 2, "reverse": True}, [9, 8]),
    ({"limit": 2, "since": 6}, [7, 8]),
    ({"limit": 2, "since": 9}, []),
    ({"limit": 2, "since": 50}, []),
    ({"limit": -1, "since": 1}, [5, 6, 7, 8, 9]),
    ({"limit": 2, "since": 7, "reverse": True}, [6, 5]),
    ({"limit": 2, "since": 5, "reverse": True}, []),
    ({"limit": 2, "since": 10, "reverse": True}, [9, 8]),
    ({"limit": 0}, []),
    ({}, []),
]


async def test_history_is_read_both_ways_from_a_position(server: Server, unique: str) -> None:
    channel = f"few:{unique}"
    epoch = server.publish(channel, *range(1, 10))["epoch"]
    for request, expected in SINCE:
        since = {"since": {"offset": request["since"], "epoch": epoch}} if "since" in request else {}
        reply = server.result("history", channel=channel, **(request | since))
        assert [publication["offset"] for publication in reply["publications"]] == expected, request
        assert (reply["offset"], reply["epoch"]) == (9, epoch)


async def test_history_read_backwards_from_far_ahead_begins_at_its_end(server: Server, channel: str) -> None:
    """A Centrifugo in memory finds nothing there; one with Redis, and the embedded engine, find all."""
    epoch = server.publish(channel, 1, 2)["epoch"]
    reply = server.result("history", channel=channel, limit=-1, since={"offset": 50, "epoch": epoch}, reverse=True)
    found = [publication["offset"] for publication in reply["publications"]]
    assert found == ([] if server.kind == "centrifugo" else [2, 1])


async def test_history_of_another_epoch_cannot_be_read(server: Server, channel: str) -> None:
    epoch = server.publish(channel, 1)["epoch"]
    since = {"offset": 0, "epoch": "other"}
    assert server.error("history", channel=channel, limit=5, since=since) == 112
    assert server.error("history", channel=channel, since=since) == 112
    for backwards in ({"offset": 0, "epoch": epoch}, {"offset": 0, "epoch": "other"}):
        assert server.error("history", channel=channel, limit=5, since=backwards, reverse=True) == 100
    cent = server.cent()
    with pytest.raises(CentApiResponseError):
        await cent.history(HistoryRequest(channel=channel, since=StreamPosition(offset=0, epoch="other")))
    await cent._session.close()


async def test_a_client_publishes_only_where_it_may(server: Server, unique: str) -> None:
    talk = f"talk:{unique}"
    async with server.connected() as alice:
        assert outcome(await alice.command(publish={"channel": f"public:{unique}", "data": 1}), "publish") == 103
        assert outcome(await alice.command(publish={"channel": f"tenant:{unique}", "data": 1}), "publish") == 103
        assert outcome(await alice.command(publish={"channel": talk, "data": 1}), "publish") == 103
        assert outcome(await alice.command(publish={"channel": "unheard:of", "data": 1}), "publish") == 102
        await alice.command(subscribe={"channel": talk})
        assert outcome(await alice.command(publish={"channel": talk}), "publish") == 107
        await alice.send(json.dumps({"id": 90, "publish": {"channel": talk, "data": "hello"}}))
        messages = [await alice.next(), await alice.next()]  # over a Redis, in either order
        assert {"id": 90, "publish": {}} in messages
        [publication] = [message["push"]["pub"] for message in messages if "push" in message]
        assert (publication["data"], publication["info"]) == ("hello", {"user": "alice", "client": alice.id})


async def test_a_client_reads_history_only_where_it_may(server: Server, unique: str) -> None:
    talk = f"talk:{unique}"
    epoch = server.publish(talk, 1, 2, 3)["epoch"]
    async with server.connected() as alice:
        for channel, expected in ((talk, 103), (f"public:{unique}", 103), ("plain:a", 108), ("unheard:of", 102)):
            assert outcome(await alice.command(history={"channel": channel}), "history") == expected
        await alice.command(subscribe={"channel": talk})
        history = outcome(await alice.command(history={"channel": talk, "limit": 2}), "history")
        assert [publication["data"] for publication in history["publications"]] == [1, 2]
        assert (history["offset"], history["epoch"]) == (3, epoch)
        since = {"offset": 0, "epoch": "other"}
        assert outcome(await alice.command(history={"channel": talk, "limit": 2, "since": since}), "history") == 112


async def test_a_client_reads_only_so_much_history_at_once(launch: Launch, unique: str) -> None:
    talk = f"talk:{unique}"
    with launch(**LIMITED) as server:
        server.publish(talk, *range(6))
        assert len(server.result("history", channel=talk, limit=-1)["publications"]) == 6
        async with server.connected() as alice:
            await alice.command(subscribe={"channel": talk})
            for limit in (-1, 5):
                history = outcome(await alice.command(history={"channel": talk, "limit": limit}), "history")
                assert len(history["publications"]) == 3


async def test_the_client_reports_what_it_is_refused(server: Server, sdk: Sdk, unique: str) -> None:
    sdk.client("alice", server.websocket_url, token=token())
    await sdk.event("connected")
    for method, args, expected in (
        ("publish", [f"public:{unique}", 1], 103),
        ("history", [f"public:{unique}", {"limit": 1}], 103),
        ("presence", ["tenant:a"], 108),
        ("presenceStats", ["tenant:a"], 108),
        ("rpc", ["method", {}], 108),
    ):
        assert (await sdk.call("alice", method, *args))["error"]["code"] == expected


async def test_many_publishers_at_once_leave_no_gap(server: Server, sdk: Sdk, channel: str) -> None:
    sdk.client("alice", server.websocket_url, token=token())
    sdk.subscribe("alice", channel, token=grant(channel))
    await sdk.event("subscribed")
    cent = server.cent()
    await asyncio.gather(*(cent.publish(PublishRequest(channel=channel, data=n)) for n in range(100)))
    await cent._session.close()
    assert sorted(await sdk.received(channel, 100)) == list(range(100))
    offsets = [event["offset"] for event in sdk.events if event.get("event") == "publication"]
    assert offsets == list(range(1, 101))
