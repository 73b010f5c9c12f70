"""Runners that are killed with SIGKILL, hang, or race each other: real processes."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import psutil
import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django_scopes import scope, scopes_disabled

from deployments import actions
from deployments.models import Deployment, Status
from deployments.tests.conftest import ended, fresh, is_alive, log_of, make_stack, python, until
from events.models import Event
from tenants.models import Tenant

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux finds what left its group"),
]
on_a_server = pytest.mark.skipif(
    "sqlite" in settings.DATABASES["default"]["ENGINE"], reason="SQLite is a file: it does not go away"
)
LEASE_SECONDS = 2

#: Prints the pids of itself, of a child, and of a grandchild that left the session and was orphaned; then all sleep.
FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]
child = subprocess.Popen(sleep)
said, say = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.write(say, b"!")
        time.sleep(300)
    os._exit(0)
os.wait()
os.read(said, 1)
print(os.getpid(), flush=True)
print(child.pid, flush=True)
time.sleep(300)
"""


def database_url() -> str:
    """Of the database this test uses, for a process of its own."""
    facts = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{facts['NAME']}"
    return f"postgres://{facts['USER']}:{facts['PASSWORD']}@{facts['HOST']}:{facts['PORT']}/{facts['NAME']}"


@contextmanager
def runner_process(tmp_path, **environ: str) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "runner"],
        cwd=settings.BASE_DIR,
        env=os.environ
        | {
            "DEBUG": "1",
            "DATABASE_URL": database_url(),
            "RUNNER_DIR": str(tmp_path / "runs"),
            "RUNNER_LEASE_SECONDS": str(LEASE_SECONDS),
            "RUNNER_POLL_SECONDS": "0.05",
        }
        | environ,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def family_of(deployment: Deployment) -> list[int]:
    """Every process of its step: what the step printed, and its supervisor."""
    until(lambda: len(log_of(deployment)) == 3)
    pids = [int(text) for _, text in log_of(deployment)]
    return [*pids, psutil.Process(pids[1]).ppid()]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if is_alive(pid)]


@pytest.fixture
def family(acme, alice, platform_admin) -> Deployment:
    stack = make_stack("family", python(FAMILY), by=platform_admin.user)
    return actions.request_deployment(acme, stack, {}, by=alice.user)


def test_when_a_runner_is_killed_its_steps_are_gone_in_2_s_and_the_deployment_is_lost(family, tmp_path):
    with runner_process(tmp_path) as runner:
        pids = family_of(family)
        assert len(alive(pids)) == 4
        runner.kill()
        until(lambda: not alive(pids), seconds=2)
    assert fresh(family).status == Status.RUNNING  # nobody knows yet
    with runner_process(tmp_path):
        lost = ended(family)
        until(lambda: not list((tmp_path / "runs").iterdir()))
    assert lost.status == Status.LOST
    assert lost.reason.startswith("Runner silent since ")


def test_a_runner_that_hangs_loses_its_steps_with_its_lease(family, tmp_path):
    with runner_process(tmp_path) as runner:
        pids = family_of(family)
        runner.send_signal(signal.SIGSTOP)
        until(lambda: not alive(pids), seconds=LEASE_SECONDS + 1.5)
        with runner_process(tmp_path):
            assert ended(family).status == Status.LOST
        count = len(log_of(family))
        runner.send_signal(signal.SIGCONT)
        time.sleep(0.5)  # time for it to do what it must not
        assert (fresh(family).status, len(log_of(family))) == (Status.LOST, count)


def test_when_runner_and_supervisor_are_killed_together_the_next_runner_ends_what_they_left(family, tmp_path):
    """The step itself dies with them. What it started is init's, until a runner finds it when it is lost."""
    with runner_process(tmp_path) as runner:
        *pids, supervisor = family_of(family)
        os.kill(supervisor, signal.SIGKILL)
        runner.kill()
        until(lambda: not alive([pids[1]]))
    with runner_process(tmp_path):
        assert ended(family).status == Status.LOST
        until(lambda: not alive(pids))


def test_a_runner_ends_in_good_order_when_it_is_asked_to(family, tmp_path):
    with runner_process(tmp_path) as runner:
        pids = family_of(family)
        runner.terminate()
        assert runner.wait(timeout=15) == 0
        assert not alive(pids)
    assert fresh(family).reason == "Stopped during step step 1. Its runner was shut down. Retry."


def test_of_fifty_deployments_two_runners_run_each_once(acme, alice, platform_admin, tmp_path):
    stack = make_stack("quick", python("print('ran')"), by=platform_admin.user)
    tenants = [acme, *(Tenant.objects.create(slug=f"t{i}", name=f"T{i}") for i in range(9))]
    deployments = [actions.request_deployment(tenant, stack, {}, by=alice.user) for tenant in tenants for _ in range(5)]
    with ExitStack() as both:
        for _ in range(2):
            both.enter_context(runner_process(tmp_path))
        for deployment in deployments:
            assert ended(deployment, seconds=90).status == Status.COMPLETED
    assert all(log_of(deployment) == [("info", "ran")] for deployment in deployments)
    with scopes_disabled():
        fences = Deployment.objects.values_list("fence", flat=True)
        assert set(fences) == {1}
        starts = Counter(
            event.payload["deploymentId"]
            for event in Event.objects.filter(type="deployment_update")
            if event.payload["status"] == "starting"
        )
        assert len(starts) == 50
        assert set(starts.values()) == {1}
        assert len(set(Deployment.objects.values_list("runner", flat=True))) == 2
    for tenant in tenants:
        with scope(tenant=tenant):
            spans = list(Deployment.objects.order_by("number").values_list("started_at", "ended_at"))
        assert all(later[0] >= earlier[1] for earlier, later in pairwise(spans))


@contextmanager
def database_away() -> Iterator[None]:
    """Nobody gets into the test's database, and whoever was in is thrown out."""
    facts = connection.settings_dict
    address = {"host": facts["HOST"], "port": facts["PORT"], "user": facts["USER"], "dbname": "postgres"}
    connection.close()
    connection.close_pool()
    with psycopg.connect(**address, autocommit=True) as door:
        door.execute(f'ALTER DATABASE "{facts["NAME"]}" WITH ALLOW_CONNECTIONS false')
        try:
            door.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [facts["NAME"]])
            yield
        finally:
            door.execute(f'ALTER DATABASE "{facts["NAME"]}" WITH ALLOW_CONNECTIONS true')


@on_a_server
def test_a_runner_waits_while_the_database_is_away_and_loses_no_line(acme, alice, platform_admin, tmp_path):
    code = "import time\nfor i in range(100): print(i, flush=True); time.sleep(0.03)"
    stack = make_stack("counts", python(code), by=platform_admin.user)
    deployment = actions.request_deployment(acme, stack, {}, by=alice.user)
    with runner_process(tmp_path, RUNNER_LEASE_SECONDS="30"):
        until(lambda: log_of(deployment))
        with database_away():
            time.sleep(1.5)  # the outage itself
        assert ended(deployment, seconds=40).status == Status.COMPLETED
    assert log_of(deployment) == [("info", str(i)) for i in range(100)]


@on_a_server
def test_a_runner_that_cannot_renew_its_lease_has_ended_its_steps_before_anybody_else_acts(family, tmp_path):
    with runner_process(tmp_path):
        pids = family_of(family)
        with database_away():
            until(lambda: not alive(pids), seconds=LEASE_SECONDS + 1.5)
        assert ended(family).status in (Status.LOST, Status.FAILED)
