"""Closing a period: its invoice says what the records come to, once, whenever they came."""

from datetime import timedelta

import pytest
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from billing import actions, invoicing
from billing.explaining import explained_invoice
from billing.models import Invoice, Period, Plan, Segment
from billing.records import records_page
from billing.tests.conftest import DECEMBER, NOVEMBER, PRICES, used
from events.models import Event
from tenants.models import Tenant

pytestmark = pytest.mark.django_db

LATER = DECEMBER + timedelta(hours=2)


def it_is(monkeypatch, moment) -> None:
    monkeypatch.setattr(timezone, "now", lambda: moment)


def lines(invoice: Invoice) -> list[tuple[str, str, int]]:
    with scope(tenant=invoice.tenant):
        return [
            (one.description, f"{one.quantity or 0:f}".rstrip("0").rstrip("."), one.amount_minor)
            for one in invoice.lines.all()
        ]


def test_a_month_becomes_an_invoice_whose_lines_explain_it(acme, subscription, monkeypatch):
    actions.record(acme, [used("a", quantity=1600), used("b", "seats", 5)])
    it_is(monkeypatch, LATER)
    assert invoicing.close_what_is_over() == 1
    with scope(tenant=acme):
        invoice = Invoice.objects.get()
    assert lines(invoice) == [
        ("Team", "0", 4900),
        ("Minutes, included", "500", 0),
        ("Minutes, from 500 to 1,500", "1000", 2000),
        ("Minutes, from 1,500 on", "100", 150),
        ("Seats, included", "3", 0),
        ("Seats, from 3 on", "2", 1800),
    ]
    assert (invoice.total, invoice.status, invoice.number) == ("€88.50", "open", "NS-000001")
    with scope(tenant=acme):
        event = Event.objects.get(type="invoice_event")
    assert event.summary == "Invoice NS-000001 over 88.50 EUR was issued"


def test_closing_again_changes_nothing(acme, subscription, monkeypatch):
    it_is(monkeypatch, LATER)
    assert (invoicing.close_what_is_over(), invoicing.close_what_is_over()) == (1, 0)
    with scopes_disabled():
        assert Invoice.objects.count() == 1


def test_a_period_waits_for_its_last_records(acme, subscription, monkeypatch):
    it_is(monkeypatch, DECEMBER + timedelta(minutes=59))
    assert invoicing.close_what_is_over() == 0


def test_what_comes_too_late_is_on_the_next_invoice(acme, subscription, monkeypatch):
    actions.record(acme, [used("a", quantity=600)])
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    assert actions.record(acme, [used("late", quantity=100)]).late == 1
    assert actions.record(acme, [used("now", quantity=510, day=31)]).late == 0
    it_is(monkeypatch, LATER + timedelta(days=31))
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        first, second = Invoice.objects.order_by("number")
    assert first.total == "€51.00"
    assert lines(second) == [
        ("Team", "0", 4900),
        ("Minutes, included", "500", 0),
        ("Minutes, from 500 to 1,500", "10", 20),
        ("Minutes of November 2026, reported late", "0", 200),
    ]


def test_another_plan_from_the_middle_of_the_month_on(acme, subscription, monkeypatch):
    bigger = Plan.objects.create(
        slug="big", name="Big", currency="EUR", prices={"fee": "100.00"}, published_at=NOVEMBER
    )
    actions.record(acme, [used("a", quantity=300, day=3)])
    actions.change_plan(acme, bigger, at=NOVEMBER + timedelta(days=15))
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        invoice = Invoice.objects.get()
    assert lines(invoice) == [
        ("Team, 50.0 % of the month", "0", 2450),
        ("Minutes, included", "250", 0),
        ("Minutes, from 250 to 750", "50", 100),
        ("Big, 50.0 % of the month", "0", 5000),
    ]


def test_a_cancelled_subscription_ends_with_its_period_and_is_invoiced(acme, subscription, monkeypatch):
    actions.cancel(acme)
    it_is(monkeypatch, LATER)
    with pytest.raises(actions.BadRecord, match="in none of its periods"):
        actions.record(acme, [used("a", day=31)])
    assert invoicing.close_what_is_over() == 1
    with scope(tenant=acme):
        assert Period.objects.count() == 1


