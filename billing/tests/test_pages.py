"""What Alice and Bob see of acme's billing: what will be owed, why, and what another plan would cost."""

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_scopes import scope, scopes_disabled

from billing import actions, gateways, invoicing, payments
from billing.gauges import Gauge
from billing.models import Invoice, InvoiceLine, Meter, Period, Plan, Subscription, Threshold
from billing.money import shown_unit
from billing.projection import period_at, preview, projection, signed
from billing.tests.conftest import DECEMBER, NOVEMBER, PRICES, used
from conftest import Person
from events.models import Event

pytestmark = pytest.mark.django_db
BILLING = "/t/acme/billing/"
AFTER_GRACE = DECEMBER + timedelta(hours=2)


@pytest.fixture
def go_to(monkeypatch) -> Callable[[Person, datetime], None]:
    """Makes it another moment, at which a person signs in again."""

    def move(person: Person, moment: datetime) -> None:
        monkeypatch.setattr("django.utils.timezone.now", lambda: moment)
        person.client.force_login(person.user, backend="allauth.account.auth_backends.AuthenticationBackend")

    return move


@pytest.fixture
def bigger(meters) -> Plan:
    prices = PRICES | {
        "fee": "99.00",
        "meters": PRICES["meters"] | {"minutes": {"included": "5000", "tiers": [{"unit": "0.01"}]}},
    }
    return Plan.objects.create(slug="bigger", name="Bigger", currency="EUR", prices=prices, published_at=NOVEMBER)


@pytest.fixture
def some_usage(acme, subscription) -> None:
    actions.record(acme, [used("a", quantity=400), used("b", quantity="212.5"), used("seats", "seats", 4)])


@pytest.fixture
def invoice(acme, some_usage) -> Invoice:
    """Of November, issued an hour after its end and some."""
    with scopes_disabled():
        invoicing.close_what_is_over(AFTER_GRACE)
        return Invoice.objects.get(tenant=acme)


def page(person, url: str = BILLING) -> str:
    response = person.get(url)
    assert response.status_code == 200, response.status_code
    return html.unescape(response.content.decode())


def said(text: str, test_id: str) -> list[str]:
    """The words in every element with this test id that holds no other element."""
    return re.findall(rf'data-testid="{test_id}">([^<]*)<', text)


# --- What will be owed ------------------------------------------------------------------------------------------------


def test_alice_sees_what_she_will_owe_and_what_of_it_each_meter_makes(alice, some_usage):
    text = page(alice)
    # 49.00, 112.5 minutes beyond 500 at 0.02, and one seat beyond 3 at 9.00
    assert said(text, "projected") == ["€60.25"]
    assert "612.5" in text
    assert "122.5 %" in text
    assert "100 % reached" in text
    assert "Europe/Lisbon" in text
    assert "1 to 30 Nov 2026" in text


def test_bob_reads_all_of_it_and_can_change_nothing(bob, invoice):
    text = page(bob) + page(bob, f"{BILLING}invoices/{invoice.number}/")
    assert "€60.25" in text
    assert "Change plan" not in text
    assert "threshold-form" not in text
    assert "/pay/" not in text


def test_a_company_without_a_plan_is_told_that_nothing_is_owed(alice, acme):
    assert "has no plan yet" in page(alice)
    assert alice.get(f"{BILLING}plan/").url == BILLING
    assert alice.get(f"{BILLING}projected/").url == BILLING


def test_the_projected_invoice_is_the_one_that_is_issued_when_nothing_more_is_used(alice, acme, some_usage, now):
    with scope(tenant=acme):
        projected = projection(period_at(acme, now), now)
        lines = [(line.description, line.amount_minor) for line in projected.lines]
        invoicing.close_what_is_over(AFTER_GRACE)
        issued = Invoice.objects.get(tenant=acme)
        assert issued.total_minor == projected.invoice.total_minor == 6025
        assert [(line.description, line.amount_minor) for line in issued.lines.all()] == lines


def test_alice_reads_what_becomes_of_a_sum_that_is_too_little_to_charge(alice, acme, some_usage, monkeypatch):
    monkeypatch.setattr(gateways, "least_minor", lambda currency: 10_000)
    left = "Carried over to the next invoice: below the least that can be charged"
    text = page(alice)
    assert said(text, "projected") == ["€0.00"]
    assert f"<dt>{left}</dt><dd>-€60.25</dd>" in text
    text = page(alice, f"{BILLING}projected/")
    assert left in text
    assert "The lines above come to so little. The next invoice is so much higher." in text
    with scopes_disabled():
        invoicing.close_what_is_over(AFTER_GRACE)
        invoice = Invoice.objects.get(tenant=acme)
    text = page(alice, f"{BILLING}invoices/{invoice.number}/")
    assert (said(text, "total"), invoice.status) == (["€0.00"], "paid")
    assert left in text


