"""The launcher's own rules, on small processes; tests/whole/test_make_run.py starts the real ones."""

import asyncio
import sys
from types import SimpleNamespace

import pytest

from neostack import launcher
from neostack.launcher import Launcher, Options

pytestmark = pytest.mark.once


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "ENV_FILE", tmp_path / "env")
    monkeypatch.setattr(launcher, "RESTART_AFTER_SECONDS", 0.05)

    def make(**scripts: str) -> Launcher:
        options = Options(engine="process", host="127.0.0.1", port=1, demo=False, engine_is_elsewhere=False)
        made = Launcher(options)
        made.commands = {name: [sys.executable, "-c", script] for name, script in scripts.items()}
        return made

    return make


async def heard(capsys, words: str) -> str:
    """What was printed until these words came."""
    out = ""
    async with asyncio.timeout(30):
        while words not in out:
            await asyncio.sleep(0.02)
            out += capsys.readouterr().out
    return out


async def test_a_process_that_keeps_ending_ends_everything_with_a_sentence(start, capsys):
    made = start(relay="print('no database'); raise SystemExit(3)", runner="import time; time.sleep(60)")
    assert await asyncio.wait_for(made.run(), 30) == 1
    said = capsys.readouterr()
    assert "relay ended 3 times in 30 s (last: with status 3), so everything was stopped." in said.err
    assert "no database" in said.out
    assert not made.running


async def test_an_engine_that_ended_stays_down(start, capsys):
    made = start(engine="", runner="import time; time.sleep(60)")
    running = asyncio.create_task(made.run())
    await heard(capsys, "It stays down until: make engine-start")
    assert set(made.running) == {"runner"}
    made.stopping.set()
    assert await asyncio.wait_for(running, 30) == 0


async def test_a_line_without_end_is_left_out_and_the_process_goes_on(start, capsys):
    made = start(web="print('x' * 3_000_000); print('still here', flush=True); import time; time.sleep(60)")
    running = asyncio.create_task(made.run())
    assert "a line longer than 1 MiB was left out" in await heard(capsys, "still here")
    made.stopping.set()
    assert await asyncio.wait_for(running, 30) == 0


def test_a_checkout_keeps_its_secrets_and_gets_the_ones_that_are_new(start):
    launcher.ENV_FILE.write_text("SECRET_KEY=kept\n")
    first = start().environ
    assert first["SECRET_KEY"] == "kept"
    assert len(first["GATE_KEY"]) >= 32
    assert start().environ["GATE_KEY"] == first["GATE_KEY"]


def test_whoever_sits_at_a_terminal_is_asked_before_the_demo_is_reset(start, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launcher, "LOCAL_DIR", tmp_path)
    monkeypatch.setattr(launcher, "LOCK_FILE", tmp_path / "run.lock")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or "")
    (tmp_path / "neostack.sqlite3").write_text("precious")
    assert launcher.main(["demo-reset"]) == 1
    assert len(questions) == 1
    assert str(tmp_path) in questions[0]
    assert "Nothing was changed." in capsys.readouterr().out
    assert (tmp_path / "neostack.sqlite3").read_text() == "precious"


@pytest.mark.parametrize(("demo", "given", "kept"), [(True, "", "1"), (True, "7", "7"), (False, "", None)])
def test_the_demo_keeps_its_figures_for_a_day_unless_told_otherwise(start, monkeypatch, demo, given, kept):
    monkeypatch.setenv("HIGH_VOLUME_EVENTS_KEPT_DAYS", given)
    options = Options(engine="embedded", host="127.0.0.1", port=1, demo=demo, engine_is_elsewhere=False)
    assert launcher.environment(options).get("HIGH_VOLUME_EVENTS_KEPT_DAYS") == kept
