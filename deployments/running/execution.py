"""One deployment from its claim to its end: a thread of the runner, with a supervisor process for each step.

Steps run as the runner's own user, so they could read what it can. Stacks are approved by the platform's admins; in
production give runners a user, or a container, that owns nothing else.
"""

import contextlib
import json
import logging
import math
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from django_scopes import scope

from deployments import leases
from deployments.leases import Lease, LeaseLost
from deployments.models import Deployment, Level, Release, StepStatus
from deployments.running import linux
from deployments.running.output import FLUSH_SECONDS, LineReader, Transcript
from deployments.running.redaction import forms
from deployments.running.supervisor import Order, Report, Why
from deployments.sealing import CannotUnseal
from deployments.stacks import Step

log = logging.getLogger(__name__)

DATABASE_AWAY = (OperationalError, InterfaceError)
DATABASE_RETRY_SECONDS = 0.5
READ_BYTES = 65_536
#: After the supervisor's report both streams are at their end, unless a process got away that holds them open.
STREAMS_END_WITHIN_SECONDS = 5.0
CANCEL = "cancel"
SHUTDOWN = "shutdown"
ALTERED = (
    "Release {} was altered after it was made: it is not what its digest says. No step was run. Tell the platform."
)

T = TypeVar("T")
#: Held while a supervisor is started and while orphans are looked for, so that a newborn is not taken for one.
_births = threading.Lock()
_supervisors: set[int] = set()


class StepFailed(Exception):
    """The deployment ends here; the text is the runner's verdict."""


class Stopped(Exception):
    """Its steps have been stopped because somebody asked for it."""


class RunnerEnds(Exception):
    """The runner must end now and the database is away: the lease will run out."""


