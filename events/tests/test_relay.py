"""The relay as a process: killed, stopped, doubled, without its database."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection

from events.channels import Topic, tenant
from events.models import Cursor
from events.tests.conftest import RELAY_UNDER_TEST, eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


@pytest.fixture
def dashboard(acme) -> str:
    return tenant(acme.id, Topic.DASHBOARD).name


def owner() -> str:
    return Cursor.objects.filter(name="push").values_list("owner", flat=True).first() or ""


def active(process) -> bool:
    return owner().endswith(f"pid {process.pid}")


def test_a_commit_goes_out_at_once(start_relay, engine, happen, dashboard):
    relay = start_relay()
    eventually(lambda: active(relay))
    happen(5)
    eventually(lambda: engine.seqs(dashboard) == [1, 2, 3, 4, 5], seconds=5)


def test_when_the_relay_is_killed_another_takes_over_and_nothing_is_missing_or_doubled(
    start_relay, engine, happen, dashboard
):
    first = start_relay()
    eventually(lambda: active(first))
    second = start_relay()
    eventually(lambda: "Standing by" in second.output)
    happen(300)
    eventually(lambda: engine.went_out)
    first.send_signal(signal.SIGKILL)
    happen(300, first=301)
    eventually(lambda: len(engine.seqs(dashboard)) >= 600)
    assert active(second)
    assert engine.seqs(dashboard) == list(range(1, 601))
    assert [event["thing"] for _, event in engine.went_out] == list(range(1, 601))


def test_a_relay_that_is_told_to_stop_gives_its_lease_back(start_relay, engine, happen, dashboard):
    first = start_relay(RELAY_LEASE_SECONDS="60")
    eventually(lambda: active(first))
    second = start_relay()
    eventually(lambda: "Standing by" in second.output)
    first.terminate()
    assert first.wait(timeout=10) == 0
    eventually(lambda: active(second), seconds=10)
    happen(1)
    eventually(lambda: engine.seqs(dashboard) == [1])


def test_the_relay_says_what_it_waits_for_and_goes_on_when_it_is_back(start_relay, engine, happen, dashboard):
    engine.stop()
    relay = start_relay()
    happen(10)
    eventually(lambda: "Waiting. The engine can't be reached" in relay.output)
    engine.start()
    eventually(lambda: engine.seqs(dashboard) == list(range(1, 11)))
    eventually(lambda: relay.output.rstrip().endswith("Active: numbering and pushing."))
    assert relay.output.count("Waiting.") <= 3


def test_without_celerys_broker_the_relay_pushes_all_the_same(start_relay, engine, happen, dashboard):
    relay = start_relay()
    happen(1)
    eventually(lambda: engine.seqs(dashboard) == [1])
    eventually(lambda: "Celery's broker is away" in relay.output)
    happen(1, first=2)
    eventually(lambda: engine.seqs(dashboard) == [1, 2], seconds=5)


def test_a_relay_that_is_there_before_its_tables_waits_for_them(start_relay, tmp_path):
    """Whoever starts the processes need not mind the order."""
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path / 'new.sqlite3'}"}
    relay = start_relay(**environ)
    eventually(lambda: "Waiting for the database: its migrations are not all applied" in relay.output)
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(
        migrate, cwd=settings.BASE_DIR, env=os.environ | {"DJANGO_SETTINGS_MODULE": "neostack.settings"} | environ
    ).check_returncode()
    eventually(lambda: "Active: numbering and pushing." in relay.output)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server that could cut a connection")
def test_a_relay_whose_connections_are_cut_comes_back(start_relay, engine, happen, dashboard):
    relay = start_relay()
    eventually(lambda: active(relay))
    happen(1)
    eventually(lambda: engine.seqs(dashboard) == [1])
    eventually(lambda: len(_of_the_relay("pid")) >= 2)
    assert all(_of_the_relay("pg_terminate_backend(pid)"))
    happen(1, first=2)
    eventually(lambda: engine.seqs(dashboard) == [1, 2])
    eventually(lambda: "Waiting for the database" in relay.output)
    assert relay.poll() is None


def _of_the_relay(what: str) -> list:
    """`what` of the relay's connections: its own and the one it listens on."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {what} FROM pg_stat_activity WHERE application_name = %s", [RELAY_UNDER_TEST])
        return [row[0] for row in cursor.fetchall()]
