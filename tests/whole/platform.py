"""The product as it really runs: its own processes, on free loopback ports, with their own database and secrets.

platform.kill("relay")         kill -9, as a crash would
platform.start("relay")        and it is back
platform.kill_every("engine")  where production has several of it (see topology.py), all of them
platform.inside.make_tenant()  what a colleague at the keyboard of the server could do (see inside.py)
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import psycopg

from neostack import processes
from tests.services import free_port

READY_WITHIN_SECONDS = 60
STOP_WITHIN_SECONDS = 10
LAST_LINES = 40


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 15, every: float = 0.02) -> Any:
    """The first true value of `condition`. Raises AssertionError that says what did not happen in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {seconds} s: {what}")
        time.sleep(every)
    return value


class Platform:
    """Everything `make run` starts, for one test session. Files (logs, SQLite, configuration) are in `home`."""

    def __init__(self, home: Path, engine: str = "process") -> None:
        self.home = home
        self.engine = engine
        self.port, self.engine_port = free_port(), free_port()
        self.url = f"http://localhost:{self.port}"
        self.database = Database(home, os.environ.get("DATABASE_URL", ""))
        self.clock_offset = home / "engine-clock-offset"
        self.environ = self._environment()
        self.commands = processes.commands(engine=engine, host="127.0.0.1", port=self.port, local_dir=home)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.inside: Inside = None  # type: ignore[assignment]  # both set by open()
        self.meanwhile: Inside = None  # type: ignore[assignment]

    def _environment(self) -> dict[str, str]:
        wired = processes.environment(engine=self.engine, port=self.port, engine_port=self.engine_port)
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
        return {
            **inherited,
            **wired,
            **self.secrets(),
            "DEBUG": "1",
            "LOCAL_DIR": str(self.home),
            "DATABASE_URL": self.database.url,
            "REDIS_URL": redis_of_its_own(os.environ.get("REDIS_URL", "")),
            # A killed worker's handlers wait so long for somebody else; the default is for slow mail servers.
            "HANDLER_LEASE_SECONDS": "10",
            "SIGNING_KEY_LEAD_SECONDS": "3",
            "ENGINE_CLOCK_OFFSET_FILE": str(self.clock_offset),
            "DJANGO_SETTINGS_MODULE": "neostack.settings",
        }

    @staticmethod
    def secrets() -> dict[str, str]:
        return processes.new_secrets()

    @property
    def socket_url(self) -> str:
        """Where browsers connect to the engine."""
        return urljoin(self.url.replace("http", "ws", 1), self.environ["ENGINE_CLIENT_URL"])

    # --- All of it ------------------------------------------------------------------------------------------------

    def open(self) -> "Platform":
        self.prepare()
        for name in self.commands:
            if name not in self.processes:
                self.start(name)
        self.inside, self.meanwhile = Inside(self), Inside(self)
        self.wait_ready()
        return self

    def prepare(self) -> None:
        """What has to be there before the first process of ours."""
        self.database.create()
        self.manage("prepare", f"--engine-config={processes.engine_config(self.home)}")

    def close(self) -> None:
        for hands in (self.inside, self.meanwhile):
            if hands:
                hands.close()
        self.end(self.processes)
        self.database.drop()

    def end(self, names: Iterable[str]) -> None:
        """Ask these to end, together; kill what has not within STOP_WITHIN_SECONDS."""
        ending = [self.processes[name] for name in names]
        for process in ending:
            process.terminate()
        deadline = time.monotonic() + STOP_WITHIN_SECONDS
        for process in ending:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_ready(self) -> None:
        """Web and engine answer. Raises AssertionError with the logs of what died instead."""
        wait_until(self._is_ready, "the platform answers", READY_WITHIN_SECONDS)

    def _is_ready(self) -> bool:
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with {process.returncode}:\n{self.logs(name)}")
        return all(self.answers(url) for url in self.must_answer())

    def must_answer(self) -> list[str]:
        return [f"{self.url}/accounts/login/", f"http://127.0.0.1:{self.engine_port}/"]

    @staticmethod
    def answers(url: str) -> bool:
        try:
            return httpx.get(url, timeout=5).status_code < 500
        except httpx.TransportError:
            return False

    # --- One process ------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        assert name not in self.processes, f"{name} runs already"
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands[name], stdout=log, stderr=subprocess.STDOUT, **self.options_of(name)
            )

    def options_of(self, name: str) -> dict[str, Any]:
        """How this process is started."""
        return processes.child_options(self.environ)

    def copies(self, part: str) -> list[str]:
        """The names of every process of this part: "relay" and, in production's topology, "relay2"."""
        return [name for name in self.commands if name.rstrip("0123456789") == part]

    def kill(self, name: str) -> None:
        """kill -9, and return when it is gone."""
        self._end(name, signal.SIGKILL)

    def kill_every(self, part: str) -> None:
        for name in self.copies(part):
            self.kill(name)

    def start_every(self, part: str) -> None:
        for name in self.copies(part):
            self.start(name)

    def stop(self, name: str) -> None:
        """Ask it to end, and return when it has."""
        self._end(name, signal.SIGTERM)

    def freeze(self, name: str) -> None:
        """SIGSTOP: nothing is lost, nothing answers, as when a network is cut."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def wait_caught_up(self, seconds: float = 60) -> None:
        """Everything committed is numbered, pushed and handled."""
        wait_until(lambda: not self.inside.behind(), "every cursor is at the end of the log", seconds, every=0.1)

    def ensure_all(self) -> None:
        """Start whatever a test left dead."""
        for name in self.commands:
            process = self.processes.get(name)
            if process is None or process.poll() is not None:
                self.processes.pop(name, None)
                self.start(name)
        self.wait_ready()

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def logs(self, name: str) -> str:
        path = self.home / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def last_words(self) -> str:
        """The end of every log, for a failure's report."""
        ends = {name: self.logs(name).splitlines()[-LAST_LINES:] for name in [*self.commands, "inside"]}
        return "\n".join(f"--- {name}\n" + "\n".join(lines) for name, lines in ends.items() if lines)

    def manage(self, *arguments: str, **told: str) -> str:
        """Run `manage.py` beside the processes, with this in its environment too. Returns what it printed."""
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=processes.BASE_DIR,
            env=self.environ | told,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, f"manage.py {' '.join(arguments)}:\n{result.stdout}{result.stderr}"
        return result.stdout

    def advance_engine_clock(self, seconds: float) -> None:
        """Put the embedded engine's clock so far ahead of the real one."""
        self.clock_offset.write_text(str(seconds))

    def _end(self, name: str, sign: signal.Signals) -> None:
        process = self.processes.pop(name)
        process.send_signal(sign)
        process.wait(STOP_WITHIN_SECONDS)


