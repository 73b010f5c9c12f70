"""Each process says that it is alive, seldom enough, and is missed when it no longer does."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from events import heartbeats
from events.heartbeats import BeatingThread, Heart
from events.models import Heartbeat
from events.tests.conftest import eventually

pytestmark = pytest.mark.django_db


def silence(kind: str) -> None:
    Heartbeat.objects.filter(kind=kind).update(expires_at=Now() - timedelta(seconds=1))


def heard(kind: str) -> list[bool]:
    return [process.is_alive for process in heartbeats.all_processes() if process.kind == kind]


def test_a_process_that_has_just_said_so_is_alive():
    Heart("relay").beat("Active")
    (process,) = heartbeats.all_processes()
    assert (process.kind, process.detail, process.is_alive) == ("relay", "Active", True)


def test_between_two_beats_nothing_is_written():
    heart = Heart("relay")
    heart.beat()
    with CaptureQueriesContext(connection) as captured:
        for _ in range(1000):
            heart.beat()
    assert len(captured) == 0


def test_a_process_that_says_nothing_for_long_is_silent():
    Heart("relay").beat()
    silence("relay")
    assert heard("relay") == [False]


def test_a_process_that_ends_in_good_order_leaves_nothing():
    heart = Heart("runner")
    heart.beat()
    heart.stop()
    assert heard("runner") == []


def test_whoever_starts_on_a_machine_forgets_its_dead(monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 1)
    Heart("runner").beat()
    silence("runner")
    monkeypatch.setattr("os.getpid", lambda: 2)
    Heart("runner").beat()
    assert heard("runner") == [True]


def test_the_dead_of_another_machine_are_remembered_for_a_day(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "far-away")
    Heart("runner").beat()
    silence("runner")
    monkeypatch.undo()
    Heart("runner").beat()
    assert sorted(heard("runner")) == [False, True]
    Heartbeat.objects.filter(name__startswith="far-away").update(expires_at=Now() - timedelta(days=2))
    Heart("runner").beat()
    assert heard("runner") == [True]


@pytest.mark.django_db(transaction=True)
def test_a_thread_beats_for_a_process_whose_own_is_somebody_elses():
    beating = BeatingThread("worker")
    eventually(lambda: heard("worker") == [True])
    beating.stop()
    assert heard("worker") == []