def test_another_plan_with_the_same_prices_costs_a_level_no_more(acme, subscription, monkeypatch):
    same = Plan.objects.create(slug="same", name="Same", currency="EUR", prices=PRICES, published_at=NOVEMBER)
    actions.change_plan(acme, same, at=NOVEMBER + timedelta(days=15))
    it_is(monkeypatch, LATER)
    actions.record(acme, [used("a", "seats", 5, day=1), used("b", "seats", 5, day=16)])
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        invoice = Invoice.objects.get()
    assert [line for line in lines(invoice) if line[0].startswith("Seats")] == [
        ("Seats, included", "3", 0),
        ("Seats, from 3 on, 50.0 % of the month", "2", 900),
    ] * 2
    assert invoice.total == "€67.00"


def test_what_was_reported_once_goes_on_through_two_changes_of_the_plan(acme, subscription, monkeypatch):
    """A hundred seats on the first day are a hundred seats all month, whatever they cost by then."""
    prices = {"meters": {"seats": {"tiers": [{"unit": "6.00"}]}, "people": {"tiers": [{"unit": "1.00"}]}}}
    other = Plan.objects.create(slug="other", name="Other", currency="EUR", prices=prices, published_at=NOVEMBER)
    actions.record(acme, [used("a", "seats", 100, day=1), used("p", "people", day=2, person="ann")])
    actions.record(acme, [used("d1", "disk", 70, day=2), used("d2", "disk", 40, day=9)])
    actions.change_plan(acme, other, at=NOVEMBER + timedelta(days=10))
    actions.change_plan(acme, subscription.plan, at=NOVEMBER + timedelta(days=20))
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        invoice = Invoice.objects.get()
        last = invoice.lines.filter(meter="seats").last()
        assert [record.key for record in records_page(last).rows] == ["a"]
    third = ", 33.3 % of the month"
    assert [line for line in lines(invoice) if line[0].startswith(("Seats", "Disk", "People"))] == [
        (f"Disk{third}", "70", 233),
        ("People, included", "1", 0),
        ("Seats, included", "3", 0),
        (f"Seats, from 3 on{third}", "97", 29100),
        (f"Seats{third}", "100", 20000),
        (f"Disk{third}", "40", 133),  # what it was by then, not the highest of the month
        ("Seats, included", "3", 0),
        (f"Seats, from 3 on{third}", "97", 29100),
    ]


def test_a_late_record_counts_in_the_parts_after_its_own_too(acme, subscription, monkeypatch):
    same = Plan.objects.create(slug="same", name="Same", currency="EUR", prices=PRICES, published_at=NOVEMBER)
    actions.record(acme, [used("a", "seats", 10, day=2)])
    actions.change_plan(acme, same, at=NOVEMBER + timedelta(days=15))
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    actions.record(acme, [used("late", "seats", 12, day=10)])
    it_is(monkeypatch, LATER + timedelta(days=31))
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        second = Invoice.objects.order_by("number").last()
        late = [line for line in lines(second) if "late" in line[0]]
        assert late == [("Seats of November 2026, reported late", "0", 900)] * 2
        keys = [[record.key for record in records_page(line).rows] for line in second.lines.filter(meter="seats")]
        assert keys == [["late"], ["late"]]


def test_who_begins_in_the_middle_of_a_month_pays_for_half_of_it_and_has_half(globex, meters, plan, monkeypatch):
    actions.subscribe(globex, plan, at=NOVEMBER + timedelta(days=15))
    it_is(monkeypatch, NOVEMBER + timedelta(days=20))
    actions.record(globex, [used("a", quantity=300, day=18)])
    with scope(tenant=globex):
        assert Event.objects.filter(type="usage_update").latest("id").payload["limit"] == 250
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    with scope(tenant=globex):
        invoice = Invoice.objects.get()
    assert lines(invoice) == [
        ("Team, 50.0 % of the month", "0", 2450),
        ("Minutes, included", "250", 0),
        ("Minutes, from 250 to 750", "50", 100),
    ]


