"""What `make run` starts: every process of the product, until Ctrl-C.

    python -m neostack.launcher                     start everything
    python -m neostack.launcher engine-stop         pull the plug on the engine of a running one (ENGINE=process)
    python -m neostack.launcher engine-start        and put it back
    python -m neostack.launcher engine-config       only write the configuration of an engine that runs elsewhere
    python -m neostack.launcher demo-reset          put the demo back to its start, while nothing runs

A process that ends by itself is started again; one that keeps ending brings everything down with a sentence that says
which. The engine is different: whoever stops it wants to see what the pages do, so it stays down until asked back.
"""

import asyncio
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import datetime
from typing import IO, Any

import psutil
from honcho.colour import get_colours
from honcho.printer import Message, Printer

from neostack import processes
from neostack.processes import LOCAL_DIR

ENV_FILE = LOCAL_DIR / "env"
LOCK_FILE = LOCAL_DIR / "run.lock"
READY_WITHIN_SECONDS = 60
STOP_WITHIN_SECONDS = 8
RESTART_AFTER_SECONDS = 1
#: A process that ends this often within this time is broken: starting it again would only hide that.
TOO_OFTEN = 3
TOO_OFTEN_WITHIN_SECONDS = 30
LINE_LIMIT_BYTES = 1 << 20
#: The demo says figures several times a second, day and night: in a month those would be gigabytes.
DEMO_SETTINGS = {"HIGH_VOLUME_EVENTS_KEPT_DAYS": "1"}


class CannotStart(Exception):
    """Nothing was started. The message says why, and what to do."""


@dataclass(frozen=True)
class Options:
    """What `make run NAME=value` may say."""

    engine: str
    host: str
    port: int
    demo: bool
    #: Somebody else started the engine, and said where (ENGINE_API_URL).
    engine_is_elsewhere: bool

    @property
    def starts_engine(self) -> bool:
        return self.engine != "embedded" and not self.engine_is_elsewhere

    @classmethod
    def from_environment(cls) -> "Options":
        engine = os.environ.get("ENGINE", "embedded")
        if engine not in processes.ENGINES:
            raise CannotStart(f"ENGINE={engine} is not known. It is one of: {', '.join(processes.ENGINES)}.")
        elsewhere = bool(os.environ.get("ENGINE_API_URL"))
        if engine == "centrifugo" and not elsewhere and not processes.CENTRIFUGO.exists():
            raise CannotStart("ENGINE=centrifugo needs .local/bin/centrifugo. Build it once: make centrifugo")
        port = os.environ.get("PORT", "8000")
        if not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 65536:
            raise CannotStart(f"PORT={port} is not a port. Use a number from 1 to 65535, for example PORT=9000.")
        return cls(
            engine=engine,
            host=os.environ.get("HOST", "127.0.0.1"),
            port=int(port),
            demo=os.environ.get("DEMO", "1").lower() not in {"0", "no", "false", ""},
            engine_is_elsewhere=elsewhere,
        )


