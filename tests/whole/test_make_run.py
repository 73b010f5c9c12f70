"""`make run` as a newcomer meets it: it says where to look, survives a fall, and leaves nothing behind."""

import os
import re
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import expect

from neostack import processes
from tests.services import free_port, has_centrifugo
from tests.whole.conftest import Window
from tests.whole.platform import wait_until

pytestmark = pytest.mark.once

READY_WITHIN_SECONDS = 60
GONE_WITHIN_SECONDS = 12


class MakeRun:
    """One `make run` in a directory of its own, with what it printed."""

    def __init__(self, local: Path, **options: Any) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self._output = local / "output"
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        settings = [f"{name}={value}" for name, value in {"PORT": self.port, **options}.items()]
        self.process = subprocess.Popen(
            ["make", "--no-print-directory", "run", *settings],
            cwd=processes.BASE_DIR,
            env=environ | {"LOCAL_DIR": str(local)},
            stdin=subprocess.DEVNULL,
            stdout=self._output.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_ready(self) -> "MakeRun":
        wait_until(
            lambda: "NEO_STACK is ready" in self.output or self.process.poll() is not None,
            "ready",
            READY_WITHIN_SECONDS,
        )
        assert "NEO_STACK is ready" in self.output, self.output
        return self

    def everything(self) -> list[psutil.Process]:
        """make, the launcher, and all below."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def find(self, word: str) -> psutil.Process | None:
        """The living child whose command line has this word in it."""
        for child in self.everything():
            with suppress(psutil.Error):  # it ended while we looked
                if word in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                    return child
        return None

    def press_ctrl_c(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.press_ctrl_c()
            self.process.wait(GONE_WITHIN_SECONDS)


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., MakeRun]]:
    started: list[MakeRun] = []

    def start(**options: Any) -> MakeRun:
        started.append(MakeRun(tmp_path, **options))
        return started[-1]

    yield start
    for one in started:
        one.end()


def expect_gone(all_of_them: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(all_of_them, timeout=GONE_WITHIN_SECONDS)
    assert not alive, [process.cmdline() for process in alive]


def test_it_says_where_to_look_restarts_what_falls_and_ctrl_c_leaves_nothing(make_run):
    run = make_run().wait_ready()
    for words in (run.url, "alice@acme.example", "charlie@globex.example", "demo-neostack"):
        assert words in run.output
    assert httpx.get(run.url, follow_redirects=True).status_code == 200
    again = make_run()
    assert again.process.wait(20) != 0
    assert f"already runs from this directory: {run.url}" in again.output

    worker = run.find("worker")
    worker.kill()
    worker.wait(5)
    wait_until(lambda: run.find("worker"), "the worker is back")
    assert re.search(r"worker +\| ended \(by SIGKILL\); starting it again", run.output)

    all_of_them = run.everything()
    assert len(all_of_them) >= 7
    run.press_ctrl_c()
    expect_gone(all_of_them)
    assert "Traceback" not in run.output


def test_the_demo_lives_without_a_click(make_run, tmp_path):
    run = make_run().wait_ready()

    def logged(kind: str, words: str) -> int:
        with closing(sqlite3.connect(tmp_path / "neostack.sqlite3", timeout=20)) as database:
            query = "SELECT COUNT(*) FROM events_event WHERE type = ? AND summary LIKE ?"
            return int(database.execute(query, [kind, f"%{words}%"]).fetchone()[0])

    wait_until(lambda: logged("metrics_update", "cpu_percent") > 2, "this machine's metrics move", 60)
    wait_until(lambda: logged("deployment_update", "Demo schedule deployed"), "something is deployed", 90)
    assert stat.S_IMODE((tmp_path / "agent-key").stat().st_mode) == 0o600
    secret = (tmp_path / "agent-key").read_text().strip()
    assert secret not in run.output + "".join(" ".join(process.cmdline()) for process in run.everything())


@pytest.mark.browser
@pytest.mark.parametrize("engine", ["embedded", "centrifugo"])
def test_the_demo_deploys_live_with_everything_in_its_default_place(make_run, browser, engine):
    if engine == "centrifugo" and not has_centrifugo():
        pytest.skip("Centrifugo is not built (make centrifugo)")
    run = make_run(ENGINE=engine).wait_ready()
    alice = Window(browser.new_context(base_url=run.url), run.url)
    page = alice.open("/accounts/login/")
    page.get_by_label("E-mail").fill("alice@acme.example")
    page.get_by_label("Password").fill("demo-neostack")
    page.get_by_role("button", name="Sign in").click()
    alice.open("/t/acme/deployments/new/?stack=broken")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_test_id("live-mark")).to_contain_text("Live")
    # It may have to wait for one of the demo's own.
    expect(page.locator("#deployment").get_by_test_id("status")).to_have_text("Failed", timeout=90_000)
    alice.context.close()
    assert not alice.problems


@pytest.mark.parametrize(("kind", "word"), [("process", "engine"), ("centrifugo", str(processes.CENTRIFUGO))])
def test_the_engine_stays_down_until_asked_back_and_nothing_outlives_a_killed_launcher(make_run, tmp_path, kind, word):
    if kind == "centrifugo" and not has_centrifugo():
        pytest.skip("Centrifugo is not built (make centrifugo)")
    run = make_run(ENGINE=kind, DEMO=0).wait_ready()
    assert "alice@acme.example" not in run.output
    engine = run.find(word)
    tell(tmp_path, "engine-stop")
    wait_until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE, "the engine is gone")
    wait_until(lambda: "It stays down until: make engine-start" in run.output, "it says so")
    tell(tmp_path, "engine-start")
    wait_until(lambda: run.find(word), "the engine is back")

    all_of_them = run.everything()
    run.find("neostack.launcher").kill()
    expect_gone(all_of_them)


def tell(local: Path, what: str) -> None:
    environ = {"PATH": os.environ["PATH"], "LOCAL_DIR": str(local)}
    subprocess.run(["make", what], cwd=processes.BASE_DIR, env=environ, check=True, capture_output=True)
