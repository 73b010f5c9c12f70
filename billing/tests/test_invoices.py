"""Closing a period: its invoice says what the records come to, once, whenever they came."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from billing import actions, gateways, invoicing
from billing.explaining import explained_invoice
from billing.models import Invoice, Period, Plan, Segment
from billing.projection import period_at, preview_of, projection
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


@pytest.fixture
def by_the_minute(meters) -> Plan:
    """A cent each, and no fee."""
    prices = {"meters": {"minutes": {"tiers": [{"unit": "0.01"}]}}}
    return Plan.objects.create(slug="cents", name="Cents", currency="EUR", prices=prices, published_at=NOVEMBER)


@pytest.fixture
def charges_from_50_cents(monkeypatch) -> None:
    monkeypatch.setattr(gateways, "least_minor", lambda currency: 50)


def test_what_is_too_little_to_charge_is_asked_for_with_the_invoices_that_follow(
    acme, by_the_minute, charges_from_50_cents, monkeypatch
):
    actions.subscribe(acme, by_the_minute, at=NOVEMBER)
    for month, minutes in enumerate((30, 19, 5)):
        it_is(monkeypatch, LATER + timedelta(days=31 * month))
        actions.record(acme, [used(f"month {month}", quantity=minutes, day=14 + 31 * month)])
        invoicing.close_what_is_over()
    with scope(tenant=acme):
        november, december, january = Invoice.objects.order_by("number")
        how = {each.line.description: each.how for each in explained_invoice(december)}
        assert invoicing.credit_of(acme) == 0
    left = "Carried over to the next invoice: below the least that can be charged"
    taken = "Carried over from earlier invoices"
    assert lines(november) == [("Cents", "0", 0), ("Minutes", "30", 30), (left, "0", -30)]
    assert lines(december) == [("Cents", "0", 0), ("Minutes", "19", 19), (taken, "0", 30), (left, "0", -49)]
    assert lines(january) == [("Cents", "0", 0), ("Minutes", "5", 5), (taken, "0", 49)]
    totals = [(one.total, one.status) for one in (november, december, january)]
    assert totals == [("€0.00", "paid"), ("€0.00", "paid"), ("€0.54", "open")]
    assert how[taken] == "What earlier invoices came to that was too little to be charged."
    assert how[left] == "The lines above come to so little. The next invoice is so much higher."


def test_what_is_too_little_is_forgone_where_no_invoice_follows(
    acme, by_the_minute, charges_from_50_cents, monkeypatch
):
    actions.subscribe(acme, by_the_minute, at=NOVEMBER)
    actions.record(acme, [used("a", quantity=30)])
    it_is(monkeypatch, LATER)
    actions.record(acme, [used("b", quantity=10, day=31)])
    actions.cancel(acme)
    invoicing.close_what_is_over()  # December's invoice is still to come
    with scope(tenant=acme):
        projected = projection(period_at(acme, LATER), LATER)
        change = preview_of(acme, by_the_minute).change
    it_is(monkeypatch, LATER + timedelta(days=31))
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        november, december = Invoice.objects.order_by("number")
        assert invoicing.credit_of(acme) == 0
        last = explained_invoice(december)[-1]
    assert lines(november)[-1][0].startswith("Carried over to the next invoice")
    assert lines(december)[1:] == [
        ("Minutes", "10", 10),
        ("Carried over from earlier invoices", "0", 30),
        ("Forgone: below the least that can be charged", "0", -40),
    ]
    assert (december.total, december.status) == ("€0.00", "paid")
    assert last.how == "The lines above come to so little, and no other invoice follows. Nobody owes it."
    assert [line.description for line in projected.lines] == [line for line, _, _ in lines(december)]
    assert change.lines[-1].description.startswith("Carried over to"), "choosing a plan takes the cancellation back"


def test_what_was_forgone_is_not_asked_for_when_the_subscription_begins_again(
    acme, by_the_minute, charges_from_50_cents, monkeypatch
):
    actions.subscribe(acme, by_the_minute, at=NOVEMBER)
    actions.record(acme, [used("a", quantity=30)])
    actions.cancel(acme)
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    actions.restart(acme, by_the_minute)
    it_is(monkeypatch, LATER + timedelta(days=31))
    actions.record(acme, [used("late", quantity=45), used("b", quantity=5, day=40)])
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        *_, last = Invoice.objects.order_by("number")
    assert [line[1:] for line in lines(last) if line[2]] == [("5", 5), ("0", 45)]
    assert last.total == "€0.50"


def test_what_late_records_take_back_is_taken_from_what_was_carried_over(
    acme, meters, charges_from_50_cents, monkeypatch
):
    prices = {"meters": {"seats": {"tiers": [{"unit": "0.01"}]}}}
    seats = Plan.objects.create(slug="seats", name="Seats", currency="EUR", prices=prices, published_at=NOVEMBER)
    actions.subscribe(acme, seats, at=NOVEMBER)
    actions.record(acme, [used("a", "seats", 40, day=3)])
    for month, seats_by_then in enumerate((None, 25, 0)):
        it_is(monkeypatch, LATER + timedelta(days=31 * month))
        if seats_by_then is not None:
            actions.record(acme, [used(f"late {month}", "seats", seats_by_then, day=20 + month)])
        invoicing.close_what_is_over()
    with scope(tenant=acme):
        found = [[line[2] for line in lines(one) if line[2]] for one in Invoice.objects.order_by("number")]
    assert found == [[40, -40], [-15, 40, -25], [-25, 25]]


def test_reconcile_agrees_with_what_is_carried_over_and_forgone(
    acme, by_the_minute, charges_from_50_cents, monkeypatch
):
    actions.subscribe(acme, by_the_minute, at=NOVEMBER)
    actions.record(acme, [used("a", quantity=30)])
    it_is(monkeypatch, LATER)
    invoicing.close_what_is_over()
    actions.cancel(acme)
    it_is(monkeypatch, LATER + timedelta(days=31))
    invoicing.close_what_is_over()
    call_command("reconcile")


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
