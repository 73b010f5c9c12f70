import itertools
import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest
from django_scopes import scope, scopes_disabled

from deployments import actions, leases
from deployments.models import Deployment, LogBlock, Status
from deployments.running import execution
from deployments.running.runner import Runner
from deployments.tests.conftest import ended, fresh, is_alive, log_of, make_stack, python, running, until
from events.models import Event

pytestmark = pytest.mark.django_db(transaction=True)
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux finds what left its group")


@pytest.fixture
def deploy(acme, alice, platform_admin):
    """Deploy these argument lists as a stack of their own."""
    numbers = itertools.count(1)

    def deploy(*commands, parameters=None, values=None, tenant=None):
        stack = make_stack(f"s{next(numbers)}", *commands, parameters=parameters, by=platform_admin.user)
        return actions.request_deployment(tenant or acme, stack, values or {}, by=alice.user)

    return deploy


def pid_in(deployment: Deployment) -> int:
    """The number a step printed, once it has."""
    lines = until(lambda: [text for _, text in log_of(deployment) if text.isdecimal()])
    return int(lines[0])


def is_gone(pid: int) -> bool:
    return not is_alive(pid)


def statuses(deployment: Deployment) -> list[str]:
    with scopes_disabled():
        events = Event.objects.filter(type="deployment_update", tenant=deployment.tenant).order_by("id")
        return [event.payload["status"] for event in events if event.payload["deploymentId"] == str(deployment.pk)]


def test_steps_run_in_order_and_it_is_completed(runner, deploy):
    deployment = ended(deploy(python("print('one')"), python("import sys; print('two', file=sys.stderr)")))
    assert (deployment.status, deployment.reason) == (Status.COMPLETED, "")
    assert log_of(deployment) == [("info", "one"), ("warning", "two")]
    assert [step["status"] for step in deployment.steps] == ["completed", "completed"]
    assert [step["exitCode"] for step in deployment.steps] == [0, 0]
    assert [status for status, _ in itertools.groupby(statuses(deployment))] == [
        "queued",
        "starting",
        "running",
        "completed",
    ]


def test_a_steps_environment_is_clean_and_its_directory_its_own(runner, deploy, quick):
    code = "import os; print(sorted(os.environ.items())); print(os.getcwd()); print(os.getpgrp() == os.getpid())"
    deployment = ended(
        deploy(
            python(code + "; open('made', 'w').write('x')"),
            python("print(open('made').read())"),
            parameters=[{"name": "TITLE"}, {"name": "DRAFTS", "type": "boolean"}],
            values={"TITLE": "Olá", "DRAFTS": True},
        )
    )
    home = str(quick.RUNNER_DIR / str(deployment.pk))
    expected = [
        ("DRAFTS", "true"),
        ("HOME", home),
        ("LANG", "C.UTF-8"),
        ("PATH", quick.STEP_PATH),
        ("TITLE", "Olá"),
    ]
    assert [text for _, text in log_of(deployment)] == [str(expected), home, "True", "x"]
    until(lambda: not Path(home).exists())


def test_the_first_step_that_fails_ends_it_and_the_rest_is_skipped(runner, deploy):
    deployment = ended(deploy(python("print('a')"), python("raise SystemExit(3)"), python("print('never')")))
    assert (deployment.status, deployment.reason) == (Status.FAILED, "Step step 2 ended with exit code 3.")
    assert [step["status"] for step in deployment.steps] == ["completed", "failed", "skipped"]
    assert deployment.steps[1]["exitCode"] == 3
    assert log_of(deployment) == [("info", "a"), ("error", "Step step 2 ended with exit code 3.")]


def test_a_program_that_is_not_there_says_which(runner, deploy):
    deployment = ended(deploy(["/no/such/program"]))
    assert deployment.reason == "Step step 1 could not start. No such file or directory: /no/such/program."


def test_a_step_past_its_time_is_stopped_with_everything_it_started(runner, deploy, quick):
    quick.STEP_TIME_LIMIT_SECONDS = 1
    deployment = deploy(python("import os, time; print(os.getpid(), flush=True); time.sleep(60)"))
    pid = pid_in(deployment)
    deployment = ended(deployment)
    assert deployment.reason == "Step step 1 ran longer than its limit of 1 s and was stopped."
    assert is_gone(pid)