class Launcher:
    """Starts the processes, prints what they say, and ends them together."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.environ = environment(options)
        self.commands = processes.commands(
            engine=options.engine if options.starts_engine else "",
            host=options.host,
            port=options.port,
            local_dir=LOCAL_DIR,
            demo=options.demo,
        )
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.stopping = asyncio.Event()
        self.failure = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._printer = Printer(sys.stdout, width=max(len(name) for name in self.commands))
        colours = get_colours()
        self._colours = {name: next(colours) for name in self.commands}

    async def run(self) -> int:
        """Until Ctrl-C, or until a process is beyond help. Returns the exit status."""
        self._listen_to_signals()
        for name in self.commands:
            self._background(self._keep_running(name))
        self._background(self._announce())
        await self.stopping.wait()
        await self._end_all()
        if self.failure:
            print(f"\n{self.failure}", file=sys.stderr)
            return 1
        return 0

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(sign, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGUSR1, self._stop_engine)
        loop.add_signal_handler(signal.SIGUSR2, self._start_engine)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _asked_to_stop(self) -> None:
        if self.stopping.is_set():  # a second Ctrl-C: somebody is in a hurry
            self._signal_groups(signal.SIGKILL)
            return
        print("\nStopping everything ...", flush=True)
        self.stopping.set()

    # --- One process ------------------------------------------------------------------------------------------------

    async def _keep_running(self, name: str) -> None:
        ends: deque[float] = deque(maxlen=TOO_OFTEN)
        while not self.stopping.is_set():
            code = await self._run_once(name)
            if self.stopping.is_set():
                return
            if name == "engine":
                self._say(name, f"stopped ({_meaning(code)}). It stays down until: make engine-start")
                return
            ends.append(time.monotonic())
            if len(ends) == TOO_OFTEN and ends[-1] - ends[0] < TOO_OFTEN_WITHIN_SECONDS:
                self.failure = (
                    f"{name} ended {TOO_OFTEN} times in {TOO_OFTEN_WITHIN_SECONDS} s (last: {_meaning(code)}), "
                    f"so everything was stopped. Its own words are above, on the lines that begin with {name}."
                )
                self.stopping.set()
                return
            self._say(name, f"ended ({_meaning(code)}); starting it again in {RESTART_AFTER_SECONDS} s")
            await asyncio.sleep(RESTART_AFTER_SECONDS)

    async def _run_once(self, name: str) -> int:
        process = await asyncio.create_subprocess_exec(
            *self.commands[name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            limit=LINE_LIMIT_BYTES,
            **processes.child_options(self.environ),
        )
        self.running[name] = process
        self._background(self._relay_output(name, process))
        code = await process.wait()
        del self.running[name]
        return code

    async def _relay_output(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        while not process.stdout.at_eof():
            try:
                line = await process.stdout.readline()
            except ValueError:
                line = b"(a line longer than 1 MiB was left out)"
            self._say(name, line.decode("utf-8", "replace").rstrip())

    def _say(self, name: str, text: str) -> None:
        self._printer.write(
            Message(type="line", data=text, time=datetime.now(), name=name, colour=self._colours.get(name))
        )

    # --- The engine, which may be stopped on purpose ------------------------------------------------------------------

    def _stop_engine(self) -> None:
        if engine := self.running.get("engine"):
            engine.kill()  # the plug, not a farewell

    def _start_engine(self) -> None:
        if "engine" in self.commands and "engine" not in self.running:
            self._say("engine", "starting again")
            self._background(self._keep_running("engine"))

    # --- All of them --------------------------------------------------------------------------------------------------

    async def _announce(self) -> None:
        """Print the address once it answers."""
        url = f"http://127.0.0.1:{self.options.port}/"
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not await asyncio.to_thread(_answers, url):
            if self.stopping.is_set():
                return
            if time.monotonic() > deadline:
                self.failure = f"Nothing answered at {url} within {READY_WITHIN_SECONDS} s, so everything was stopped."
                self.stopping.set()
                return
            await asyncio.sleep(0.1)
        print(welcome(self.options), flush=True)

    async def _end_all(self) -> None:
        """SIGTERM to each, SIGKILL to what is left of their groups after STOP_WITHIN_SECONDS."""
        for process in list(self.running.values()):
            process.terminate()
        groups = {process.pid for process in self.running.values()}
        await asyncio.wait(self._tasks, timeout=STOP_WITHIN_SECONDS)
        for group in groups:
            _signal_group(group, signal.SIGKILL)

    def _signal_groups(self, sign: int) -> None:
        for process in self.running.values():
            _signal_group(process.pid, sign)


def welcome(options: Options) -> str:
    url = f"http://localhost:{options.port}"
    lines = ["", f"  NEO_STACK is ready at {url}", ""]
    if options.demo:
        lines += [
            "  Sign in with the password demo-neostack as",
            "    alice@acme.example       tenant admin of Acme",
            "    bob@acme.example         tenant user of Acme",
            "    charlie@globex.example   tenant admin of Globex",
            f"    admin@neostack.example   platform admin ({url}/admin/)",
            "",
            "  Open it as Alice in two windows, press Deploy in one, and watch both.",
        ]
    if options.starts_engine:
        lines += ["  Pull the plug on the engine with `make engine-stop`, put it back with `make engine-start`."]
    return "\n".join([*lines, "  Ctrl-C ends every process.", ""])


def main(arguments: list[str]) -> int:
    if os.environ.get("MAKELEVEL"):
        processes.end_with_parent()
    try:
        match arguments:
            case []:
                return _start()
            case ["engine-stop"]:
                return _tell_running_one(signal.SIGUSR1)
            case ["engine-start"]:
                return _tell_running_one(signal.SIGUSR2)
            case ["engine-config"]:
                return _write_engine_config()
            case ["demo-reset"]:
                return _reset_demo()
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except CannotStart as reason:
        print(f"\n{reason}\n", file=sys.stderr)
        return 1


def _start() -> int:
    options = Options.from_environment()
    LOCAL_DIR.mkdir(parents=True, exist_ok=True)
    lock = _lock()
    _refuse_taken_port(options)
    lock.write(f"{os.getpid()} http://localhost:{options.port} {options.engine}\n")
    lock.flush()

    launcher = Launcher(options)
    try:
        _prepare(options, launcher.environ)
        return asyncio.run(launcher.run())
    except KeyboardInterrupt:
        return 0


def _prepare(options: Options, environ: dict[str, str]) -> None:
    command = [sys.executable, "manage.py", "prepare"]
    if options.starts_engine:
        command.append(f"--engine-config={processes.engine_config(LOCAL_DIR)}")
    if options.demo:
        command.append("--demo")
    if subprocess.run(command, cwd=processes.BASE_DIR, env=environ).returncode:
        raise CannotStart("Nothing was started: the database could not be prepared (see above).")


def _write_engine_config() -> int:
    """For an engine that somebody else starts: docker-compose.services.yml reads this file."""
    LOCAL_DIR.mkdir(parents=True, exist_ok=True)
    target = processes.engine_config(LOCAL_DIR)
    with target.open("w") as file:
        target.chmod(0o600)
        command = [sys.executable, "manage.py", "centrifugo_config"]
        environ = environment(Options.from_environment())
        return subprocess.run(command, cwd=processes.BASE_DIR, env=environ, stdout=file).returncode


def _reset_demo() -> int:
    """Delete the database of this checkout, and what belongs to it, and make the demo anew. Secrets are kept."""
    LOCAL_DIR.mkdir(parents=True, exist_ok=True)
    options = replace(Options.from_environment(), demo=True)
    environ = environment(options)
    if database := environ.get("DATABASE_URL") or _dot_env().get("DATABASE_URL"):
        raise CannotStart(
            f"Nothing was changed: DATABASE_URL names {_without_password(database)}, and only the SQLite database in "
            f"{LOCAL_DIR} is reset. Empty that one yourself; `make run` then makes the demo in it."
        )
    with _lock():
        if sys.stdin.isatty() and not _confirmed(f"Delete every tenant, person and deployment in {LOCAL_DIR}? [y/N] "):
            print("Nothing was changed.")
            return 1
        _remove_data()
        _prepare(options, environ)
    print("The demo is as it was at first. Start it with: make run")
    return 0


def _confirmed(question: str) -> bool:
    return input(question).strip().lower() in {"y", "yes"}


def _remove_data() -> None:
    for name in ("neostack.sqlite3", "celery.sqlite3", "celerybeat-schedule", processes.agent_key(LOCAL_DIR).name):
        for file in LOCAL_DIR.glob(f"{name}*"):  # with SQLite's -wal and -shm
            file.unlink()
    shutil.rmtree(LOCAL_DIR / "runs", ignore_errors=True)


def _dot_env() -> dict[str, str]:
    """What settings read from .env."""
    file = processes.BASE_DIR / ".env"
    return processes.read_env_file(file) if file.exists() else {}


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//...@", url)


def environment(options: Options) -> dict[str, str]:
    """The caller's environment comes first, then the secrets kept in .local/env, then what the options imply."""
    engine_port = _free_port(near=options.port + 1) if options.starts_engine else None
    implied = processes.environment(engine=options.engine, port=options.port, engine_port=engine_port)
    implied |= DEMO_SETTINGS if options.demo else {}
    given = {name: value for name, value in os.environ.items() if value}
    return {"DEBUG": "1"} | _kept_secrets() | implied | given | {"DEMO": "1" if options.demo else "0"}


