"""What this machine has for one test run: PostgreSQL and Redis, private to it; a browser; the real Centrifugo.

Imports nothing of ours: importing `neostack` would set the settings module for every process started from here.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START_WITHIN_SECONDS = 30
#: For a PostgreSQL whose data need not outlive the machine.
CAREFREE = ["-c", "fsync=off", "-c", "full_page_writes=off"]


class NotHere(Exception):
    """The service cannot be started on this machine. The message says why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def has_centrifugo() -> bool:
    return (ROOT / ".local/bin/centrifugo").exists()


def chromium() -> str | None:
    """Where a browser is: best the one without windows, which takes a quarter of the CPU to open a page."""
    names = ("chromium-headless-shell", "chromium", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def postgres(*, waits_for_disk: bool = False) -> Iterator[str]:
    """The address (DATABASE_URL) of a new, empty PostgreSQL cluster. Raises NotHere.

    `waits_for_disk` as in production, for whoever measures. What tests break is processes, and not the machine.
    """
    home, port = directory_for_postgres(), free_port()
    try:
        new_postgres(home)
        disk = [] if waits_for_disk else CAREFREE
        with _running([*postgres_command(home, port), *disk], signal.SIGINT, **not_root()):
            _until(lambda: made_database(port), f"PostgreSQL did not answer on port {port}")
            yield f"postgres://neostack@127.0.0.1:{port}/neostack"
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def redis() -> Iterator[str]:
    """The address (REDIS_URL) of a new Redis that keeps nothing on disk. Raises NotHere."""
    with tempfile.TemporaryDirectory(prefix="neo-redis-") as home:
        port = free_port()
        with _running(redis_command(Path(home), port), signal.SIGTERM):
            _until(lambda: _accepts(port), f"Redis did not answer on port {port}")
            yield f"redis://127.0.0.1:{port}/0"


def directory_for_postgres() -> Path:
    """A new directory that belongs to whoever runs PostgreSQL. Raises NotHere."""
    _postgres_binaries()
    home = Path(tempfile.mkdtemp(prefix="neo-pg-"))
    if not os.getuid():
        shutil.chown(home, "postgres", "postgres")
    return home


def new_postgres(home: Path) -> None:
    """An empty cluster in `home`, which trusts everybody on this machine."""
    initdb: list[Any] = [_postgres_binaries() / "initdb", "-D", home / "data", "-U", "neostack", "--auth=trust"]
    options = ["--encoding=UTF8", "--locale=C", "--no-sync"]
    subprocess.run([*initdb, *options], check=True, stdout=subprocess.DEVNULL, cwd="/", **not_root())


def postgres_command(home: Path, port: int) -> list[str]:
    """To be started with the options of `not_root`."""
    server = _postgres_binaries() / "postgres"
    where = ["-D", str(home / "data"), "-p", str(port), "-k", str(home), "-h", "127.0.0.1"]
    return [str(server), *where, "-c", "max_connections=200", "-c", "log_min_messages=panic"]


def made_database(port: int) -> bool:
    command: list[Any] = [_postgres_binaries() / "createdb", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run([*command, "-U", "neostack", "neostack"], capture_output=True).returncode == 0


def redis_command(home: Path, port: int) -> list[str]:
    """A Redis that keeps nothing on disk. Raises NotHere."""
    if not (server := shutil.which("redis-server")):
        raise NotHere("redis-server is not installed")
    return [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)]


def nginx() -> str:
    """The proxy of the tests' topology. Raises NotHere."""
    if not (server := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")):
        raise NotHere("nginx is not installed")
    return server


def _postgres_binaries() -> Path:
    """The newest installed server. Debian keeps them out of PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not versions:
        raise NotHere("PostgreSQL is not installed")
    return versions[-1].parent


def not_root() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then its own user runs it."""
    return {} if os.getuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}


@contextmanager
def _running(command: list[Any], goodbye: signal.Signals, **options: Any) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd="/", **options)
    try:
        yield
    finally:
        process.send_signal(goodbye)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + START_WITHIN_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise NotHere(otherwise)
        time.sleep(0.05)
