"""The engine's server API is asked over connections that are kept, whoever asks."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from events import engine_client
from events.engine_client import EngineAway, EngineTimeout

TRIAL = engine_client.trial_command()


def test_a_page_takes_the_connection_that_another_has_left(engine):
    """Each page is served in a thread of its own."""
    for _ in range(3):
        page = threading.Thread(target=engine_client.push, args=[[TRIAL]])
        page.start()
        page.join()
    assert engine.requests == 3
    assert len(engine._connections) == 1


def test_a_connection_that_the_engine_has_ended_is_not_used_again(engine):
    engine_client.push([TRIAL])
    engine.stop()
    engine.start()
    assert "error" not in engine_client.push([TRIAL])[0]


def test_an_engine_that_is_away_is_not_slow(engine):
    engine_client.push([TRIAL])
    engine.stop()
    with pytest.raises(EngineAway) as away:
        engine_client.push([TRIAL])
    assert not isinstance(away.value, EngineTimeout)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:no/api", "http://[::1/api", "http://[::1]/api"], ids=["no port", "half an IPv6", "IPv6"]
)
def test_an_address_where_no_engine_can_be_is_an_engine_that_is_away(settings, url):
    settings.ENGINE_API_URL = url
    with pytest.raises(EngineAway, match="can't be reached"):
        engine_client.push([TRIAL], timeout=0.5)


def test_an_engine_that_says_nothing_is_slow_and_its_connection_is_not_kept(settings):
    """What it says in the end must not be read as the answer to another request."""
    with _silent() as port:
        settings.ENGINE_API_URL = f"http://127.0.0.1:{port}/api"
        with pytest.raises(EngineTimeout):
            engine_client.push([TRIAL], timeout=0.2)
    assert not engine_client._kept


@contextmanager
def _silent() -> Iterator[int]:
    """Accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
