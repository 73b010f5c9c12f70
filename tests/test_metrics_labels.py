"""What is counted does not grow with tenants, people, channels, or whatever somebody asks for."""

import re
from collections.abc import Iterator

import pytest
from django.utils import timezone
from django_scopes import scopes_disabled
from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from conftest import Person, make_person
from events import handling
from events.relay import drain_once
from events.tests.engine_stub import EngineStub
from monitoring import actions as metrics
from monitoring.actions import Measured
from notifications import actions as notifications
from portal.ops.facts import Facts
from portal.ops.watch import FACTS, Watch
from tenants import actions as tenants
from tenants.models import Role

pytestmark = pytest.mark.django_db(transaction=True)

#: Each has its values in the code. One that is not here needs a reason: it makes as many series as it has values.
LABELS = {"part", "cursor", "outcome", "kind", "status", "view", "method", "handler", "beat", "answer", "le"}
#: Of all processes together. A histogram has a dozen for each of its label's values.
SERIES_AT_MOST = 3000
AN_ID = re.compile(r"[0-9a-f]{8}-|@|\d{3}")


@pytest.fixture(autouse=True)
def engine(settings) -> Iterator[EngineStub]:
    settings.REDIS_URL = ""
    stub = EngineStub()
    settings.ENGINE_API_URL = stub.url
    handling.start_cursors()
    with scopes_disabled():
        yield stub
    stub.stop()


def live_through(number: int, admin: Person) -> None:
    """A tenant with its people comes, is looked at, measured, told of; somebody asks for what is not there."""
    person = make_person(f"Person {number}", f"person{number}@example.com")
    tenant = tenants.create_tenant(f"tenant{number}", f"Tenant {number}", by=admin.user)
    tenants.join(tenant, person.user, Role.TENANT_ADMIN, by=admin.user)
    metrics.record(tenant, [Measured(f"metric_{number}", 1.0, at=timezone.now())])
    notifications.send_notice(tenant, person.user, f"Notice {number}", "")
    for url in (f"/t/tenant{number}/", f"/no/such/{number}", f"/t/nobody{number}/", "/api/tenant/metrics"):
        person.get(url)
    person.client.generic(f"METHOD{number}", "/")
    drain_once(10)
    for handler in handling.all_handlers():
        handling.drain(handler, 10)
    Watch().step()
    FACTS.take_stock()


def series(*collectors: Collector) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    families = (family for collector in collectors for family in collector.collect())
    found = (sample for family in families for sample in family.samples if sample.name.startswith("neostack_"))
    return {(sample.name, tuple(sorted(sample.labels.items()))) for sample in found}


def test_more_tenants_people_and_channels_make_no_more_series(platform_admin, engine):
    for number in (0, 1):  # what handlers themselves bring about is handled with what comes next
        live_through(number, platform_admin)
    before = series(REGISTRY, FACTS)
    for number in range(2, 5):
        live_through(number, platform_admin)
    assert len(engine.streams) > 10, "several channels a tenant"
    after = series(REGISTRY, FACTS)
    assert after == before
    assert {"neostack_delivery_seconds_sum", "neostack_cursor_lag", "neostack_handler_seconds_sum"} <= dict(
        after
    ).keys()
    assert {label for _, labels in after for label, _ in labels} <= LABELS
    # A status has three digits too, of which there are few.
    values = {value for _, labels in after for label, value in labels if label not in ("le", "status")}
    assert not [value for value in values if AN_ID.search(value)]
    assert len(after) < SERIES_AT_MOST


def test_before_pulse_has_looked_nothing_is_made_up():
    assert [family.name for family in Facts().collect()] == ["neostack_looked_seconds_ago"]
