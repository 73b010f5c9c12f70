"""The process between a runner and a step, spoken to as the runner does."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings

from deployments.running.supervisor import Order, Why
from deployments.tests.conftest import python, until

GRACE = {"stop": 0.5}


def order(directory: Path, command: list[str]) -> dict[str, Any]:
    return asdict(Order(command, str(directory), {"PATH": "/usr/bin:/bin"}, time_limit=10, grace=0.5, lease=30))


@contextmanager
def supervisor(*said_at_once: dict[str, Any]) -> Iterator[socket.socket]:
    """A supervisor that finds all these messages waiting when it has started; the runner's end of its socket."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(20)
        ours.sendall(b"".join(json.dumps(message).encode() + b"\n" for message in said_at_once))
        with theirs:
            command = [sys.executable, "-S", "-m", "deployments.running.supervisor", str(theirs.fileno())]
            process = subprocess.Popen(
                command, cwd=settings.BASE_DIR, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL
            )
        try:
            yield ours
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            process.wait(timeout=20)


def report(control: socket.socket) -> dict[str, Any]:
    return json.loads(control.makefile().readline())


def test_a_stop_that_came_before_the_supervisor_had_started_is_not_lost(tmp_path):
    with supervisor(order(tmp_path, python("import time; time.sleep(300)")), GRACE) as control:
        assert report(control)["why"] == Why.STOPPED


def test_a_lease_that_was_kept_before_the_supervisor_had_started_holds(tmp_path):
    short = order(tmp_path, python("import time; time.sleep(1)")) | {"lease": 0.3}
    with supervisor(short, {"lease": 20}) as control:
        assert report(control)["why"] == Why.EXITED


#: Starts its successor and ends, for 20 s, and writes "survived" if nobody ends it before.
RELAY_RACE = """
import os, sys, time
ends = time.time() + 20
if os.fork():
    os._exit(0)
while time.time() < ends:
    if os.fork():
        os._exit(0)
print("survived", flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux finds what left its group")
def test_a_process_that_keeps_starting_its_successor_is_reported_and_ended(tmp_path):
    with supervisor(order(tmp_path, python(RELAY_RACE))) as control:
        assert report(control)["left"]
    until(lambda: RELAY_RACE not in running_commands(), seconds=5)


def running_commands() -> str:
    return "\n".join(
        argument for process in psutil.process_iter(["cmdline"]) for argument in process.info["cmdline"] or ()
    )
