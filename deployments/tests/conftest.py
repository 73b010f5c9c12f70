"""What tests of deployments share: stacks to deploy, and deployments of Alice's."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from django_scopes import scope

from deployments import actions, logs
from deployments.models import Deployment, Stack
from deployments.running.runner import Runner


def make_stack(slug: str, *commands: list[str], parameters: list[dict[str, Any]] | None = None, by: Any) -> Stack:
    """An approved stack whose steps are these argument lists, named step 1, step 2, ..."""
    steps = [{"name": f"step {i}", "command": command} for i, command in enumerate(commands, start=1)]
    stack = Stack.objects.create(slug=slug, name=slug, steps=steps, parameters=parameters or [])
    return actions.approve(stack, by=by)


def python(code: str) -> list[str]:
    """The argument list of a step that runs this Python."""
    return [sys.executable, "-S", "-c", code]


@pytest.fixture
def stack(platform_admin) -> Stack:
    """A stack with a parameter of each type, whose one step prints them."""
    return make_stack(
        "web",
        python("import os; print(dict(os.environ))"),
        parameters=[
            {"name": "TITLE", "required": True, "max": 20},
            {"name": "PAGES", "type": "integer", "default": 3, "min": 1, "max": 10},
            {"name": "DRAFTS", "type": "boolean"},
            {"name": "THEME", "type": "choice", "choices": ["light", "dark"], "default": "light"},
            {"name": "TOKEN", "type": "secret"},
        ],
        by=platform_admin.user,
    )


@pytest.fixture
def acme_deployment(acme, alice, stack) -> Deployment:
    return actions.request_deployment(acme, stack, {"TITLE": "Acme"}, by=alice.user)


def fresh(deployment: Deployment) -> Deployment:
    with scope(tenant=deployment.tenant):
        return Deployment.objects.get(pk=deployment.pk)


@pytest.fixture
def quick(settings, tmp_path):
    """A runner's settings for tests: a directory of its own, and short waits."""
    settings.RUNNER_DIR = tmp_path / "runs"
    settings.RUNNER_POLL_SECONDS = 0.02
    settings.STEP_STOP_GRACE_SECONDS = 0.5
    settings.RUNNER_SHUTDOWN_SECONDS = 0.2
    return settings


@pytest.fixture
def runner(transactional_db, quick) -> Iterator[Runner]:
    """A runner in a thread of this process, with its own database connection."""
    with running(Runner()) as runner:
        yield runner


@contextmanager
def running(runner: Runner) -> Iterator[Runner]:
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        yield runner
    finally:
        runner.stop()
        runner.stop()
        thread.join(timeout=20)
        assert not thread.is_alive(), "the runner did not end"


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait for a condition, and return what it returned. Fails after `seconds`."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"not so within {seconds} s")


def ended(deployment: Deployment, seconds: float = 20) -> Deployment:
    """The deployment once it has ended."""
    until(lambda: fresh(deployment).has_ended, seconds)
    return fresh(deployment)


def log_of(deployment: Deployment) -> list[tuple[str, str]]:
    """(level, text) of every stored line."""
    with scope(tenant=deployment.tenant):
        return [(line.level, line.text) for line in logs.lines(deployment, limit=None)]


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it may end between two looks at it
        return False