class Inside:
    """Calls the functions of `inside.py` in a process that has the platform's settings and database, one at a time."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        with (platform.home / "inside.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.whole.inside"],
                stdout=subprocess.PIPE,
                stderr=log,
                **processes.child_options(platform.environ) | {"stdin": subprocess.PIPE},
            )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda **arguments: self._call(name, arguments)

    def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        assert line, f"the process inside ended:\n{self._platform.logs('inside')}"
        result, error = json.loads(line)
        assert error is None, f"{name}: {error}"
        return result

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(STOP_WITHIN_SECONDS)


class Database:
    """A SQLite file in `home`, or a database of its own in the PostgreSQL that `server` (a DATABASE_URL) names."""

    def __init__(self, home: Path, server: str) -> None:
        self._server = server if server.startswith("postgres") else ""
        self._name = f"whole_{os.getpid()}_{free_port()}"
        if self._server:
            self.url = urlsplit(self._server)._replace(path=f"/{self._name}").geturl()
        else:
            self.url = f"sqlite:///{home / 'neostack.sqlite3'}"

    def create(self) -> None:
        self._say(f'CREATE DATABASE "{self._name}"')

    def drop(self) -> None:
        self._say(f'DROP DATABASE "{self._name}" WITH (FORCE)')

    def _say(self, statement: str) -> None:
        if self._server:
            with psycopg.connect(self._server, autocommit=True) as connection:
                connection.execute(statement)  # type: ignore[arg-type]  # a name made above


def redis_of_its_own(url: str) -> str:
    """The same server, another of its numbered databases than the one unit tests use."""
    return urlsplit(url)._replace(path="/1").geturl() if url else ""
