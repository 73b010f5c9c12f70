"""Pulse does each of its beats all the time, and one that waits or fails holds no other up."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from django.conf import settings

from portal import pulse
from portal.pulse import Beat

PATIENCE = 30


@pytest.fixture
def stop(monkeypatch) -> Iterator[threading.Event]:
    monkeypatch.setattr(pulse, "PAUSE_SECONDS", 0.01)
    stop = threading.Event()
    yield stop
    stop.set()


def start(stop: threading.Event, *beats: Beat) -> threading.Thread:
    thread = threading.Thread(target=pulse.run, args=(stop, beats))
    thread.start()
    return thread


def test_a_beat_that_hangs_holds_no_other_up_and_all_end_when_told(stop):
    hangs, done, again = threading.Event(), threading.Event(), []

    def count() -> None:
        again.append(1)
        if len(again) == 5:
            done.set()

    running = start(stop, Beat("hangs", 0.01, lambda: hangs.wait(PATIENCE)), Beat("counts", 0.01, count))
    assert done.wait(PATIENCE)
    stop.set()
    hangs.set()
    running.join(PATIENCE)
    assert not running.is_alive()


def test_a_beat_that_fails_says_so_once_and_goes_on(stop, caplog):
    outcomes, over = iter([OSError("away"), OSError("away"), None, None]), threading.Event()

    def fail_twice() -> None:
        outcome = next(outcomes, "over")
        if outcome == "over":
            over.set()
        elif outcome:
            raise outcome

    with caplog.at_level("INFO", logger="portal.pulse"):
        running = start(stop, Beat("figures", 0.01, fail_twice))
        assert over.wait(PATIENCE)
        stop.set()
        running.join(PATIENCE)
    assert [record.getMessage() for record in caplog.records] == ["figures waits: OSError: away", "figures goes on."]


def test_the_product_flushes_metrics_in_it():
    assert "metrics" in {beat.name for beat in pulse.BEATS}


def test_the_process_ends_when_told(tmp_path):
    """Even where there is no database yet: it waits for one."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "pulse"],
        cwd=settings.BASE_DIR,
        env={"DEBUG": "1", "LOCAL_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        while "Waiting for the database" not in (line := process.stderr.readline()):
            assert line, "it ended by itself"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
