"""`python -m engine` with a clock that the test moves: what takes minutes elsewhere takes none here."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.clock import OFFSET_REREAD_SECONDS
from engine.tests.conformance.servers import ROOT, Server, grant, now, running, token

MINUTE = 60


@pytest.fixture
def offset_file(tmp_path: Path) -> Path:
    return tmp_path / "offset"


@pytest.fixture
def move_clock(offset_file: Path) -> Callable[[float], None]:
    """Put the engine's clock ahead by seconds; it notices when it has read the file again."""

    def move(seconds: float) -> None:
        offset_file.write_text(str(seconds))
        time.sleep(2 * OFFSET_REREAD_SECONDS)

    return move


@pytest.fixture
def server(offset_file: Path) -> Iterator[Server]:
    with running("embedded", environment={"ENGINE_CLOCK_OFFSET_FILE": str(offset_file)}) as server:
        yield server


def test_a_key_is_remembered_for_four_minutes_and_forgotten_after_six(
    server: Server, move_clock: Callable[[float], None]
) -> None:
    def publish() -> int:
        return int(server.result("publish", channel="tenant:a", data=1, idempotency_key="k")["offset"])

    assert publish() == 1
    move_clock(4 * MINUTE)
    assert publish() == 1
    move_clock(6 * MINUTE)
    assert publish() == 2


def test_versions_drop_doubles_however_long_the_outage_was(server: Server, move_clock: Callable[[float], None]) -> None:
    versioned = {"version": 7, "version_epoch": "log"}
    assert server.result("publish", channel="tenant:a", data=1, **versioned)["offset"] == 1
    move_clock(50 * MINUTE)
    assert server.result("publish", channel="tenant:a", data=1, **versioned)["offset"] == 1


async def test_tokens_and_connections_expire_by_the_engines_clock(
    server: Server, move_clock: Callable[[float], None]
) -> None:
    async with server.connected(exp=now() + 5 * MINUTE) as alice:
        await alice.subscribe("tenant:a", token=grant("tenant:a", exp=now() + 2 * MINUTE))
        move_clock(4 * MINUTE)
        assert (await alice.next())["push"]["unsubscribe"]["code"] == 2501
        assert await alice.subscribe("tenant:b", token=grant("tenant:b", exp=now() + MINUTE)) == 109
        move_clock(6 * MINUTE)
        assert await alice.next() == 3005


def test_a_configuration_that_cannot_be_used_says_why_and_starts_nothing(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"client": {"novelty": 1}}')
    run = subprocess.run(
        [sys.executable, "-m", "engine", "-c", str(config)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "client.novelty: this engine knows no such option" in run.stderr
    assert "Traceback" not in run.stderr


def test_who_never_reads_does_not_hold_its_connection_for_ever(server: Server) -> None:
    engine = psutil.Process(server.asked.process.pid)
    silent = Silent(server.asked.port)
    silent.send({"id": 1, "connect": {"token": token()}})
    silent.send({"id": 2, "subscribe": {"channel": "tenant:a", "token": grant("tenant:a")}})
    eventually(lambda: "tenant:a" in server.result("channels")["channels"])
    pad = [{"pad": "x" * 100_000}] * 20
    eventually(lambda: server.publish("tenant:a", *pad) and not server.result("channels")["channels"])
    eventually(lambda: silent.port not in {c.raddr.port for c in engine.net_connections("tcp") if c.raddr})
    silent.socket.close()


class Silent:
    """A WebSocket client that sends, and after the opening never reads a byte."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        headers = ["Host: a", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines = ["GET /connection/websocket HTTP/1.1", *headers, f"Sec-WebSocket-Key: {key}", "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        opening = b""
        while not opening.endswith(b"\r\n\r\n"):
            opening += self.socket.recv(1)

    def send(self, command: dict[str, object]) -> None:
        """One masked text frame, as RFC 6455 has it, with a mask of zeros."""
        payload = json.dumps(command).encode().ljust(126)  # long enough for a length of two bytes
        self.socket.sendall(b"\x81\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload)


def eventually(happened: Callable[[], bool], seconds: float = 25.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