class Execution:
    """Runs one leased deployment and reports how it goes. Whatever happens, no process of its steps is left."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.name = f"deployment {lease.deployment_id}"
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self.directory = settings.RUNNER_DIR / str(lease.deployment_id)
        self._transcript = Transcript(settings.DEPLOYMENT_OUTPUT_LIMIT_BYTES)
        self._control: socket.socket | None = None
        self._control_lock = threading.Lock()
        self._stop: str | None = None
        self._stop_grace = 0.0
        self._lease_until = time.monotonic() + settings.RUNNER_LEASE_SECONDS
        self._hurry = threading.Event()

    # --- What the runner's main thread tells it ---

    def start(self) -> None:
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def keep_until(self, moment: float) -> None:
        """The lease has been renewed; `moment` is on time.monotonic()'s clock."""
        self._lease_until = moment
        self._tell({"lease": moment - time.monotonic()})

    def stop(self, why: str, grace: float) -> None:
        """Stop its steps: CANCEL because somebody asked, SHUTDOWN because the runner ends. The first reason stays."""
        if self._stop is None:
            self._stop = why
            self._stop_grace = grace
            self._tell({"stop": grace})

    def drop(self) -> None:
        """The lease is lost: end everything at once. Its supervisor takes the closed socket for the runner's death."""
        self._hurry.set()
        with self._control_lock:
            if self._control:
                _hang_up(self._control)

    def _tell(self, message: dict[str, float]) -> None:
        with self._control_lock:
            if self._control:
                try:
                    self._control.sendall(json.dumps(message).encode() + b"\n")
                except OSError:
                    log.info("%s: its supervisor has ended already.", self.name)

    # --- The deployment ---

    def _run(self) -> None:
        try:
            self._conclude()
        except LeaseLost as lost:
            log.warning("%s: the lease is lost, nothing more is written. %s", self.name, lost)
        except RunnerEnds:
            log.warning("%s: the runner ends while the database is away; the deployment will be lost.", self.name)
        except Exception:
            log.exception("%s: the runner itself failed.", self.name)
            self._give_up()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)
            connections.close_all()

    def _conclude(self) -> None:
        """Run the steps, then say the one verdict."""
        try:
            self._run_steps()
        except StepFailed as failed:
            self._verdict(leases.fail, str(failed))
        except Stopped as stopped:
            if self._stop == CANCEL:
                self._verdict(leases.confirm_cancel, str(stopped))
            else:
                self._verdict(leases.fail, f"{stopped} Its runner was shut down. Retry.")
        else:
            self._patiently(lambda: leases.complete(self.lease))

    def _give_up(self) -> None:
        try:
            leases.fail(self.lease, "Something went wrong in the runner itself; the runner's log says what. Retry.")
        except (LeaseLost, *DATABASE_AWAY):
            log.warning("%s: this could not be reported; the deployment will be lost.", self.name)

    def _verdict(self, report: Callable[[Lease, str], Deployment], text: str) -> None:
        self._transcript.say(text)
        self._flush_all()
        self._patiently(lambda: report(self.lease, text))

    def _run_steps(self) -> None:
        release = self._patiently(self._read_release)
        try:
            environment, secrets = release.environment(), release.secrets()
            is_intact = release.is_intact
        except CannotUnseal as error:
            raise StepFailed(str(error)) from None
        if not is_intact:
            raise StepFailed(ALTERED.format(release.short_digest))
        self._secrets = {form for secret in secrets.values() for form in forms(secret)}
        self.directory.mkdir(parents=True, mode=0o700)
        for index, step in enumerate(release.step_list):
            if self._stop:
                raise Stopped(f"Stopped before step {step.name}.")
            self._run_step(index, step, environment)

    def _read_release(self) -> Release:
        with scope(tenant=self.lease.tenant):
            return Deployment.objects.select_related("release__stack").get(pk=self.lease.deployment_id).release

    def _run_step(self, index: int, step: Step, environment: dict[str, str]) -> None:
        self._patiently(lambda: leases.step_begins(self.lease, index))
        limit = step.time_limit_seconds or settings.STEP_TIME_LIMIT_SECONDS
        order = Order(
            command=step.command,
            directory=str(self.directory),
            environment=self._base_environment() | environment,
            time_limit=limit,
            grace=settings.STEP_STOP_GRACE_SECONDS,
            lease=self._lease_until - time.monotonic(),
        )
        report = self._supervise(order)
        verdict = _verdict_on(step, report, limit)
        status = self._status_of(report, verdict)
        self._patiently(lambda: leases.step_ends(self.lease, index, status, report.exit_code))
        if report.why == Why.STOPPED:
            raise Stopped(str(verdict))
        if verdict:
            raise StepFailed(verdict)

    def _status_of(self, report: Report, verdict: str | None) -> StepStatus:
        if verdict is None:
            return StepStatus.COMPLETED
        return StepStatus.CANCELLED if report.why == Why.STOPPED and self._stop == CANCEL else StepStatus.FAILED

    def _base_environment(self) -> dict[str, str]:
        return {"PATH": settings.STEP_PATH, "HOME": str(self.directory), "LANG": "C.UTF-8"}

    # --- One step's process ---

    def _supervise(self, order: Order) -> Report:
        """Run it to its end, storing what it writes; nothing of it is left when this returns or raises."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            supervisor = _start_supervisor(theirs)
            theirs.close()
            try:
                self._hand_over(order, ours)
                return self._follow(supervisor, ours)
            finally:
                with self._control_lock:
                    self._control = None
                ours.close()  # for a supervisor that still runs, because of an exception here: the end
                _bury(supervisor)

    def _hand_over(self, order: Order, control: socket.socket) -> None:
        """Give the supervisor its order, and what the main thread said before there was anybody to tell."""
        with self._control_lock:
            control.sendall(json.dumps(asdict(order)).encode() + b"\n")
            self._control = control
            if self._stop:
                control.sendall(json.dumps({"stop": self._stop_grace}).encode() + b"\n")
            if self._hurry.is_set():
                _hang_up(control)

    def _follow(self, supervisor: subprocess.Popen[bytes], control: socket.socket) -> Report:
        """Read both streams and the report until all three have ended, or a stream says nothing more without ending."""
        readers = {supervisor.stdout: (Level.INFO, LineReader(self._secrets))}
        readers[supervisor.stderr] = (Level.WARNING, LineReader(self._secrets))
        said = b""
        flush_at, give_up_at = 0.0, math.inf
        with selectors.DefaultSelector() as selector:
            for source in (*readers, control):
                selector.register(source, selectors.EVENT_READ)  # type: ignore[arg-type]
            while selector.get_map():
                flush_at = self._flush(flush_at)
                ready = selector.select(self._patience(flush_at, give_up_at))
                if not ready and time.monotonic() >= give_up_at:
                    log.error("%s: something that got away holds a stream of a step open.", self.name)
                    break
                for key, _ in ready:
                    data = _read(key.fd)
                    if key.fileobj is control:
                        said += data
                        if not data:
                            give_up_at = time.monotonic() + STREAMS_END_WITHIN_SECONDS
                        if not data and not said:
                            end_orphans()  # they hold the streams open
                    else:
                        level, reader = readers[key.fileobj]  # type: ignore[index]
                        self._transcript.add(str(level), reader.feed(data) if data else reader.end())
                    if not data:
                        selector.unregister(key.fileobj)
                flush_at = self._make_room(flush_at)
        self._flush_all()
        return Report(**json.loads(said)) if said.endswith(b"\n") else Report(Why.SUPERVISOR_DIED)

    def _patience(self, flush_at: float, give_up_at: float) -> float | None:
        until = give_up_at if self._transcript.is_empty else min(flush_at, give_up_at)
        return None if until == math.inf else max(0.0, until - time.monotonic())

    def _flush(self, flush_at: float) -> float:
        """Write what waits, if it is time; returns when the next time is."""
        if self._transcript.is_empty or time.monotonic() < flush_at:
            return flush_at
        blocks = self._transcript.waiting()
        self._patiently(lambda: leases.append_log(self.lease, blocks))
        self._transcript.written(blocks)
        return time.monotonic() + FLUSH_SECONDS

    def _make_room(self, flush_at: float) -> float:
        """Read no more while much waits: a step that writes faster than is stored waits at its pipe."""
        while self._transcript.is_full:
            time.sleep(max(0.0, flush_at - time.monotonic()))
            flush_at = self._flush(flush_at)
        return flush_at

    def _flush_all(self) -> None:
        flush_at = 0.0
        while not self._transcript.is_empty:
            time.sleep(max(0.0, flush_at - time.monotonic()))
            flush_at = self._flush(flush_at)

    def _patiently(self, write: Callable[[], T]) -> T:
        """Repeat while the database is away. Raises RunnerEnds when that would hold up the runner's end."""
        while True:
            try:
                return write()
            except DATABASE_AWAY as error:
                log.warning("%s: the database does not answer, trying again. %s", self.name, error)
                connections.close_all()
                if self._hurry.wait(DATABASE_RETRY_SECONDS):
                    raise RunnerEnds from error


