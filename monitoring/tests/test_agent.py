"""The agent: what it measures is real, what it can't send it keeps and says so, and it ends when it is told to."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.conf import settings

from monitoring import agent
from monitoring.agent import Machine, Outbox, Platform

pytestmark = pytest.mark.once
SECRET = "prefix.the-secret-of-this-test"


class Stub:
    """Answers as the platform does: `answers` come first, one a request; 200 when there are none left."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.batches: list[list[dict[str, Any]]] = []
        self.keys: set[str] = set()
        self.hangs = threading.Event()
        self.asked = threading.Event()
        self.over = threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.keys.add(self.headers["Authorization"])
                stub.asked.set()
                if stub.hangs.is_set():
                    stub.over.wait(60)
                    return
                status, headers, answer = stub.answers.pop(0) if stub.answers else (200, {}, {})
                if status == 200:
                    stub.batches.append(body["samples"])
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def values(self) -> list[float]:
        return [sample["value"] for batch in self.batches for sample in batch]


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.over.set()
    stub.server.shutdown()
    stub.server.server_close()


def samples(*values: int) -> list[dict[str, Any]]:
    return [{"name": "load_1m", "value": value, "unit": "", "at": "2026-11-23T12:00:00Z"} for value in values]


@pytest.fixture
def said(caplog) -> Any:
    caplog.set_level(logging.INFO, logger="monitoring.agent")
    return lambda: [record.getMessage() for record in caplog.records]


def test_what_it_measures_is_this_machine():
    machine = Machine()
    found = {one["name"]: one for one in machine.measure()}
    assert {"cpu_percent", "memory_percent", "disk_percent", "load_1m"} <= set(found)
    for name in ("cpu_percent", "memory_percent", "disk_percent"):
        assert 0 <= found[name]["value"] <= 100
    assert found["memory_percent"]["value"] > 0
    for name in ("network_in_bytes_per_second", "network_out_bytes_per_second"):
        assert found[name]["value"] >= 0


def test_what_came_while_the_platform_was_away_is_sent_in_order_when_it_is_back(stub, said):
    outbox = Outbox(Platform("http://127.0.0.1:9", SECRET))
    for number in range(3):
        outbox.add(samples(number))
        outbox.send()
    outbox._platform = Platform(stub.url, SECRET)
    outbox.add(samples(3))
    outbox.send()
    assert stub.values == [0, 1, 2, 3]
    assert stub.keys == {f"Api-Key {SECRET}"}
    assert len(outbox) == 0
    kept = [words for words in said() if words.startswith("Keeping up to 12000 samples")]
    assert len(kept) == 1, "said once, not at each try"


def test_of_too_much_the_newest_is_kept_and_it_says_how_much_is_lost(stub, said):
    outbox = Outbox(Platform(stub.url, SECRET), limit=5)
    outbox.add(samples(0))
    outbox.send()
    stub.answers = [(503, {}, {})]
    outbox.add(samples(*range(1, 6)))
    outbox.send()
    outbox.add(samples(6, 7))
    outbox.send()
    assert stub.values == [0, 3, 4, 5, 6, 7]
    assert "Sending again; 5 samples had been kept, 2 were dropped." in said()


def test_a_batch_that_is_refused_for_good_does_not_stand_in_the_way(stub, said):
    detail = {"attr": "samples.0.at", "detail": "It is more than 43200 s old."}
    stub.answers = [(400, {}, {"errors": [detail]})]
    outbox = Outbox(Platform(stub.url, SECRET))
    outbox.add(samples(1))
    outbox.send()
    outbox.add(samples(2))
    outbox.send()
    assert stub.values == [2]
    assert any(
        "1 samples are lost" in words and "samples.0.at It is more than 43200 s old." in words for words in said()
    )


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_a_key_that_is_not_accepted_is_said_and_tried_again_later(stub, said, status, monkeypatch):
    stub.answers = [(status, {"Location": f"{stub.url}/elsewhere"}, {"errors": [{"attr": None, "detail": "Revoked."}]})]
    outbox = Outbox(Platform(stub.url, SECRET))
    outbox.add(samples(1))
    outbox.send()
    outbox.send()
    assert stub.values == [], "not asked again at once, and not sent elsewhere"
    assert any("Revoked." in words for words in said())
    monkeypatch.setattr(outbox, "_not_before", 0.0)
    outbox.send()
    assert stub.values == [1]


def test_it_waits_as_long_as_it_is_told_to(stub):
    stub.answers = [(429, {"Retry-After": "3"}, {})]
    outbox = Outbox(Platform(stub.url, SECRET))
    outbox.add(samples(1))
    before = time.monotonic()
    outbox.send()
    assert 3 <= outbox._not_before - before < 4
    assert len(outbox) == 1


def test_a_long_absence_is_made_up_for_in_several_batches(stub):
    outbox = Outbox(Platform(stub.url, SECRET))
    outbox.add(samples(*range(3_000)))
    outbox.send()
    assert [len(batch) for batch in stub.batches] == [500] * 5
    outbox.send()
    assert stub.values == list(range(3_000))


COMMANDS = {
    "by itself": ["-m", "monitoring.agent"],
    "with manage.py": ["manage.py", "agent"],
}


@pytest.mark.parametrize("how", COMMANDS)
def test_the_process_sends_with_a_key_nobody_sees_and_ends_when_told_even_while_a_request_hangs(stub, how, tmp_path):
    command = [sys.executable, *COMMANDS[how], "--url", stub.url, "--every", "0.2"]
    environ = os.environ | {"DEBUG": "1", "LOCAL_DIR": str(tmp_path), agent.KEY_VARIABLE: SECRET}
    process = subprocess.Popen(
        command, cwd=settings.BASE_DIR, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while not stub.batches and time.monotonic() < deadline:
            time.sleep(0.02)
        assert {one["name"] for one in stub.batches[0]} >= {"cpu_percent", "load_1m"}
        stub.hangs.set()
        stub.asked.clear()
        assert stub.asked.wait(30)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert SECRET not in out + " ".join(command)
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--url", "app.example.com"], "It looks like https://"),
        (["--url", "http://127.0.0.1:9"], "AGENT_API_KEY"),
        (["--url", "http://127.0.0.1:9", "--key-file", "/nowhere"], "The key can't be read from /nowhere"),
        (["--url", "http://127.0.0.1:9", "--every", "0"], "0.2 to 3600"),
    ],
)
def test_started_in_a_way_that_cannot_work_it_says_what_to_do(arguments, words):
    environ = {name: value for name, value in os.environ.items() if name != agent.KEY_VARIABLE}
    if "app.example.com" in arguments:
        environ[agent.KEY_VARIABLE] = SECRET
    result = subprocess.run(
        [sys.executable, "-m", "monitoring.agent", *arguments],
        cwd=settings.BASE_DIR,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0
    assert words in result.stderr
    assert "Traceback" not in result.stderr
