"""The process between a runner and one step: `python -m deployments.running.supervisor FD`. It needs no Django.

It starts the step in a session of its own and ends it, with everything the step started, when
- the runner asks, or the step's time is over: SIGTERM, then SIGKILL after a grace;
- the runner dies or hangs: SIGKILL at once. FD is one end of a socket pair whose other end only the runner holds, so
  its death is an end of file here; and the runner must say again and again that its lease holds.

On FD it reads JSON lines: first an `Order`, then {"lease": seconds from now} and {"stop": grace in seconds}. It writes
one JSON line, a `Report`, when nothing of the step is left.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from deployments.running import linux

#: After a step's own end its helpers may need a moment for theirs.
LINGER_SECONDS = 0.5
#: A process that SIGKILL does not end within this (it waits for a device) is reported as left.
KILL_SECONDS = 5.0
POLL_SECONDS = 0.02


class Why(StrEnum):
    """Why a step ended."""

    EXITED = "exited"
    STOPPED = "stopped"
    TIME_LIMIT = "time_limit"
    LEASE = "lease"
    NOT_STARTED = "not_started"
    RUNNER_DIED = "runner_died"
    #: No supervisor says this of itself: its runner does.
    SUPERVISOR_DIED = "supervisor_died"


@dataclass(frozen=True)
class Order:
    """What to run. Times are in seconds; `lease` is how long the runner's right to run it holds from now."""

    command: list[str]
    directory: str
    environment: dict[str, str]
    time_limit: float
    grace: float
    lease: float


@dataclass(frozen=True)
class Report:
    """How a step ended. `exit_code` is minus N after signal N; `left`: what still ran after it, and has been ended."""

    why: str
    exit_code: int | None = None
    detail: str = ""
    left: list[str] = field(default_factory=list)