def _start_supervisor(control: socket.socket) -> "subprocess.Popen[bytes]":
    with _births:
        supervisor = subprocess.Popen(  # noqa: S603
            [sys.executable, "-S", "-E", "-s", "-m", "deployments.running.supervisor", str(control.fileno())],
            cwd=settings.BASE_DIR,
            env={"LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[control.fileno()],
            start_new_session=True,
        )
        _supervisors.add(supervisor.pid)
    return supervisor


def _bury(supervisor: "subprocess.Popen[bytes]") -> None:
    for stream in (supervisor.stdout, supervisor.stderr):
        if stream:
            stream.close()
    status = supervisor.wait()
    if status != 0:
        log.error("A supervisor ended with %s; what it left is ended now.", status)
        end_orphans()
    with _births:
        _supervisors.discard(supervisor.pid)


def end_orphans() -> None:
    """End the processes that came to this one when their supervisor was killed. Needs linux.adopt_orphans() before."""
    if not linux.adopting:
        return
    with _births:
        ends = time.monotonic() + 5
        while (orphans := linux.children(os.getpid()) - _supervisors) and time.monotonic() < ends:
            for pid in orphans | {below for orphan in orphans for below in linux.descendants(orphan)}:
                _end(pid)
            time.sleep(0.01)


def _verdict_on(step: Step, report: Report, limit: float) -> str | None:
    """What is wrong with how a step ended; None when nothing is."""
    match report.why:
        case Why.NOT_STARTED:
            return f"Step {step.name} could not start. {report.detail}."
        case Why.TIME_LIMIT:
            return f"Step {step.name} ran longer than its limit of {limit:g} s and was stopped."
        case Why.STOPPED:
            return f"Stopped during step {step.name}."
        case Why.LEASE:
            return f"Step {step.name} was stopped: its runner could not renew its lease. Retry."
        case Why.SUPERVISOR_DIED:
            return f"Step {step.name} was ended: its supervisor was killed. Retry."
    if report.exit_code:
        how = f"exit code {report.exit_code}" if report.exit_code > 0 else f"signal {-report.exit_code}"
        return f"Step {step.name} ended with {how}."
    if report.left:
        count = len(report.left)
        what = "a process" if count == 1 else f"{count} processes"
        return f"Step {step.name} left {what} running, which have been ended: {', '.join(report.left[:5])}."
    return None


def _hang_up(control: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other end has gone already
        control.shutdown(socket.SHUT_RDWR)


def _read(descriptor: int) -> bytes:
    """Empty at the end. A supervisor that ends before it read all we said resets the socket: the end as well."""
    try:
        return os.read(descriptor, READ_BYTES)
    except ConnectionResetError:
        return b""


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
