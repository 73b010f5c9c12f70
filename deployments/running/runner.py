"""The runner's main thread: claims deployments, keeps their leases, passes on cancels, ends in good order."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import time
import uuid

from django.conf import settings
from django.db import connections
from django_scopes import scopes_disabled

from deployments import leases
from deployments.models import ENDED, Deployment
from deployments.running import linux
from deployments.running.execution import CANCEL, DATABASE_AWAY, SHUTDOWN, Execution
from events import liveness, waiting
from events.heartbeats import Heart, without_failing

log = logging.getLogger(__name__)

DATABASE_RETRY_SECONDS = 0.5
#: Steps get no longer than this to end when the runner itself must.
SHUTDOWN_GRACE_SECONDS = 1.0
LOST_CHECK_SECONDS = 1.0
#: For what a killed runner of this machine left, whose deployment another machine's runner found lost.
CLEAN_UP_SECONDS = 30.0


class Runner:
    """Executes up to `slots` deployments at a time until `stop()`. Several runners share the work."""

    def __init__(self, slots: int | None = None) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.executions: list[Execution] = []
        self._slots = slots or settings.RUNNER_SLOTS
        self._heart = Heart("runner")
        self._stop_asked = 0
        self._stop_at: float | None = None
        self._renew_at = 0.0
        self._lost_check_at = 0.0
        self._clean_up_at = 0.0

    def stop(self) -> None:
        """Claim nothing more and end: after settings.RUNNER_SHUTDOWN_SECONDS, or at once when asked again.

        What still runs then is stopped and fails with that reason. Safe in a signal handler.
        """
        self._stop_asked += 1

    def run(self) -> None:
        """Returns when it was stopped and nothing of its deployments runs any more."""
        waiting.for_database(log, self._is_over)
        while not self._is_over():
            try:
                self._turn()
                pause = settings.RUNNER_POLL_SECONDS
            except DATABASE_AWAY as error:
                log.warning("The database does not answer; the runner waits for it. %s", error)
                connections.close_all()
                self._database_is_away()
                pause = DATABASE_RETRY_SECONDS
            time.sleep(pause)
        without_failing(self._heart.stop)
        connections.close_all()

    def _is_over(self) -> bool:
        liveness.turned()
        self.executions = [execution for execution in self.executions if execution.is_running]
        return bool(self._stop_asked) and not self.executions

    def _turn(self) -> None:
        """One look at everything there is to do."""
        self._shut_down()
        self._renew()
        self._pass_on_cancels()
        self._mark_lost()
        while not self._stop_asked and len(self.executions) < self._slots:
            lease = leases.claim(self.name)
            if lease is None:
                break
            execution = Execution(lease)
            self.executions.append(execution)
            execution.start()
        self._heart.beat(f"{len(self.executions)} of {self._slots} slots in use")

    def _shut_down(self) -> None:
        if not self._stop_asked:
            return
        if self._stop_at is None:
            self._stop_at = time.monotonic() + settings.RUNNER_SHUTDOWN_SECONDS
        if self._stop_asked > 1 or time.monotonic() >= self._stop_at:
            for execution in self.executions:
                execution.stop(SHUTDOWN, SHUTDOWN_GRACE_SECONDS)

    def _database_is_away(self) -> None:
        """Nothing can be reported: a runner that must end then leaves its deployments to be found lost."""
        self._shut_down()
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            for execution in self.executions:
                execution.drop()

    def _renew(self) -> None:
        now = time.monotonic()
        if now < self._renew_at:
            return
        kept = leases.renew([execution.lease for execution in self.executions])
        for execution in self.executions:
            if execution.lease in kept:
                execution.keep_until(now + settings.RUNNER_LEASE_SECONDS)
            else:
                execution.drop()
        self._renew_at = now + settings.RUNNER_LEASE_SECONDS / 3

    def _pass_on_cancels(self) -> None:
        asked = leases.asked_to_stop(execution.lease for execution in self.executions)
        for execution in self.executions:
            if execution.lease.deployment_id in asked:
                execution.stop(CANCEL, settings.STEP_STOP_GRACE_SECONDS)

    def _mark_lost(self) -> None:
        now = time.monotonic()
        if now < self._lost_check_at:
            return
        if leases.mark_lost() or now >= self._clean_up_at:
            clean_up()
            self._clean_up_at = now + CLEAN_UP_SECONDS
        self._lost_check_at = now + LOST_CHECK_SECONDS


def clean_up() -> None:
    """Remove what killed runners left of deployments that have ended: their directories in settings.RUNNER_DIR and,
    where a runner's supervisors were killed with it, processes.

    A supervisor ends everything of its step, and its step dies with it; but what the step had started is then nobody's
    (init's), and can only be told by its environment.
    """
    directories = {path.name: path for path in settings.RUNNER_DIR.glob("*-*-*-*-*")}
    processes = linux.homes(settings.RUNNER_DIR) if linux.HERE else {}
    ended = _ended({*directories, *processes.values()})
    for pid, name in processes.items():
        if name in ended:
            log.warning("Process %s was left of deployment %s, which has ended: it is ended too.", pid, name)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    for name in ended & directories.keys():
        shutil.rmtree(directories[name], ignore_errors=True)


def _ended(names: set[str]) -> set[str]:
    """Of these, the ids of deployments that have ended."""
    with scopes_disabled():
        ended = Deployment.objects.filter(pk__in=[name for name in names if _is_id(name)], status__in=ENDED)
        return {str(pk) for pk in ended.values_list("pk", flat=True)}


def _is_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False