class Supervisor:
    """One step, from its start until nothing of it is left."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._received = b""
        self._exit_code: int | None = None
        self._child_ended, self._wake = socket.socketpair()
        for end in (self._child_ended, self._wake):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        order = self._read_order()
        if order is None:
            return
        try:
            self._pid = _start(order)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            self._say(Report(Why.NOT_STARTED, detail=_explain(error, order)))
            return
        self._lease_ends = time.monotonic() + order.lease
        why = self._watch(time.monotonic() + order.time_limit, order.grace)
        left = self._clear_up(why)
        self._say(Report(why, self._exit_code, left=left))

    # --- The runner's side of the socket ---

    def _read_order(self) -> Order | None:
        """None: the runner died before it said anything."""
        while b"\n" not in self._received:
            data = self._receive()
            if not data:
                return None
            self._received += data
        # What follows it stays: a stop may have come while this process was still starting.
        line, _, self._received = self._received.partition(b"\n")
        return Order(**json.loads(line))

    def _receive(self) -> bytes:
        """Empty when the runner has died."""
        try:
            return self._control.recv(65_536)
        except ConnectionError:
            return b""

    def _messages(self) -> list[dict]:
        *lines, self._received = self._received.split(b"\n")
        return [json.loads(line) for line in lines]

    def _say(self, report: Report) -> None:
        with contextlib.suppress(OSError):  # the runner is gone: nobody is left to tell
            self._control.sendall(json.dumps(asdict(report)).encode() + b"\n")

    # --- The step ---

    def _watch(self, time_ends: float, grace: float) -> Why:
        """Wait until the step ends or must end; returns why it did."""
        while self._exit_code is None:
            for message in self._new_messages():
                if message is None:
                    return Why.RUNNER_DIED
                if "stop" in message:
                    self._ask_to_end(message["stop"])
                    return Why.STOPPED
            now = time.monotonic()
            if now >= self._lease_ends:
                return Why.LEASE
            if now >= time_ends:
                self._ask_to_end(grace)
                return Why.TIME_LIMIT
            self._wait(min(time_ends, self._lease_ends) - now)
            self._reap()
        return Why.EXITED

    def _wait(self, seconds: float) -> None:
        """Until the runner says something, a child ends, or the time is over."""
        ready, _, _ = select.select([self._control, self._child_ended], [], [], max(0.0, seconds))
        if self._child_ended in ready:
            self._child_ended.recv(4_096)

    def _new_messages(self) -> list[dict | None]:
        """What the runner said since; None at the end when it has died. Lease messages are taken in here."""
        found: list[dict | None] = []
        while True:
            for message in self._messages():
                if "lease" in message:
                    self._lease_ends = time.monotonic() + message["lease"]
                found.append(message)
            if not select.select([self._control], [], [], 0)[0]:
                return found
            data = self._receive()
            if not data:
                return [*found, None]
            self._received += data

    def _ask_to_end(self, grace: float) -> None:
        """SIGTERM to all of it, then wait for it to end: at most `grace` seconds, and not if the runner dies."""
        for pid in self._alive():
            _signal(pid, signal.SIGTERM)
        ends = time.monotonic() + grace
        while self._is_left() and time.monotonic() < min(ends, self._lease_ends):
            if None in self._new_messages():
                return
            time.sleep(POLL_SECONDS)

    def _clear_up(self, why: Why) -> list[str]:
        """End whatever still runs. Returns names of what a step left behind that seemed to have ended by itself."""
        if why == Why.EXITED:
            self._linger()
        left = [f"{name} ({pid})" for pid, name in sorted(self._alive().items())]
        if not left and self._is_left():
            left = ["one that keeps starting others"]
        self._kill()
        return left if why == Why.EXITED else []

    def _linger(self) -> None:
        ends = time.monotonic() + LINGER_SECONDS
        while self._is_left() and time.monotonic() < ends:
            if None in self._new_messages():
                return
            time.sleep(POLL_SECONDS)

    def _kill(self) -> None:
        """SIGKILL until nothing is left: what is killed while it starts another process may leave that one.

        One that starts its successor and ends, again and again, is gone before its pid can be killed. Its group stays
        the same, and a signal to a group misses nobody.
        """
        ends = time.monotonic() + KILL_SECONDS
        while time.monotonic() < ends:
            groups = linux.groups(os.getpid()) if linux.HERE else set()
            for pid in [*self._alive(), *(-group for group in groups)]:
                _signal(pid, signal.SIGKILL)
            if not self._is_left():
                return
            time.sleep(POLL_SECONDS / 4)

    def _alive(self) -> dict[int, str]:
        """What of the step still runs: pid -> name. Outside Linux only its process group is known, as minus its id."""
        if linux.HERE:
            return linux.descendants(os.getpid())
        try:
            os.killpg(self._pid, 0)
        except (ProcessLookupError, PermissionError):
            return {}
        return {-self._pid: "process group"}

    def _is_left(self) -> bool:
        """Whether anything of the step still runs.

        On Linux all that loses its parent becomes our child, so without children nothing runs; while a look through
        all processes may miss one that is just starting another.
        """
        has_children = self._reap()
        return has_children if linux.HERE else bool(self._alive())

    def _reap(self) -> bool:
        """Take notice of children that have ended: the step's own process, and orphans that came to us.

        Returns whether there are others.
        """
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._pid:
                    self._exit_code = os.waitstatus_to_exitcode(status)
        return False


def _start(order: Order) -> int:
    process = subprocess.Popen(  # noqa: S603
        order.command,
        cwd=order.directory,
        env={name: value.encode() for name, value in order.environment.items()},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=linux.die_with_parent if linux.HERE else None,  # safe: this process has one thread
    )
    process.returncode = 0  # _reap() takes its status: Popen must not look for it
    return process.pid


def _explain(error: Exception, order: Order) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {order.command[0]}"
    return str(error)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def main(descriptor: int) -> None:
    os.set_inheritable(descriptor, False)
    if linux.HERE:
        linux.adopt_orphans()
    Supervisor(socket.socket(fileno=descriptor)).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
