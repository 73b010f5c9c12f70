"""The push against real engines: the embedded one and Centrifugo."""

import asyncio
import signal

import pytest

from engine.tests.conformance.servers import API_KEY, CENTRIFUGO, Raw, Server, missing, running
from events import actions, channels, cursors, engine_client, relay
from events.channels import Topic, tenant
from events.cursors import PUSH
from events.models import Cursor, DeadLetter, Event, Push
from events.tests.conftest import eventually, happen
from tests.faults.servers import Redis

__all__ = ["happen"]  # a fixture

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.conformance]


@pytest.fixture(params=["embedded", "centrifugo"])
def server(request, settings):
    if request.param == "centrifugo" and not CENTRIFUGO.exists():
        missing("no real Centrifugo at .local/bin/centrifugo: `make centrifugo` builds one")
    with running(request.param) as server:
        settings.ENGINE_API_URL = f"{server.url}/engine/api"
        settings.ENGINE_API_KEY = API_KEY
        yield server


@pytest.fixture
def dashboard(acme) -> str:
    return tenant(acme.id, Topic.DASHBOARD).name


def drain() -> None:
    relay.drain_once(seconds=30)


def seqs(server: Server, channel: str) -> list[int]:
    history = server.result("history", channel=channel, limit=1000)
    return [publication["data"]["seq"] for publication in history["publications"]]


def test_what_was_committed_is_in_the_channels_history_in_order(server, happen, dashboard, acme):
    happen(600)
    drain()
    assert seqs(server, dashboard) == list(range(1, 601))
    found = engine_client.positions([tenant(acme.id, Topic.DASHBOARD)], timeout=5)
    assert found is not None
    assert found[dashboard].offset == 600
    assert Push.of(600).outcomes["600"] == {dashboard: 600}


def test_what_is_pushed_again_is_dropped_and_recognised(server, happen, dashboard):
    """As after a relay that died between its push and its record."""
    happen(3)
    drain()
    Push.objects.all().delete()
    Cursor.objects.update(position=0)
    happen(1, first=4)
    drain()
    assert seqs(server, dashboard) == [1, 2, 3, 4]
    assert [Push.of(seq).outcomes[str(seq)][dashboard] for seq in (1, 2, 3, 4)] == ["repeat", "repeat", "repeat", 4]


def test_a_channel_that_the_engine_refuses_is_a_dead_letter(server, happen, dashboard, alice):
    (event,) = happen(1)
    Event.objects.with_scopes_disabled().filter(pk=event.pk).update(channels=["nowhere:to:be", dashboard])
    happen(1, first=2)
    drain()
    assert seqs(server, dashboard) == [1, 2]
    assert DeadLetter.objects.get().error == "unknown channel (102)"
    with pytest.raises(actions.StillFailing, match="unknown channel"):
        actions.retry(DeadLetter.objects.get(), by=alice.user)
    DeadLetter.objects.update(channel=dashboard)
    actions.retry(DeadLetter.objects.get(), by=alice.user)
    assert seqs(server, dashboard) == [1, 2, 1]


def test_an_engine_that_was_killed_gets_the_rest_when_it_is_back(server, happen, dashboard):
    happen(2)
    drain()
    server.stop(signal.SIGKILL)
    happen(2, first=3)
    drain()
    assert Cursor.objects.get(name="push").position == 2
    assert engine_client.positions([channels.ADMIN_EVENTS]) is None
    server.start()
    drain()
    assert seqs(server, dashboard) == [3, 4]
    assert Push.of(4).outcomes["4"] == {dashboard: 2}


@pytest.mark.parametrize("is_noticed", [True, False], ids=["noticed", "unnoticed"])
@pytest.mark.parametrize("later", [2, 10], ids=["fewer", "more"])
def test_nobody_misses_anything_after_redis_came_back_with_older_data(
    settings, monkeypatch, happen, dashboard, tmp_path, later, is_noticed
):
    """Five events are lost to it that everybody had received, and the next ones get their offsets."""
    if not CENTRIFUGO.exists():
        missing("no real Centrifugo at .local/bin/centrifugo: `make centrifugo` builds one")
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    redis = Redis(tmp_path, "redis")
    redis.start()
    try:
        with running("redis", redis.url) as server:
            settings.ENGINE_API_URL, settings.ENGINE_API_KEY = f"{server.url}/engine/api", API_KEY
            asyncio.run(rewind(server, redis, happen, dashboard, later, is_noticed))
    finally:
        redis.close()


async def rewind(server, redis, happen, dashboard, later, is_noticed) -> None:
    async with server.connected() as alice, server.connected() as bob:
        await alice.subscribe(dashboard)
        drain = active_drain()
        happen(10)
        push_up_to(10, drain)
        redis.save()
        happen(5, first=11)
        push_up_to(15, drain)
        assert await seen(alice, 15) == list(range(1, 16))
        epoch = server.result("history", channel=dashboard)["epoch"]
        redis.kill()
        happen(later, first=16)
        if is_noticed:
            drain.step()
        redis.start()
        await asyncio.sleep(2)  # until both nodes listen to it again
        push_up_to(15 + later, drain)
        now = server.result("history", channel=dashboard)
        assert now["epoch"] == epoch, "otherwise there would be nothing to prove"
        with_alice = await seen(alice, 15 + later)
        if is_noticed:
            assert with_alice == list(range(16, 16 + later)), "each of them once, in order"
        elif len(with_alice) < later:  # the first of them had offsets that she had passed: all of them come again
            assert await seen(alice, 15 + later) == list(range(16, 16 + later))
        for offset in range(1, now["offset"] + 1):
            reply = await bob.subscribe(dashboard, recover=True, offset=offset, epoch=epoch)
            assert not reply.get("recovered") or offset >= 15, "would have missed something"
            if reply.get("recovered"):
                publications = reply.get("publications", [])
                assert [one["data"]["seq"] for one in publications][-1:] == [15 + later] * (offset < now["offset"])
            await bob.command(unsubscribe={"channel": dashboard})


async def seen(client: Raw, seq: int) -> list[int]:
    """What came to this client, up to and with the event of this number."""
    found: list[int] = []
    while not found or found[-1] != seq:
        message = await client.next()
        if not message:
            await client.send("{}")  # a ping
        elif "pub" in message.get("push", {}):
            found.append(message["push"]["pub"]["data"]["seq"])
        else:
            raise AssertionError(message)
    return found


def active_drain() -> relay.Drain:
    cursors.ensure(PUSH)
    lease = cursors.take(PUSH, 600)
    assert lease
    return relay.Drain(lease)


def push_up_to(seq: int, drain: relay.Drain) -> None:
    def pushed() -> bool:
        drain.step()
        return drain.lease.position == seq

    eventually(pushed)
