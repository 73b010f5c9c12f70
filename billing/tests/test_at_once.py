"""Several at the same moment, and one that is killed half-way: real processes, connections and transactions."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.utils import timezone as clock
from django_scopes import scope, scopes_disabled

from billing import actions, invoicing, payments
from billing.gateways import local
from billing.models import Crossing, Invoice, LocalCharge, Period, Plan, Subscription, Usage, UsageRecord
from billing.tests.paying import fresh, happened, open_invoice, pays_by, taken, tries
from events.models import Event
from tenants import actions as tenants
from tenants.models import Tenant
from tenants.tests.test_at_once import at_once
from tests.processes import Process, all_at_once, processes

pytestmark = pytest.mark.django_db(transaction=True)
REAL_NOW = clock.now
WORKER = "billing.tests.worker"


@pytest.fixture(autouse=True)
def now(monkeypatch) -> datetime:
    """The real clock: the other processes have no other."""
    monkeypatch.setattr(clock, "now", REAL_NOW)
    return REAL_NOW()


@pytest.fixture(scope="module")
def four(django_db_setup) -> Iterator[list[Process]]:
    """Processes of their own, for all tests here: each takes a while to start."""
    with processes(4, WORKER) as found:
        yield found


@pytest.fixture
def acmes(acme, meters, plan) -> Subscription:
    return actions.subscribe(acme, plan, at=REAL_NOW() - timedelta(minutes=1))


def test_four_processes_at_once_lose_nothing_and_reach_each_threshold_once(acme, acmes, meters, four):
    """Nobody is told a threshold that nobody reached, nor of one twice; each repeat counts as the same record."""
    with scope(tenant=acme):
        limit = actions.limit_of(Period.objects.get(), meters["minutes"])
    each = (limit / 30).quantize(Decimal("0.000001"))
    for number, one in enumerate(four):
        one.begin("record", str(acme.pk), f"p{number}", 10, str(each))
    assert [one.answer() for one in four] == [None] * 4
    with scope(tenant=acme):
        assert UsageRecord.objects.count() == 40
        assert Usage.objects.get().quantity == each * 40
        events = Event.objects.filter(type="usage_update").order_by("id")
        told = [level for event in events for level in event.payload["reached"]]
        assert [event.payload["version"] for event in events] == list(range(1, 41))
        assert told == [50, 80, 100]
        assert sorted(Crossing.objects.values_list("percent", flat=True)) == [50, 80, 100]


@pytest.fixture
def due(meters, plan) -> list[Tenant]:
    """Five tenants whose first month is over. Each costs something."""
    found = [Tenant.objects.create(slug=f"tenant-{n}", name=f"Tenant {n}") for n in range(5)]
    for tenant in found:
        actions.subscribe(tenant, plan, at=REAL_NOW() - timedelta(days=40))
    return found


def numbers() -> list[str]:
    with scopes_disabled():
        return sorted(Invoice.objects.values_list("number", flat=True))


def test_a_closing_that_is_killed_half_way_is_finished_by_the_next_and_each_invoice_stands_once(due):
    with processes(1, WORKER) as (killed,):
        killed.begin("close_until", 3)
        assert killed.answer() == "half-way"
        assert numbers() == ["NS-000001", "NS-000002"]
        killed.popen.kill()
    invoicing.close_what_is_over()
    with scopes_disabled():
        closed = list(Period.objects.filter(closed_at__isnull=False))
        assert Counter(Invoice.objects.values_list("period", flat=True)) == Counter(period.pk for period in closed)
        assert {period.tenant_id for period in closed} == {tenant.pk for tenant in due}
        told = Event.objects.filter(type="invoice_event").values_list("payload__number", flat=True)
        assert sorted(told) == numbers()
    assert numbers() == [f"NS-{n:06}" for n in range(1, len(closed) + 1)]


def test_four_processes_that_close_at_once_leave_one_invoice_each_and_no_gap(due, four):
    closed = sum(all_at_once(four, "close"))
    with scopes_disabled():
        assert Period.objects.filter(closed_at__isnull=False).count() == closed >= len(due)
        assert Invoice.objects.values("period").distinct().count() == closed
        told = Event.objects.filter(type="invoice_event", payload__event="created").values_list("payload__number")
        assert sorted(number for (number,) in told) == numbers()
    assert numbers() == [f"NS-{n:06}" for n in range(1, closed + 1)]


def test_four_processes_that_pay_one_invoice_charge_it_once(acme, acmes, four):
    pays_by(acme, "pays")
    invoice = open_invoice(acme)
    outcomes = all_at_once(four, "pay", str(invoice.pk))
    assert "paid" in outcomes
    assert LocalCharge.objects.count() == 1
    assert (fresh(invoice).status, tries(invoice), taken()) == ("paid", ["paid"], 12_840)
    assert happened(acme) == ["created", "paid"]


def test_a_callback_that_four_processes_are_called_with_is_taken_once(acme, acmes, four):
    pays_by(acme, "calls_back_late")
    invoice = open_invoice(acme)
    charge = LocalCharge.objects.get(key=str(payments.pay(invoice).pk))
    body = local._said(charge, {"id": "call-1", "outcome": "done"})
    outcomes = all_at_once(four, "take_callback", "local", body.decode(), dict(local.make().signed(body)))
    assert sorted(outcomes) == [False, False, False, True]
    assert (fresh(invoice).status, happened(acme)) == ("paid", ["created", "paid"])


def test_records_while_the_period_is_closed_are_on_its_invoice_or_on_the_next(due):
    tenant = due[0]
    with scope(tenant=tenant):
        period = Period.objects.earliest("starts_at")
    at = period.starts_at + timedelta(hours=1)

    def record(name: str) -> None:
        for number in range(5):
            actions.record(tenant, [actions.Used(f"{name}{number}", "disk", Decimal(number + 1), at)])

    close = partial(invoicing.close, period)
    assert at_once(partial(record, "a"), close, partial(record, "b")) == ["done"] * 3
    with scope(tenant=tenant):
        late = UsageRecord.objects.filter(is_late=True)
        invoice = Invoice.objects.get(period=period)
        counted = UsageRecord.objects.filter(is_late=False).count()
        assert counted + late.count() == 10
        on_it = sum(line.amount_minor for line in invoice.lines.filter(meter="disk"))
        on_next = sum(line.minor for line in invoicing.adjustments(invoicing.not_adjusted(tenant)))
        all_of_it = sum(line.minor for line in invoicing.lines_of(period) if line.meter)
    assert on_it + on_next == all_of_it


def test_changing_the_plan_while_others_record_keeps_every_moment_under_one_plan(acme, acmes, meters):
    """With the plan joined to the locked row, PostgreSQL would find no subscription for whoever waited."""
    other = Plan.objects.create(slug="other", name="Other", currency="EUR", prices={}, published_at=REAL_NOW())

    def change() -> None:
        for plan in [other, acmes.plan] * 3:
            actions.change_plan(acme, plan)

    def record(name: str) -> None:
        for number in range(5):
            actions.record(acme, [actions.Used(f"{name}{number}", "minutes", Decimal(1), REAL_NOW())])

    assert at_once(change, partial(record, "a"), partial(record, "b"), change) == ["done"] * 4
    with scope(tenant=acme):
        period = Period.objects.get()
        segments = list(period.segments.all())
        assert [one.since for one in segments] == [period.starts_at, *(one.until for one in segments[:-1])]
        assert segments[-1].until == period.ends_at
        assert Usage.objects.get().quantity == 10


def test_deleting_a_tenant_that_several_record_for_ends_well_for_all(meters, plan):
    def delete(tenant: Tenant) -> None:
        with scopes_disabled():  # it holds for one thread
            tenants.delete_tenant(tenant, by=None)

    def record(tenant: Tenant, name: str) -> None:
        for number in range(5):
            actions.record(tenant, [actions.Used(f"{name}{number}", "minutes", Decimal(1), REAL_NOW())])

    for number in range(3):
        tenant = Tenant.objects.create(slug=f"gone-{number}", name=f"Gone {number}")
        actions.subscribe(tenant, plan, at=REAL_NOW() - timedelta(minutes=1))
        deleted, *recorded = at_once(
            partial(delete, tenant), partial(record, tenant, "a"), partial(record, tenant, "b")
        )
        assert deleted == "done"
        assert set(recorded) <= {"done", "NoSubscription"}
    with scopes_disabled():
        assert not UsageRecord.objects.exists()


def test_two_subscriptions_at_once_are_one(acme, meters, plan):
    outcomes = at_once(*[partial(actions.subscribe, acme, plan)] * 3)
    assert sorted(outcomes) == ["Refused", "Refused", "done"]
    with scope(tenant=acme):
        assert Period.objects.count() == 1