def test_what_a_late_record_takes_back_is_credited_to_the_invoices_that_follow(acme, subscription, monkeypatch):
    free = Plan.objects.create(slug="free", name="Free", currency="EUR", prices={}, published_at=NOVEMBER)
    actions.record(acme, [used("a", "seats", 103, day=3)])
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    actions.change_plan(acme, free, at=DECEMBER)
    actions.record(acme, [used("late", "seats", 98, day=20)])  # by then there were fewer
    it_is(monkeypatch, LATER + timedelta(days=31))
    invoicing.close_what_is_over()
    actions.change_plan(acme, subscription.plan, at=DECEMBER + timedelta(days=31))
    it_is(monkeypatch, LATER + timedelta(days=62))
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        november, december, january = Invoice.objects.order_by("number")
    assert november.total == "€949.00"
    assert lines(december) == [
        ("Free", "0", 0),
        ("Seats of November 2026, reported late", "0", -4500),
        ("Credit for the next invoice", "0", 4500),
    ]
    assert (december.total, december.status) == ("€0.00", "paid")
    assert lines(january)[1:] == [("Credit of earlier invoices", "0", -4500)]
    assert january.total == "€4.00"


def test_an_invoice_over_nothing_is_paid_at_once(globex, meters, monkeypatch):
    actions.ensure_subscribed(globex, at=NOVEMBER)
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    with scope(tenant=globex):
        invoice = Invoice.objects.get()
        told = [event.payload["event"] for event in Event.objects.filter(type="invoice_event").order_by("id")]
    assert (lines(invoice), invoice.status, invoice.settled_at) == ([("Starter", "0", 0)], "paid", LATER)
    assert told == ["created", "paid"]


def test_what_is_flat_says_so_and_for_which_part_of_the_month(acme, subscription, monkeypatch):
    prices = {"meters": {"minutes": {"flat": "20.00"}, "disk": {"tiers": [{"up_to": "5", "unit": "0"}, {"unit": "1"}]}}}
    flat = Plan.objects.create(slug="flat", name="Flat", currency="EUR", prices=prices, published_at=NOVEMBER)
    actions.change_plan(acme, flat, at=NOVEMBER + timedelta(days=15))
    it_is(monkeypatch, LATER)
    actions.record(acme, [used("a", quantity=1, day=20), used("b", "disk", 5, day=20)])
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        *_, disk, minutes = explained_invoice(Invoice.objects.get())
    assert (disk.line.description, disk.is_included, disk.unit_price) == (
        "Disk, from 0 to 5, 50.0 % of the month",
        False,
        "€0.00",
    )
    assert (minutes.line.description, minutes.quantity, minutes.amount) == (
        "Minutes, flat, 50.0 % of the month",
        "",
        "€10.00",
    )
    assert minutes.how == (
        "Minutes costs €20.00 a month once used, however much, by Flat; Flat was in force for 50.0 % of this one. "
        "It was, in 1 record."
    )


def test_an_invoice_keeps_the_name_that_its_buyer_had(acme, alice, subscription, monkeypatch):
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    Tenant.objects.filter(pk=acme.pk).update(name="Acme Holding")
    with scope(tenant=acme):
        assert Invoice.objects.get().buyer == "Acme"


def test_a_late_record_is_taken_while_the_last_invoice_is_still_to_come(acme, subscription, monkeypatch):
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    actions.cancel(acme)
    it_is(monkeypatch, DECEMBER + timedelta(days=31, minutes=5))
    actions.begin_what_is_due()
    assert actions.record(acme, [used("late", quantity=600)]).late == 1
    it_is(monkeypatch, DECEMBER + timedelta(days=31, hours=2))
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        last = Invoice.objects.order_by("number").last()
    assert ("Minutes of November 2026, reported late", "0", 200) in lines(last)
    with pytest.raises(actions.BadRecord, match="no other invoice will come"):
        actions.record(acme, [used("too-late")])


def test_one_period_that_cannot_be_closed_holds_no_other_back(acme, globex, subscription, plan, monkeypatch):
    actions.subscribe(globex, plan, at=NOVEMBER)
    with scopes_disabled():
        Segment.objects.filter(tenant=acme).delete()
    it_is(monkeypatch, LATER)
    assert invoicing.close_what_is_over() == 1
    with scopes_disabled():
        assert Invoice.objects.get().tenant == globex
