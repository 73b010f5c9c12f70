"""Where and with what a table was measured: without that a number says nothing."""

import os
import platform
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from neostack.processes import BASE_DIR, CENTRIFUGO

PACKAGES = ("django", "uvicorn", "uvloop", "channels", "channels-redis", "psycopg", "orjson")


def lines() -> Iterator[str]:
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f} at the start"
    memory = psutil.virtual_memory().total / 2**30
    yield f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; {platform.system()} {platform.release()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield ", ".join([python, *(f"{name} {version(name)}" for name in PACKAGES)])
    yield ", ".join(_servers())


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _servers() -> Iterator[str]:
    yield f"SQLite {sqlite3.sqlite_version}"
    if shutil.which("psql"):
        yield _said("psql", "--version").replace("psql (PostgreSQL)", "PostgreSQL")
    if shutil.which("redis-server"):
        yield f"Redis {_said('redis-server', '--version').split('v=')[1].split()[0]}"
    if CENTRIFUGO.exists():
        required = (BASE_DIR / "tools/centrifugo/go.mod").read_text()
        yield "Centrifugo " + re.search(r"centrifugal/centrifugo/v6 (v[\d.]+)", required)[1]  # type: ignore[index]


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