def test_what_came_too_late_stands_on_the_projected_invoice_of_the_next_period(alice, acme, invoice, go_to):
    go_to(alice, AFTER_GRACE)
    actions.record(acme, [used("late", quantity=100, day=20)])
    text = page(alice, f"{BILLING}projected/")
    assert "reported late" in text
    assert "€2.00" in text
    address = re.search(r"/t/acme/billing/projected/lines/\d+/", text)[0]
    records = page(alice, address)
    assert re.findall(r'class="cell-key mono">([^<]+)<', records) == ["late"]


def test_a_plan_that_has_ended_says_when_and_can_begin_again(alice, bob, acme, some_usage, plan, go_to):
    actions.cancel(acme)
    go_to(alice, DECEMBER + timedelta(minutes=1))
    assert "This period has ended. Its invoice is issued when" in page(alice)
    with scopes_disabled():
        invoicing.close_what_is_over(AFTER_GRACE)
    go_to(bob, AFTER_GRACE + timedelta(days=40))
    assert "An admin of Acme can begin again." in page(bob)
    go_to(alice, AFTER_GRACE + timedelta(days=40))
    text = page(alice)
    assert "The plan Team ended on" in text
    assert "1 Dec 2026, 00:00:00 Europe/Lisbon" in text
    assert "This period so far" not in text
    assert alice.get(f"{BILLING}projected/").url == BILLING
    with scopes_disabled():
        line = InvoiceLine.objects.filter(meter=None).first()
        line.pk, line.position, line.carries, line.amount_minor, line.segment = None, 99, True, 1200, None
        line.save()
    assert "€12.00 of credit are kept" in page(alice)
    answer = alice.post(f"{BILLING}plan/start/", {"plan": str(plan.pk)}, follow=True)
    assert "Acme is on Team from now on." in html.unescape(answer.content.decode())
    assert "This period so far" in page(alice)
    assert alice.post(f"{BILLING}plan/start/", {"plan": str(plan.pk)}).status_code == 409


def test_what_is_owed_is_said_however_old_it_is(alice, acme, invoice):
    copies = [
        Invoice(tenant=acme, currency="EUR", number=f"NS-9{number:05}", status="paid", total_minor=number)
        for number in range(20)
    ]
    Invoice.objects.bulk_create(copies)
    assert f"Invoice {invoice.number} over" in page(alice)


def test_the_moment_of_a_projection_is_said_in_the_zone_of_the_tenant(alice, acme, some_usage):
    acme.time_zone = "Asia/Tokyo"
    acme.save()
    for text in (page(alice), page(alice, f"{BILLING}projected/")):
        assert re.search(r"as of <time[^>]*>15 Nov 2026, 12:00:00 Europe/Lisbon", text), "as its period was begun"


# --- An invoice -------------------------------------------------------------------------------------------------------


def test_an_invoice_explains_each_line_down_to_its_records(alice, invoice):
    text = page(alice, f"{BILLING}invoices/{invoice.number}/")
    assert said(text, "total") == ["€60.25"]
    assert "The fee of Team for a whole month." in text
    assert "The sum of 2 records, priced by Team." in text
    assert "The last of 1 record, priced by Team." in text
    assert "112.5 minutes" in text
    assert "€0.02" in text
    addresses = sorted(set(re.findall(r"/t/acme/billing/invoices/NS-\d+/lines/\d+/", text)))
    assert len(addresses) == 4  # what is included has records, too
    keys = [re.findall(r'class="cell-key mono">([^<]+)<', page(alice, address)) for address in addresses]
    assert ["b", "a"] in keys or ["a", "b"] in keys
    assert ["seats"] in keys


def test_what_came_late_is_not_behind_the_invoice_that_was_out_already(alice, acme, invoice, go_to):
    go_to(alice, AFTER_GRACE)
    actions.record(acme, [used("late", quantity=100, day=20)])
    assert "The sum of 2 records" in page(alice, f"{BILLING}invoices/{invoice.number}/")


def test_a_fee_has_no_records_and_no_page_of_them(alice, invoice):
    with scope(tenant=invoice.tenant):
        fee = invoice.lines.get(meter=None).position
    assert alice.get(f"{BILLING}invoices/{invoice.number}/lines/{fee}/").status_code == 404
    assert alice.get(f"{BILLING}invoices/{invoice.number}/lines/99/").status_code == 404
    assert alice.get(f"{BILLING}projected/lines/99/").status_code == 404


