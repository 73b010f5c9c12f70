"""The port at which a process without pages tells its numbers: to whom, and what when the port is taken."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from events import liveness, scraping
from events.scraping import may_read, serve
from tests.services import free_port

KEY = "a-key-for-prometheus"


@pytest.fixture
def served(settings) -> Iterator[ThreadingHTTPServer]:
    settings.METRICS_KEY, settings.METRICS_PORT = KEY, free_port()
    server = serve()
    assert server
    yield server
    server.shutdown()
    server.server_close()


def ask(server: ThreadingHTTPServer, path: str = "/metrics", key: str = "") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def test_whoever_has_the_key_reads_the_numbers_and_nobody_else(served):
    status, text = ask(served, key=KEY)
    assert status == 200
    assert "neostack_delivery_seconds_bucket" in text
    assert 'neostack_pushed_publications_total{outcome="refused"}' in text
    assert ask(served) == (403, scraping.REFUSED)
    assert ask(served, key="wrong") == (403, scraping.REFUSED)
    assert ask(served, "/etc/passwd", KEY)[0] == 404


def test_without_a_key_only_this_machine_may_read_and_not_through_a_proxy(settings):
    settings.METRICS_KEY = ""
    assert may_read("", "127.0.0.1")
    assert may_read("", "::1")
    assert not may_read("", "127.0.0.1", through_proxy=True)
    assert not may_read("", "203.0.113.5")
    assert not may_read("Bearer ", "203.0.113.5")


def test_without_a_port_nothing_listens(settings):
    settings.METRICS_PORT = 0
    assert serve() is None


def test_a_port_that_is_taken_is_said_and_stops_nobodys_work(served, caplog):
    assert serve() is None
    assert "METRICS_PORT" in caplog.text


def test_a_process_whose_loop_hangs_is_not_well_although_its_port_answers(served, monkeypatch):
    monkeypatch.setattr(liveness, "_turned_at", {})
    stop = liveness.Stop()
    assert ask(served, "/healthz") == (200, "main turned 0.0 s ago\n")
    late = time.monotonic() + liveness.TURNS_WITHIN_SECONDS
    monkeypatch.setattr(liveness.time, "monotonic", lambda: late)
    assert ask(served, "/healthz") == (503, "main turned 120.0 s ago\n")
    stop.is_set()
    assert ask(served, "/healthz")[0] == 200


def test_one_hanging_loop_of_several_is_enough(served, monkeypatch):
    monkeypatch.setattr(liveness, "_turned_at", {"alerts": time.monotonic() - liveness.TURNS_WITHIN_SECONDS})
    liveness.turned()
    assert ask(served, "/healthz")[0] == 503
