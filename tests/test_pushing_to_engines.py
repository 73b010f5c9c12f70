"""The push against real engines: the embedded one and Centrifugo."""

import signal

import pytest

from engine.tests.conformance.servers import API_KEY, CENTRIFUGO, Server, missing, running
from events import actions, channels, engine_client, relay
from events.channels import Topic, tenant
from events.models import Cursor, DeadLetter, Event, Push
from events.tests.conftest import happen

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