def test_the_records_behind_a_line_are_read_page_by_page_and_none_twice(alice, acme, subscription):
    actions.record(acme, [used(f"key-{number:03}", day=2 + number // 40) for number in range(120)])
    seen, url = [], f"{BILLING}projected/lines/2/"
    while url:
        text = page(alice, url)
        seen += re.findall(r'class="cell-key mono">([^<]+)<', text)
        older = re.search(r'rel="next" href="([^"]+)"', text)
        url = f"{BILLING}projected/lines/2/{older[1]}" if older else None
    assert len(seen) == len(set(seen)) == 120
    assert page(alice, f"{BILLING}projected/lines/2/?before=nonsense~1")


def test_an_invoices_id_leads_to_its_page(alice, bob, charlie, invoice):
    assert alice.get(f"{BILLING}invoices/{invoice.id}/").url == f"{BILLING}invoices/{invoice.number}/"
    assert charlie.get(f"/t/globex/billing/invoices/{invoice.number}/").status_code == 404
    assert charlie.get(f"/t/globex/billing/invoices/{invoice.id}/").status_code == 404


def test_many_invoices_are_read_page_by_page_and_cost_no_more_questions(alice, acme, invoice):
    with CaptureQueriesContext(connection) as few:
        page(alice, f"{BILLING}invoices/")
    copies = [
        Invoice(tenant=acme, currency="EUR", number=f"NS-9{number:05}", status="paid", total_minor=number)
        for number in range(60)
    ]
    Invoice.objects.bulk_create(copies)
    with CaptureQueriesContext(connection) as many:
        first = page(alice, f"{BILLING}invoices/")
    assert len(many) == len(few)
    older = re.search(r'rel="next" href="([^"]+)"', first)[1]
    rows = [
        re.findall(r'<tr id="invoice-([^"]+)"', text) for text in (first, page(alice, f"{BILLING}invoices/{older}"))
    ]
    assert [len(each) for each in rows] == [50, 11]
    assert len({*rows[0], *rows[1]}) == 61
    assert len(re.findall(r'<tr id="invoice-([^"]+)"', page(alice, f"{BILLING}invoices/?show=owed"))) == 1
    assert page(alice, f"{BILLING}invoices/?before=%00")


def test_an_invoice_is_found_by_a_part_of_its_number(alice, bob, charlie, platform_admin, invoice):
    for person, jump in ((alice, "/t/acme/jump/"), (bob, "/t/acme/jump/"), (platform_admin, "/ops/jump/")):
        assert invoice.number in page(person, f"{jump}?q={invoice.number[-4:]}")
    assert invoice.number not in page(charlie, f"/t/globex/jump/?q={invoice.number[-4:]}")


# --- Paying -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def local_gateway(settings) -> None:
    settings.PAYMENT_GATEWAY = "local"


def pay(person: Person, invoice: Invoice, version: int) -> str:
    address = f"{BILLING}invoices/{invoice.number}/pay/"
    return html.unescape(person.post(address, {"version": version}, follow=True).content.decode())


def test_alice_pays_and_pressing_twice_pays_once(alice, acme, invoice, local_gateway):
    assert f"Invoice {invoice.number} is paid." in pay(alice, invoice, invoice.version)
    assert "changed since you looked" in pay(alice, invoice, invoice.version)
    with scope(tenant=acme):
        assert invoice.payments.get().status == "paid"
    text = page(alice, f"{BILLING}invoices/{invoice.number}/")
    assert said(text, "status") != ["Open"]
    assert "/pay/" not in text


def test_a_declined_payment_says_why_and_when_it_is_tried_again(alice, acme, invoice, local_gateway):
    assert "paid by declines" in html.unescape(
        alice.post(f"{BILLING}payment-method/", {"reference": "declines"}, follow=True).content.decode()
    )
    with scopes_disabled():
        told = Event.objects.get(type="payment_method_updated")
    assert (told.actor_name, told.payload["gateway"]) == ("Alice", "local")
    text = pay(alice, invoice, invoice.version)
    assert "The card was declined. Nothing was charged." in text
    assert "Next try" in text
    assert "/pay/" in text
    assert "could not be collected" in page(alice)


def test_who_pays_what_has_failed_again_meanwhile_reads_the_difference(alice, acme, invoice, local_gateway):
    alice.post(f"{BILLING}payment-method/", {"reference": "declines"})
    pay(alice, invoice, invoice.version)
    text = page(alice, f"{BILLING}invoices/{invoice.number}/")
    form = dict(re.findall(r'name="(version|seen_status|seen_reason|seen_next_try)" value="([^"]*)"', text))
    assert form["seen_next_try"].endswith("Europe/Lisbon")
    Invoice.objects.with_scopes_disabled().filter(pk=invoice.pk).update(next_try_at=None, version=9, reason="Expired.")
    response = alice.post(f"{BILLING}invoices/{invoice.number}/pay/", form)
    assert response.status_code == 409
    said_now = re.sub(r"<[^>]+>", " ", html.unescape(response.content.decode()))
    assert re.search(r"Reason\s+The card was declined\.\s+Expired\.", said_now)
    assert re.search(r"Next try\s+\d+ \w+ 2026, \d\d:00 Europe/Lisbon\s+—", said_now)


def test_a_credit_note_is_of_the_days_of_its_invoice_in_the_zone_of_the_tenant(
    alice, acme, invoice, platform_admin, local_gateway, go_to
):
    payments.pay(invoice, by=alice.user)
    go_to(alice, datetime(2026, 12, 15, 23, 30, tzinfo=UTC))
    Period.objects.with_scopes_disabled().update(zone="Asia/Tokyo")
    payments.refund(invoice, "Sorry", by=platform_admin.user)
    row = re.search(r"<tr id=\"invoice.*?CN-000001.*?</tr>", page(alice), re.S)[0]
    assert "16 Dec 2026" in row
    assert "1 Nov to 1 Dec 2026" in row
    text = page(alice, f"{BILLING}invoices/CN-000001/")
    assert "1 Nov to 1 Dec 2026</span>, Asia/Tokyo" in text


def test_a_means_of_payment_that_there_is_not_is_refused(alice, acme, subscription, local_gateway):
    assert alice.post(f"{BILLING}payment-method/", {"reference": "gold"}).status_code == 409
    assert "What the test gateway does" in page(alice)


def test_who_comes_back_from_the_gateways_page_reads_what_came_of_it(alice, acme, subscription, local_gateway):
    assert "has the card" in page(alice, f"{BILLING}?card=given")
    assert "No card was given. Nothing was changed" in page(alice, f"{BILLING}?card=left")
    assert 'data-testid="card"' not in page(alice, f"{BILLING}?card=gold")


def test_without_a_gateway_nothing_is_offered_and_nothing_charged(alice, acme, invoice, settings):
    settings.PAYMENT_GATEWAY = ""
    assert "means-title" not in page(alice)
    assert alice.post(f"{BILLING}payment-method/").status_code == 409
    assert "Nothing was charged" in pay(alice, invoice, invoice.version)


# --- The plan ---------------------------------------------------------------------------------------------------------


def test_the_preview_is_what_the_period_comes_to_once_the_plan_is_changed(alice, acme, some_usage, bigger, now):
    with scope(tenant=acme):
        period = period_at(acme, now)
        expected = preview(period, bigger, now)
        before = projection(period, now).invoice.total_minor
        assert (expected.stay.invoice.total_minor, expected.month_minor) == (before, 6025)
        assert expected.other_month_minor == 9900 + 900
        actions.change_plan(acme, bigger, at=now)
        assert projection(period, now).invoice.total_minor == expected.change.invoice.total_minor


def test_alice_changes_the_plan_after_seeing_what_it_costs(alice, acme, some_usage, bigger):
    text = page(alice, f"{BILLING}plan/?plan=bigger")
    assert "From Team to Bigger, now" in text
    assert "+€47.75" in text  # a whole month: 108.00 in place of 60.25
    assert "5,000 minutes included, then €0.01 a minute" in text
    form = {"plan": str(bigger.pk), "version": re.search(r'name="version" value="(\d+)"', text)[1]}
    assert "Acme is on Bigger from now on." in html.unescape(
        alice.post(f"{BILLING}plan/change/", form, follow=True).content.decode()
    )
    with scope(tenant=acme):
        assert Subscription.objects.get().plan == bigger


@pytest.mark.parametrize("act", ["change", "cancel"])
def test_who_is_late_reads_what_is_different_now(alice, acme, some_usage, bigger, plan, act):
    text = page(alice, f"{BILLING}plan/?plan=bigger")
    form = dict(re.findall(r'name="(plan|version|seen_plan|seen_end)" value="([^"]*)"', text))
    actions.change_plan(acme, bigger)
    actions.cancel(acme)
    response = alice.post(f"{BILLING}plan/{act}/", form | {"plan": str(plan.pk)})
    assert response.status_code == 409
    said_now = re.sub(r"<[^>]+>", " ", html.unescape(response.content.decode()))
    assert re.search(r"Plan\s+Team \(version 1\)\s+Bigger \(version 1\)", said_now)
    assert re.search(r"Ends\s+Not by itself\s+With this period", said_now)


def test_a_version_of_a_plan_that_has_a_newer_one_is_not_offered_any_more(alice, acme, subscription, bigger):
    actions.publish(actions.new_version(bigger))
    response = alice.post(f"{BILLING}plan/change/", {"plan": str(bigger.pk), "version": str(subscription.version)})
    assert response.status_code == 409
    assert "not offered any more" in response.content.decode()


def test_who_has_not_seen_the_newest_plan_changes_nothing(alice, acme, subscription, bigger):
    form = {"plan": str(bigger.pk), "version": "99"}
    response = alice.post(f"{BILLING}plan/change/", form)
    assert response.status_code == 409
    assert "Nothing was changed" in response.content.decode()
    assert alice.post(f"{BILLING}plan/change/", {"plan": "nonsense"}).status_code == 409
    assert alice.post(f"{BILLING}plan/cancel/", {"version": "99"}).status_code == 409
    with scope(tenant=acme):
        assert Subscription.objects.get().plan == subscription.plan


def test_a_cancelled_plan_says_when_it_ends_and_is_taken_back(alice, acme, subscription):
    alice.post(f"{BILLING}plan/cancel/", {"version": subscription.version})
    assert "The plan ends with it." in page(alice)
    text = page(alice, f"{BILLING}plan/?plan={subscription.plan.slug}")
    assert "Keep Team" in text
    form = {"plan": str(subscription.plan_id), "version": re.search(r'name="version" value="(\d+)"', text)[1]}
    alice.post(f"{BILLING}plan/change/", form)
    assert "The plan ends with it." not in page(alice)


# --- Thresholds -------------------------------------------------------------------------------------------------------


def test_alice_is_told_at_a_level_of_her_own_until_she_removes_it_and_takes_that_back(alice, acme, some_usage):
    form = {"meter": "minutes", "percent": "120"}
    assert "120 % of Minutes" in html.unescape(alice.post(f"{BILLING}thresholds/", form, follow=True).content.decode())
    with scope(tenant=acme):
        threshold = Threshold.objects.get()
    removed = alice.post(f"{BILLING}thresholds/{threshold.pk}/remove/", follow=True).content.decode()
    assert "Nobody is told at 120 % any more." in removed
    with scope(tenant=acme):
        assert not Threshold.objects.exists()
    alice.post(f"{BILLING}thresholds/", form)
    with scope(tenant=acme):
        assert Threshold.objects.get().percent == 120


@pytest.mark.parametrize("form", [{"meter": "minutes", "percent": "0"}, {"meter": "nothing", "percent": "5"}, {}])
def test_a_level_that_cannot_be_is_refused_with_what_is_wrong(alice, acme, subscription, form):
    response = alice.post(f"{BILLING}thresholds/", form, follow=True)
    assert "Nothing was changed." in response.content.decode()
    with scope(tenant=acme):
        assert not Threshold.objects.exists()


# --- Words ------------------------------------------------------------------------------------------------------------

CASES = json.loads(Path(__file__).with_name("gauges.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['usage']} of {case['limit']}")
def test_a_gauge_says_what_the_pages_script_says(case):
    limit = None if case["limit"] is None else Decimal(str(case["limit"]))
    meter = Meter(slug="minutes", name="Minutes", unit="minute")
    gauge = Gauge(meter, Decimal(str(case["usage"])), limit, 1, tuple(case["levels"]), "€0.00")
    found = {name: getattr(gauge, name) for name in case["said"]}
    assert found == case["said"]


def test_prices_of_one_unit_keep_their_decimals():
    assert shown_unit("0.02", "EUR") == "€0.02"
    assert shown_unit("0.00002", "EUR") == "€0.00002"
    assert shown_unit("49", "EUR") == "€49.00"
    assert shown_unit("1200.5", "EUR") == "€1,200.50"
    assert shown_unit("3", "JPY") == "¥3"
    assert signed(-120, "EUR") == "−€1.20"
    assert signed(0, "EUR") == "no difference"


def test_looking_begins_no_period(alice, acme, subscription, go_to):
    go_to(alice, DECEMBER + timedelta(minutes=5))
    assert "This period has ended." in page(alice)
    with scope(tenant=acme):
        assert Period.objects.count() == 1
