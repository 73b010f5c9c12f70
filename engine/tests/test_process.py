"""`python -m engine` with a clock that the test moves: what takes minutes elsewhere takes none here."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.clock import OFFSET_REREAD_SECONDS
from engine.tests.conformance.servers import ROOT, Server, grant, now, running

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
