"""`manage.py reconcile` finds what was planted, repairs what needs nobody's judgement, and is quiet otherwise."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_scopes import scopes_disabled

from billing import actions as billing
from billing import invoicing, payments
from billing.actions import Used
from billing.models import (
    CountedValue,
    Crossing,
    DeletedNumber,
    Invoice,
    InvoiceLine,
    Meter,
    Period,
    Plan,
    Usage,
    UsageRecord,
)
from billing.tests.paying import pays_by
from events.models import Event
from notifications.models import Inbox
from tenants import actions as tenants

pytestmark = pytest.mark.django_db
PRICES = {
    "fee": "10.00",
    "meters": {
        "minutes": {"included": "100", "tiers": [{"unit": "0.02"}]},
        "people": {"included": "1", "tiers": [{"unit": "1.00"}]},
    },
}


@pytest.fixture(autouse=True)
def every_tenant():
    with scopes_disabled():
        yield


@pytest.fixture
def billed(acme) -> Invoice:
    """Acme, with a month that is invoiced and one that goes on. Returns the invoice."""
    Meter.objects.create(slug="minutes", name="Minutes", unit="minute")
    Meter.objects.create(slug="people", name="People", unit="person", aggregation="unique", counted_property="person")
    now = timezone.now()
    plan = Plan.objects.create(slug="x", name="X", currency="EUR", prices=PRICES, published_at=now)
    began = now - timedelta(days=40)
    billing.subscribe(acme, plan, at=began)
    for at, key in ((began, "then"), (now, "now")):
        batch = [Used(f"{key}-{n}", "people", Decimal(1), at, {"person": f"p{n}"}) for n in range(3)]
        billing.record(acme, [*batch, Used(key, "minutes", Decimal(250), at)])
    invoicing.close_what_is_over()
    return Invoice.objects.earliest("number")


def reconcile(*arguments: str) -> tuple[bool, str]:
    """Whether everything agreed, or was put right; and what was said."""
    said = StringIO()
    try:
        call_command("reconcile", *arguments, stdout=said)
    except SystemExit:
        return False, said.getvalue()
    return True, said.getvalue()


def test_where_everything_agrees_nothing_is_found(billed, alice, bob):
    assert reconcile() == (True, "".join(f"{name}: agrees\n" for name in CHECKS))


CHECKS = [
    "usage",
    "thresholds",
    "invoices",
    "numbers",
    "events of invoices",
    "events of usage",
    "unread counters",
]


def more_usage(invoice: Invoice) -> None:
    Usage.objects.filter(meter="minutes").update(quantity=Decimal(1))


def a_record_lost(invoice: Invoice) -> None:
    UsageRecord.objects.get(key="now-1").delete()


def no_usage(invoice: Invoice) -> None:
    Usage.objects.filter(meter="people").delete()


def a_value_not_counted(invoice: Invoice) -> None:
    CountedValue.objects.earliest("pk").delete()


def a_threshold_not_told(invoice: Invoice) -> None:
    Crossing.objects.filter(percent=80).delete()


def a_line_changed(invoice: Invoice) -> None:
    InvoiceLine.objects.filter(invoice=invoice, meter="minutes").update(amount_minor=1)


def a_line_lost(invoice: Invoice) -> None:
    InvoiceLine.objects.filter(invoice=invoice, meter="people").delete()


def another_sum(invoice: Invoice) -> None:
    Invoice.objects.filter(pk=invoice.pk).update(total_minor=1)


def a_record_after_the_invoice(invoice: Invoice) -> None:
    record = UsageRecord.objects.get(key="then")
    record.pk, record.key, record.recorded_at = None, "stray", timezone.now()
    record.save()
    usage = Usage.objects.get(period=record.period, meter="minutes")
    Usage.objects.filter(pk=usage.pk).update(quantity=usage.quantity + 250, records=2)


def an_invoice_not_told(invoice: Invoice) -> None:
    Event.objects.filter(type="invoice_event", payload__invoiceId=str(invoice.pk)).delete()


def a_usage_not_told(invoice: Invoice) -> None:
    Event.objects.filter(type="usage_update", payload__resource="minutes").delete()


def a_counter_off(invoice: Invoice) -> None:
    Inbox.objects.update(unread=7)


@pytest.mark.parametrize(
    ("plant", "check", "words"),
    [
        (more_usage, "usage", "says 1 of 1 records, its 1 records come to 250"),
        (a_record_lost, "usage", "says 3 of 3 records, its 2 records come to 2"),
        (no_usage, "usage", "says nothing of 0 records, its 3 records come to 3"),
        (a_value_not_counted, "usage", "says 3 of 3 records, its 3 records come to 3"),
        (a_threshold_not_told, "thresholds", "80 % reached, and nobody was told"),
        (a_line_changed, "invoices", "its lines come to"),
        (a_line_lost, "invoices", "its lines come to"),
        (another_sum, "invoices", "its sum is 1,"),
        (a_record_after_the_invoice, "invoices", "1 records came after its invoice"),
        (an_invoice_not_told, "events of invoices", "version 2 (open) was not told"),
        (a_usage_not_told, "events of usage", "250 are used, the log says nothing"),
        (a_counter_off, "unread counters", "says 7 unread, there are 0"),
    ],
)
def test_a_planted_fault_is_found_and_put_right(billed, alice, plant, check, words):
    Inbox.objects.get_or_create(user=alice.user)
    before = facts()
    plant(billed)
    agreed, said = reconcile()
    assert not agreed
    assert f"{check}: " in said
    assert words in said
    repaired, said = reconcile("--repair")
    assert repaired, said
    assert reconcile()[0], reconcile()[1]
    if plant not in (a_record_lost, a_record_after_the_invoice):
        assert facts() == before


def facts() -> list[object]:
    lines = InvoiceLine.objects.order_by("invoice", "position").values_list("invoice", "description", "amount_minor")
    usage = Usage.objects.order_by("period", "meter").values_list("period", "meter", "quantity", "records")
    return [list(lines), list(usage), Invoice.objects.get(number="NS-000001").total_minor]


def test_a_closed_period_without_an_invoice_gets_one(billed):
    period = Period.objects.get(pk=billed.period_id)
    Invoice.objects.filter(period=period).delete()
    said = reconcile("--repair")[1]
    assert "it is closed, and has no invoice (put right)" in said
    assert Invoice.objects.filter(period=period).exists()
    assert "NS-000001 is missing; the log has it (needs a person)" in reconcile()[1]


def test_an_invoice_that_is_not_what_the_log_says_was_issued_is_left_to_a_person(billed):
    UsageRecord.objects.filter(key="then").update(quantity=Decimal(9999))
    said = reconcile("--repair")[1]
    assert "(needs a person)" in next(line for line in said.splitlines() if line.startswith("invoices"))
    assert Invoice.objects.get(pk=billed.pk).total_minor == billed.total_minor


def test_what_was_declined_paid_and_given_back_agrees_too(billed, acme, alice, platform_admin):
    pays_by(acme, "declines")
    payments.pay(billed, by=alice.user)
    assert reconcile()[0], reconcile()[1]
    pays_by(acme, "pays")
    payments.pay(billed, by=alice.user)
    payments.refund(Invoice.objects.get(pk=billed.pk), "A mistake of ours", by=platform_admin.user)
    assert Invoice.objects.filter(number="CN-000001").exists()
    assert reconcile()[0], reconcile()[1]


def test_a_line_that_differs_is_left_to_a_person_where_the_log_no_longer_says_what_was_issued(billed):
    Event.objects.filter(type="invoice_event").delete()
    a_line_changed(billed)
    said = reconcile("--repair")[1]
    assert "(needs a person)" in next(line for line in said.splitlines() if line.startswith("invoices: "))
    assert billed.lines.filter(amount_minor=1).exists()


def test_a_record_of_a_process_whose_clock_is_ahead_is_on_its_invoice(billed):
    closed_at = Period.objects.get(pk=billed.period_id).closed_at
    UsageRecord.objects.filter(key="then").update(recorded_at=closed_at + timedelta(seconds=5))
    assert reconcile()[0], reconcile()[1]


def test_the_numbers_of_a_tenant_that_is_gone_are_not_missing_even_when_the_log_is_pruned(billed, acme, platform_admin):
    payments.void(billed, "They leave", by=platform_admin.user)
    tenants.delete_tenant(acme, by=platform_admin.user)
    Event.objects.filter(type="invoice_event").delete()
    assert reconcile()[0], reconcile()[1]
    assert DeletedNumber.objects.get(number="NS-000001").tenant_name == "Acme"