def _kept_secrets() -> dict[str, str]:
    """This checkout's own, made at its first start; one that a newer version needs is added."""
    if not ENV_FILE.exists():
        ENV_FILE.touch(mode=0o600)
        ENV_FILE.write_text("# Made by `make run` for this checkout. Not for production.\n")
    kept = processes.read_env_file(ENV_FILE)
    missing = {name: value for name, value in processes.new_secrets().items() if name not in kept}
    with ENV_FILE.open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in missing.items())
    return kept | missing


def _lock() -> IO[str]:
    """One `make run` a checkout: two would share a database and every lease in it."""
    lock = LOCK_FILE.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        pid, url, _ = [*lock.read().split(), "?", "?", "?"][:3]
        raise CannotStart(
            f"NEO_STACK already runs from this directory: {url} (process {pid}). Use that one, or end it with Ctrl-C."
        ) from None
    lock.truncate(0)
    return lock


def _tell_running_one(sign: signal.Signals) -> int:
    words = LOCK_FILE.read_text().split() if LOCK_FILE.exists() else []
    if len(words) != 3 or not _is_locked():
        raise CannotStart("Nothing runs from this directory. Start it first: make run ENGINE=process")
    if words[2] == "embedded":
        raise CannotStart("This engine is part of the web process. To stop it alone, use: make run ENGINE=process")
    os.kill(int(words[0]), sign)
    return 0


def _is_locked() -> bool:
    with LOCK_FILE.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _refuse_taken_port(options: Options) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except PermissionError:
            raise CannotStart(
                f"Port {options.port} needs privileges. Choose one above 1023: make run PORT=9000"
            ) from None
        except OSError:
            taken = f"Port {options.port} is taken{_who_listens(options.port)}."
            raise CannotStart(f"{taken} Choose another: make run PORT={options.port + 1000}") from None


def _who_listens(port: int) -> str:
    """ " by python3 (process 123)", or nothing where the system does not tell."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return ""
    return ""


def _free_port(near: int) -> int:
    """The first port from `near` on that nobody listens on."""
    for port in range(near, near + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CannotStart(f"No free port for the engine from {near} to {near + 199}.")


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  our own address
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def _signal_group(group: int, sign: int) -> None:
    try:
        os.killpg(group, sign)
    except ProcessLookupError:
        return


def _meaning(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
