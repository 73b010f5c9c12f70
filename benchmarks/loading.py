"""Thousands of browsers without the browsers: a Go program, benchmarks/loadclient, built when it is first needed."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neostack.processes import BASE_DIR, CENTRIFUGO, child_options
from tests.services import NotHere

SOURCE = BASE_DIR / "benchmarks" / "loadclient"
PROGRAM = CENTRIFUGO.parent / "loadclient"
#: Where Go's own installer puts it, without changing PATH.
GO = "/usr/local/go/bin/go"


def built() -> Path:
    """The program, built again when its source is newer. Raises NotHere without Go."""
    newest = max(path.stat().st_mtime for path in SOURCE.iterdir())
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= newest:
        return PROGRAM
    go = shutil.which("go") or (GO if Path(GO).exists() else None)
    if go is None:
        raise NotHere("the load client needs Go 1.26 or newer (https://go.dev/dl/), and no go was found on PATH")
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([go, "build", "-o", str(PROGRAM), "."], cwd=SOURCE, check=True)
    return PROGRAM


@dataclass(frozen=True)
class Count:
    """What the load client has counted. Moments are Unix seconds, latencies milliseconds since the event's timestamp.

    `ready` clients have all their subscriptions now; `connects` and `lost` count connections since the beginning;
    `gaps` and `repeats` are offsets of a channel that were passed over or came again.
    """

    ready: int
    connects: int
    lost: int
    last_ready_at: float
    received: int
    gaps: int
    repeats: int
    recovered: int
    unrecovered: int
    first_at: float
    last_at: float
    p50: float
    p95: float
    p99: float
    max: float
    problems: dict[str, int]


class Crowd:
    """So many clients at one address."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def open(self) -> Count:
        """Let all of them connect and subscribe. The count says how many could."""
        return self._ask("open")

    def count(self) -> Count:
        return self._ask("count")

    def zero(self) -> Count:
        """Forget what was delivered until now."""
        return self._ask("zero")

    @property
    def pid(self) -> int:
        return self._process.pid

    def _ask(self, word: str) -> Count:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the load client has ended"
        return Count(**json.loads(line))


@contextmanager
def crowd(url: str, **options: Any) -> Iterator[Crowd]:
    """A load client, told nothing yet. `options` are its flags, with underscores; see loadclient/main.go."""
    flags = [f"-{name.replace('_', '-')}={_flag(value)}" for name, value in options.items()]
    process = subprocess.Popen(
        [str(built()), f"-url={url.replace('//localhost', '//127.0.0.1')}", *flags],
        stdout=subprocess.PIPE,
        text=True,
        **child_options(os.environ) | {"stdin": subprocess.PIPE},
    )
    try:
        yield Crowd(process)
    finally:
        process.kill()
        process.wait()


def _flag(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def until(condition: Callable[[], bool], seconds: float, every: float = 0.1) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
