"""A tenant is deleted while it is being measured: one of the two comes first, and neither waits for ever."""

import time
from functools import partial
from threading import Event

import pytest
from django.db import connection
from django_scopes import scopes_disabled

from monitoring import actions
from monitoring.actions import record
from monitoring.models import ROLLUPS, LatestMetrics, Sample
from monitoring.tests.conftest import measured
from tenants import actions as tenants
from tenants.models import Tenant
from tenants.tests.test_at_once import at_once

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 3
BATCHES = 6
GONE = repr(Tenant.DoesNotExist("Tenant matching query does not exist."))
PATIENCE_SECONDS = 30


@pytest.fixture(autouse=True)
def every_tenant():
    with scopes_disabled():
        yield


def delete(tenant: Tenant) -> None:
    with scopes_disabled():  # it holds for one thread
        tenants.delete_tenant(tenant, by=None)


def measure(tenant: Tenant, machine: int) -> None:
    for batch in range(BATCHES):
        record(tenant, [measured(f"metric_{machine}", float(batch)), measured("load_1m", batch + machine / 10)])


def expect_nothing_left() -> None:
    for model in (Tenant, Sample, LatestMetrics, *ROLLUPS):
        assert not model._default_manager.exists()


def test_deleting_a_tenant_that_several_measure_ends_well_for_all():
    for number in range(ROUNDS):
        tenant = Tenant.objects.create(slug=f"tenant-{number}", name=f"Tenant {number}")
        record(tenant, [measured("load_1m", 1.0)])
        machines = [partial(measure, tenant, machine) for machine in range(3)]
        deleted, told, *measuring = at_once(partial(delete, tenant), actions.say_what_is_due, *machines)
        assert (deleted, told) == ("done", "done")
        assert set(measuring) <= {"done", GONE}
        expect_nothing_left()


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL locks row by row")
def test_a_deletion_that_begins_between_two_locks_of_a_measurement_waits_for_it(acme, monkeypatch):
    """The one moment that matters, made certain. With the locks in the other order PostgreSQL ended one of the two."""
    has_begun = Event()
    not_stored = actions._not_stored

    def slowly(*arguments):
        has_begun.set()
        wait_until_somebody_waits_for_a_lock()
        return not_stored(*arguments)

    def delete_meanwhile():
        assert has_begun.wait(PATIENCE_SECONDS)
        delete(acme)

    record(acme, [measured("load_1m", 1.0)])
    monkeypatch.setattr(actions, "_not_stored", slowly)
    assert at_once(partial(record, acme, [measured("load_1m", 2.0)]), delete_meanwhile) == ["done", "done"]
    expect_nothing_left()


def wait_until_somebody_waits_for_a_lock() -> None:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + PATIENCE_SECONDS
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction sees the first look again otherwise
            cursor.execute(sql)
            if cursor.fetchone()[0]:
                return
            assert time.monotonic() < deadline, "nobody waits"
            time.sleep(0.02)


def test_samples_for_a_tenant_that_is_gone_find_nothing(alice, acme, monkeypatch):
    """Deleted between the look at who sends them and the first lock."""
    record_of = actions.record

    def too_late(tenant, samples):
        Tenant.objects.filter(pk=tenant.pk).delete()
        return record_of(tenant, samples)

    monkeypatch.setattr(actions, "record", too_late)
    sample = {"name": "load_1m", "value": 1.0, "at": "2026-11-23T12:00:00Z"}
    monkeypatch.setattr(actions, "_check_times", lambda samples: None)
    response = alice.client.post(
        "/api/monitoring/metrics", {"samples": [sample]}, content_type="application/json", headers={"X-Tenant": "acme"}
    )
    assert response.status_code == 404
