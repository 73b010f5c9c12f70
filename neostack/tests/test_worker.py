"""What a worker does when what it stands on breaks. tests/faults breaks it under a real one."""

from collections.abc import Iterator

import pytest
from celery import Task
from django.db import OperationalError, connection

from neostack.celery import app

pytestmark = pytest.mark.once


@pytest.fixture
def failing() -> Iterator[Task]:
    """A task whose database has gone away."""

    @app.task(name="failing_task_of_a_test")
    def fail() -> None:
        raise OperationalError("the connection is closed")

    yield fail
    app.tasks.unregister("failing_task_of_a_test")


def test_after_a_failure_the_next_task_gets_a_new_connection(failing, monkeypatch):
    closed: list[bool] = []
    monkeypatch.setattr(connection, "close", lambda: closed.append(True))
    failing.apply()
    assert closed


def test_what_a_full_redis_answers_is_no_reason_to_end():
    assert app.conf.broker_channel_error_retry