def test_what_a_step_leaves_running_is_a_failure_and_is_ended(runner, deploy):
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid)\n"
    )
    deployment = deploy(python(code))
    pid = pid_in(deployment)
    deployment = ended(deployment)
    assert deployment.status == Status.FAILED
    assert "left a process running" in deployment.reason
    assert str(pid) in deployment.reason
    assert is_gone(pid)


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
time.sleep({stays})
"""


@linux_only
def test_a_daemon_that_left_its_session_is_found_too(runner, deploy):
    deployment = deploy(python(DAEMON.format(stays=0)))
    pid = pid_in(deployment)
    deployment = ended(deployment)
    assert (deployment.status, str(pid) in deployment.reason) == (Status.FAILED, True)
    assert is_gone(pid)


def test_cancel_is_asked_and_then_confirmed_by_the_runner(runner, deploy, alice):
    deployment = deploy(python("import time; print('up', flush=True); time.sleep(60)"), python("print('never')"))
    until(lambda: log_of(deployment))
    asked = actions.cancel(deployment, by=alice.user)
    assert (asked.status, bool(asked.cancel_requested_at)) == (Status.RUNNING, True)
    deployment = ended(deployment)
    assert (deployment.status, deployment.reason) == (Status.CANCELLED, "Stopped during step step 1.")
    assert [step["status"] for step in deployment.steps] == ["cancelled", "skipped"]


def test_a_step_that_ignores_the_request_to_end_is_killed(runner, deploy, alice):
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\n"
        "print(os.getpid(), flush=True)\n"
        "while True: time.sleep(1)\n"
    )
    deployment = deploy(python(code))
    pid = pid_in(deployment)
    actions.cancel(deployment, by=alice.user)
    assert ended(deployment).status == Status.CANCELLED
    assert ("info", "no") in log_of(deployment)
    assert is_gone(pid)


def test_a_step_may_tidy_up_when_it_is_asked_to_end(runner, deploy, alice):
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('tidied up', flush=True)))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    deployment = deploy(python(code))
    until(lambda: log_of(deployment))
    actions.cancel(deployment, by=alice.user)
    assert ended(deployment).status == Status.CANCELLED
    assert ("info", "tidied up") in log_of(deployment)


def test_a_failed_one_is_retried_as_a_new_one_of_the_same_release(runner, deploy, alice):
    deployment = ended(deploy(python("raise SystemExit(1)")))
    again = actions.retry(deployment, by=alice.user)
    assert (again.number, again.release, again.retry_of) == (2, deployment.release, deployment)
    assert ended(again).status == Status.FAILED


def test_a_completed_one_is_not_retried(runner, deploy, alice):
    deployment = ended(deploy(python("")))
    with pytest.raises(actions.NotRetryable):
        actions.retry(deployment, by=alice.user)


def test_a_tenant_that_may_run_one_at_once_has_them_run_one_after_another(quick, runner, deploy):
    quick.DEPLOYMENTS_AT_ONCE_PER_TENANT = 1
    first, second = (deploy(python("import time; time.sleep(0.3)")) for _ in range(2))
    second = ended(second)
    assert second.started_at >= fresh(first).ended_at


def test_secrets_never_reach_the_log_even_in_pieces(runner, deploy):
    secret = "correct-horse-battery"
    code = (
        "import os, sys, time\n"
        "secret = os.environ['TOKEN']\n"
        "for letter in 'a ' + secret + ' b\\n': sys.stdout.write(letter); sys.stdout.flush(); time.sleep(0.01)\n"
        "print(secret, file=sys.stderr)\n"
    )
    deployment = ended(deploy(python(code), parameters=[{"name": "TOKEN", "type": "secret"}], values={"TOKEN": secret}))
    assert sorted(log_of(deployment)) == [("info", "a [redacted] b"), ("warning", "[redacted]")]
    with scopes_disabled():
        assert secret not in repr(list(Event.objects.values())) + repr(list(LogBlock.objects.values()))


def test_output_past_the_limit_is_cut_where_it_says_and_the_step_goes_on(runner, deploy, quick):
    quick.DEPLOYMENT_OUTPUT_LIMIT_BYTES = 1_000
    deployment = ended(deploy(python("[print('x' * 99) for _ in range(5000)]"), python("print('never kept')")))
    assert deployment.status == Status.COMPLETED
    lines = log_of(deployment)
    assert len(lines) == 11
    assert lines[10][0] == "error"
    assert "Output cut here, after line 10: of a deployment's output 1,000 bytes are kept." in lines[10][1]


def test_every_line_is_kept_in_order_and_comes_in_few_events(runner, deploy):
    deployment = ended(deploy(python("[print(i) for i in range(10_000)]")), seconds=60)
    assert log_of(deployment) == [("info", str(i)) for i in range(10_000)]
    with scopes_disabled():
        events = list(Event.objects.filter(type="deployment_log").order_by("id"))
    assert [event.payload["line"] for event in events] == list(
        itertools.accumulate((event.payload["log"].count("\n") + 1 for event in events[:-1]), initial=1)
    )
    assert len(events) < 100
    for first, fifth in zip(events, events[8:], strict=False):
        assert (fifth.occurred_at - first.occurred_at).total_seconds() > 0.09


def test_a_runner_that_was_declared_silent_stops_its_steps_and_writes_nothing_more(runner, deploy):
    deployment = deploy(
        python("import os, time; print(os.getpid(), flush=True)\nwhile True: print('.', flush=True); time.sleep(0.05)")
    )
    pid = pid_in(deployment)
    with scope(tenant=deployment.tenant):
        Deployment.objects.filter(pk=deployment.pk).update(lease_expires_at="2020-01-01T00:00Z")
    leases.mark_lost()
    assert fresh(deployment).status == Status.LOST
    count = len(log_of(deployment))
    until(lambda: is_gone(pid), seconds=2)
    until(lambda: not runner.executions)
    assert (fresh(deployment).status, len(log_of(deployment))) == (Status.LOST, count)


def test_a_runner_that_is_asked_to_end_fails_what_runs_and_says_why(quick, deploy):
    deployment = deploy(python("import os, time; print(os.getpid(), flush=True); time.sleep(60)"))
    with running(Runner()):
        pid = pid_in(deployment)
    deployment = fresh(deployment)
    assert deployment.status == Status.FAILED
    assert deployment.reason == "Stopped during step step 1. Its runner was shut down. Retry."
    assert is_gone(pid)


@linux_only
def test_when_a_supervisor_is_killed_the_step_goes_with_it(runner, deploy):
    deployment = deploy(python("import os, time; print(os.getpid(), flush=True); time.sleep(60)"))
    pid = pid_in(deployment)
    os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
    assert ended(deployment).reason == "Step step 1 was ended: its supervisor was killed. Retry."
    until(lambda: is_gone(pid), seconds=2)


def test_output_is_visible_while_the_step_still_runs(runner, deploy, alice):
    began = time.monotonic()
    deployment = deploy(python("import time; print('now', flush=True); time.sleep(60)"))
    until(lambda: log_of(deployment) == [("info", "now")])
    assert time.monotonic() - began < 5
    actions.cancel(deployment, by=alice.user)


def test_a_stream_that_somebody_else_holds_open_does_not_hold_up_the_end(deploy, runner, tmp_path, monkeypatch):
    """As a process would that got away: the step hands its output to one that is no descendant of it."""
    monkeypatch.setattr(execution, "STREAMS_END_WITHIN_SECONDS", 0.5)
    door = tmp_path / "door"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(door))
        listener.listen()
        listener.settimeout(20)
        hand_over = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(door)!r})"
        deployment = deploy(python(f"{hand_over}; socket.send_fds(s, [b'.'], [1]); print('done')"))
        accomplice, _ = listener.accept()
        with accomplice:
            _, (held, *_), _, _ = socket.recv_fds(accomplice, 1, 1)
            try:
                assert ended(deployment).status == Status.COMPLETED
            finally:
                os.close(held)
    assert ("info", "done") in log_of(deployment)
