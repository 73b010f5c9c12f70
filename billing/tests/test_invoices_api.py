"""The API of invoices: read by every member, line by line down to the records; paid by the tenant's admin."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from django_scopes import scope

from billing import actions, gateways, invoicing, payments
from billing.models import Invoice, Plan, Subscription
from billing.tests.conftest import DECEMBER, NOVEMBER, used
from billing.tests.paying import fresh, open_invoice, pays_by, tries

pytestmark = pytest.mark.django_db

URL = "/api/billing/invoices"


@pytest.fixture(autouse=True)
def sessions_last(settings) -> None:
    """From November into the next year."""
    settings.SESSION_COOKIE_AGE = 100 * 86_400


@pytest.fixture
def november(acme, subscription, monkeypatch) -> Invoice:
    """The invoice of November, with usage; and two hours of December have gone by."""
    actions.record(acme, [used(f"r{n}", quantity=400) for n in range(4)] + [used("s", "seats", 5)])
    monkeypatch.setattr(timezone, "now", lambda: DECEMBER + timedelta(hours=2))
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        return Invoice.objects.get()


def error(answer) -> tuple[int, str, str]:
    first = answer.json()["errors"][0]
    return answer.status_code, first["code"], first["detail"]


def test_bob_reads_what_acme_owes_and_charlie_finds_nothing(bob, charlie, november):
    answer = bob.api_get(URL, "acme").json()
    assert [(one["number"], one["status"], one["shown"]) for one in answer["results"]] == [
        ("NS-000001", "open", "€88.50")
    ]
    assert charlie.api_get(URL, "globex").json()["results"] == []
    assert charlie.api_get(f"{URL}/{november.pk}", "globex").status_code == 404


def test_every_line_is_explained_down_to_its_records(bob, november):
    found = bob.api_get(f"{URL}/{november.pk}", "acme").json()
    assert (found["amount"], found["currency"], found["periodStart"]) == ("88.50", "EUR", "2026-11-01T00:00:00Z")
    fee, included, first, second, *_ = found["lines"]
    assert (fee["description"], fee["amount"], fee["records"]) == ("Team", "49.00", None)
    assert {name: first[name] for name in ("meter", "quantity", "unitAmount", "tierFrom", "tierTo", "amount")} == {
        "meter": "minutes",
        "quantity": "1000",
        "unitAmount": "0.02",
        "tierFrom": "500",
        "tierTo": "1500",
        "amount": "20.00",
    }
    assert (second["tierFrom"], second["tierTo"]) == ("1500", None)
    assert [line["records"] for line in (included, first, second)] == [4, 4, 4]
    records = bob.api_get(f"{URL}/{november.pk}/lines/{first['position']}/records", "acme").json()["results"]
    assert [(one["key"], one["quantity"]) for one in records] == [(f"r{n}", "400") for n in range(4)]
    assert bob.api_get(f"{URL}/{november.pk}/lines/{fee['position']}/records", "acme").json()["results"] == []
    assert bob.api_get(f"{URL}/{november.pk}/lines/99/records", "acme").status_code == 404


def test_what_was_reported_late_has_its_own_records(acme, bob, november, monkeypatch):
    actions.record(acme, [used("late", quantity=100)])
    monkeypatch.setattr(timezone, "now", lambda: DECEMBER + timedelta(days=31, hours=2))
    invoicing.close_what_is_over()
    with scope(tenant=acme):
        december = Invoice.objects.order_by("number").last()
    lines = bob.api_get(f"{URL}/{december.pk}", "acme").json()["lines"]
    late = next(line for line in lines if "late" in line["description"])
    assert late["records"] == 1
    records = bob.api_get(f"{URL}/{december.pk}/lines/{late['position']}/records", "acme").json()["results"]
    assert [(one["key"], one["isLate"]) for one in records] == [("late", True)]
    first = bob.api_get(f"{URL}/{november.pk}", "acme").json()["lines"][1]
    assert first["records"] == 4


def test_what_the_month_comes_to_so_far(acme, bob, subscription):
    actions.record(acme, [used("a", quantity=600)])
    found = bob.api_get(f"{URL}/projected", "acme").json()
    assert (found["amount"], found["shown"]) == ("51.00", "€51.00")
    assert [(line["description"], line["records"]) for line in found["lines"]] == [
        ("Team", None),
        ("Minutes, included", 1),
        ("Minutes, from 500 to 1,500", 1),
    ]


def test_what_is_too_little_to_charge_is_carried_over_line_by_line(acme, alice, subscription, monkeypatch):
    monkeypatch.setattr(gateways, "least_minor", lambda currency: 6_000)
    left = ("Carried over to the next invoice: below the least that can be charged", "-49.00", None)
    found = alice.api_get(f"{URL}/projected", "acme").json()
    assert (found["amount"], found["shown"]) == ("0.00", "€0.00")
    assert [(line["description"], line["amount"], line["plan"]) for line in found["lines"]][1:] == [left]
    actions.cancel(acme)
    found = alice.api_get("/api/billing/subscription/preview?plan=standard", "acme").json()
    words = [found[side]["lines"][-1]["description"] for side in ("stay", "change")]
    assert words == ["Forgone: below the least that can be charged", left[0]]
    assert (found["stay"]["amount"], found["change"]["amount"], found["difference"]) == ("0.00", "0.00", "0.00")


def test_who_has_no_subscription_has_no_projection(charlie):
    assert charlie.api_get(f"{URL}/projected", "globex").status_code == 404


def test_a_list_is_paged_and_filtered(acme, alice, subscription):
    for n in range(53):
        open_invoice(acme, 100 + n)
    first = alice.api_get(URL, "acme").json()
    second = alice.api_get(first["next"], "acme").json()
    assert (len(first["results"]), len(second["results"]), second["next"]) == (50, 3, None)
    assert first["results"][0]["amount"] == "1.52"
    assert alice.api_get(f"{URL}?status=paid", "acme").json()["results"] == []
    assert alice.api_get(f"{URL}?status=lost", "acme").status_code == 400
    assert alice.api_get(f"{URL}?cursor=cD1ub3RoaW5n", "acme").status_code == 404


def test_invoices_are_found_by_their_period_and_by_when_they_were_issued(alice, november):
    def found(query: str) -> int:
        return len(alice.api_get(f"{URL}?{query}", "acme").json()["results"])

    issued = november.issued_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (found(f"since={issued}"), found(f"until={issued}")) == (1, 0)
    assert (found("period=2026-11-20T00:00:00Z"), found("period=2026-12-01T00:00:00Z")) == (1, 0)


def test_who_asks_again_hears_that_nothing_has_changed_until_something_has(alice, platform_admin, november):
    url = f"{URL}/{november.pk}"
    known = []
    for change in (
        lambda: None,
        lambda: alice.api_post(f"{url}/pay", tenant="acme"),
        lambda: payments.refund(november, "Sorry", platform_admin.user, 100),
    ):
        change()
        answer = alice.api_get(url, "acme", **{"If_None_Match": ", ".join(known)} if known else {})
        assert answer.status_code == 200
        known.append(answer["ETag"])
        assert alice.api_get(url, "acme", If_None_Match=known[-1]).status_code == 304


# --- Paying -----------------------------------------------------------------------------------------------------------


def test_alice_pays_and_bob_may_not(alice, bob, november):
    url = f"{URL}/{november.pk}/pay"
    assert error(bob.api_post(url, tenant="acme"))[:2] == (403, "role_needed")
    answer = alice.api_post(url, tenant="acme")
    assert (answer.status_code, answer.json()["invoice"]["status"], answer.json()["payment"]["status"]) == (
        200,
        "paid",
        "paid",
    )
    again = alice.api_post(url, tenant="acme")
    assert (again.status_code, again.json()["payment"]) == (200, None)


def test_a_declined_card_and_a_gateway_that_waits(acme, alice, november):
    url = f"{URL}/{november.pk}/pay"
    pays_by(acme, "declines")
    assert error(alice.api_post(url, tenant="acme")) == (402, "declined", "The card was declined.")
    pays_by(acme, "calls_back")
    answer = alice.api_post(url, tenant="acme")
    assert (answer.status_code, answer.json()["payment"]["status"]) == (202, "pending")


def test_what_is_void_is_not_payable(alice, platform_admin, november):
    payments.void(november, "Mistake", by=platform_admin.user)
    assert error(alice.api_post(f"{URL}/{november.pk}/pay", tenant="acme")) == (
        409,
        "not_payable",
        "Invoice NS-000001 is void. Nothing was charged.",
    )


def test_paying_too_often_in_a_second_is_slowed_down(acme, alice, november, settings):
    settings.PAYMENTS_PER_SECOND = 1
    pays_by(acme, "declines")
    answers = [alice.api_post(f"{URL}/{november.pk}/pay", tenant="acme") for _ in range(4)]
    assert 429 in [answer.status_code for answer in answers]


def test_alice_chooses_how_to_pay(alice, bob, november):
    url = "/api/billing/payment-method"
    assert alice.api_get(url, "acme").json() == {"gateway": "local", "given": True, "url": None}
    assert alice.api_post(url, {"reference": "declines"}, "acme").status_code == 200
    assert alice.api_post(f"{URL}/{november.pk}/pay", tenant="acme").status_code == 402
    assert error(alice.api_post(url, {}, "acme"))[0] == 409
    assert bob.api_get(url, "acme").status_code == 403


# --- The platform's staff ---------------------------------------------------------------------------------------------


def test_the_platforms_admin_refunds_and_nobody_else_finds_it(alice, charlie, stranger, platform_admin, november):
    alice.api_post(f"{URL}/{november.pk}/pay", tenant="acme")
    url = f"{URL}/{november.pk}/refund"
    body = {"reason": "The stack was down", "amount": "8.50"}
    assert [who.api_post(url, body, "acme").status_code for who in (alice, charlie, stranger)] == [404, 404, 401]
    answer = platform_admin.api_post(url, body)
    assert (answer.status_code, answer.json()["amount"], answer.json()["creditNote"]) == (200, "8.50", "CN-000001")
    assert platform_admin.api_post(url, body | {"amount": "0.001"}).status_code == 400
    assert error(platform_admin.api_post(url, body | {"amount": "80.01"}))[:2] == (409, "not_refundable")
    found = alice.api_get(f"{URL}/{november.pk}", "acme").json()
    assert found["payments"][0]["refunded"] == "8.50"
    assert [(note["number"], note["amount"]) for note in found["creditNotes"]] == [("CN-000001", "-8.50")]


def test_who_lost_the_answer_asks_again_with_the_same_key_and_gives_back_once(alice, platform_admin, november):
    alice.api_post(f"{URL}/{november.pk}/pay", tenant="acme")
    url, header = f"{URL}/{november.pk}/refund", {"Idempotency-Key": "ticket-7"}
    body = {"reason": "The stack was down", "amount": "8.50"}
    first, again = (platform_admin.api_post(url, body, **header) for _ in range(2))
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert error(platform_admin.api_post(url, body | {"amount": "9.00"}, **header))[:2] == (409, "idempotency_conflict")
    assert platform_admin.api_post(url, body, **{"Idempotency-Key": "\t"}).status_code == 400
    rest = [platform_admin.api_post(url, {"reason": "All"}, **{"Idempotency-Key": "ticket-8"}) for _ in range(2)]
    assert [(each.status_code, each.json()["creditNote"]) for each in rest] == [(200, "CN-000002")] * 2
    assert fresh(november).status == "refunded"


def test_the_platforms_admin_gives_an_invoice_up(platform_admin, november):
    answer = platform_admin.api_post(f"{URL}/{november.pk}/void", {"reason": "Issued by mistake"})
    assert (answer.json()["status"], fresh(november).reason) == ("void", "Issued by mistake")


def test_reading_an_invoice_costs_the_same_with_many_lines(acme, alice, november, django_assert_max_num_queries):
    with django_assert_max_num_queries(20):
        alice.api_get(f"{URL}/{november.pk}", "acme")


# --- Plans ------------------------------------------------------------------------------------------------------------


def test_alice_asks_what_another_plan_would_come_to_and_nothing_changes(alice, bob, acme, subscription, plan):
    actions.record(acme, [used("a", quantity=600)])
    prices = {"fee": "100.00", "meters": {"minutes": {"tiers": [{"unit": "0.01"}]}}}
    Plan.objects.create(slug="big", name="Big", currency="EUR", prices=prices, published_at=NOVEMBER)
    answer = alice.api_get("/api/billing/subscription/preview?plan=big", "acme").json()
    assert (answer["stay"]["amount"], answer["stay"]["month"]) == ("51.00", "51.00")
    assert (answer["change"]["plan"], answer["change"]["month"], answer["monthDifference"]) == (
        "big",
        "106.00",
        "55.00",
    )
    assert sum(Decimal(line["amount"]) for line in answer["change"]["lines"]) == Decimal(answer["change"]["amount"])
    with scope(tenant=acme):
        assert Subscription.objects.get().plan == plan
    assert bob.api_get("/api/billing/subscription/preview?plan=big", "acme").status_code == 403
    assert alice.api_get("/api/billing/subscription/preview?plan=gold", "acme").status_code == 400
    Plan.objects.create(slug="yen", name="Yen", currency="JPY", prices={}, published_at=NOVEMBER)
    assert alice.api_get("/api/billing/subscription/preview?plan=yen", "acme").status_code == 409


def test_a_subscription_that_has_ended_begins_again(alice, charlie, acme, november, monkeypatch):
    url, body = "/api/billing/subscription/start", {"plan": "standard"}
    assert error(alice.api_post(url, body, "acme"))[0] == 409, "it has not ended"
    assert error(charlie.api_post(url, body, "globex"))[:2] == (409, "no_subscription")
    actions.cancel(acme)
    monkeypatch.setattr(timezone, "now", lambda: DECEMBER + timedelta(days=35))
    invoicing.close_what_is_over()
    assert alice.api_get("/api/billing/subscription/preview?plan=standard", "acme").status_code == 409
    answer = alice.api_post(url, body, "acme")
    assert (answer.status_code, answer.json()["endedAt"]) == (200, None)


def test_the_records_behind_a_projected_line(bob, acme, subscription):
    actions.record(acme, [used("a", quantity=600), used("s", "seats", 2)])
    projected = bob.api_get(f"{URL}/projected", "acme").json()
    position = next(line["position"] for line in projected["lines"] if line["meter"] == "seats")
    answer = bob.api_get(f"{URL}/projected/lines/{position}/records", "acme").json()
    assert [one["key"] for one in answer["results"]] == ["s"]
    assert bob.api_get(f"{URL}/projected/lines/1/records", "acme").json()["results"] == [], "a fee"
    assert bob.api_get(f"{URL}/projected/lines/99/records", "acme").status_code == 404


# --- What was seen, and what staff do ---------------------------------------------------------------------------------


def test_nothing_is_paid_or_given_up_that_is_not_as_it_was_seen(alice, platform_admin, acme, november, settings):
    settings.PAYMENT_GATEWAY = "local"
    seen = november.version
    pays_by(acme, "declines")
    assert error(alice.api_post(f"{URL}/{november.pk}/pay", {"expectedVersion": seen}, "acme"))[:2] == (402, "declined")
    stale = (409, "stale_version")
    assert error(alice.api_post(f"{URL}/{november.pk}/pay", {"expectedVersion": seen}, "acme"))[:2] == stale
    for act, more in (("void", {"reason": "Sorry"}), ("collect", {}), ("paid-by-hand", {"note": "Bank transfer 4711"})):
        answer = platform_admin.api_post(f"{URL}/{november.pk}/{act}", {"expectedVersion": seen} | more)
        assert error(answer)[:2] == stale
    assert (fresh(november).status, len(tries(november))) == ("failed", 1)


def test_ada_collects_now_or_writes_down_how_it_was_paid(platform_admin, alice, acme, november, settings):
    settings.PAYMENT_GATEWAY = "local"
    pays_by(acme, "declines")
    assert error(platform_admin.api_post(f"{URL}/{november.pk}/collect"))[:2] == (402, "declined")
    assert alice.api_post(f"{URL}/{november.pk}/collect").status_code == 404
    answer = platform_admin.api_post(f"{URL}/{november.pk}/paid-by-hand", {"note": "Bank transfer 4711"})
    assert (answer.status_code, answer.json()["status"]) == (200, "paid")
    assert platform_admin.api_post(f"{URL}/{november.pk}/collect").json()["payment"] is None


def test_ada_reads_what_was_earned_what_failed_and_who_has_used_how_much(
    platform_admin, alice, acme, november, settings
):
    settings.PAYMENT_GATEWAY = "local"
    pays_by(acme, "declines")
    payments.pay(november)
    actions.record(acme, [used("now", quantity=300, day=31)])
    read = {name: platform_admin.api_get(f"/api/billing/platform/{name}").json() for name in PLATFORM}
    (month,) = read["revenue"]["months"]
    assert (month["month"], month["invoiced"], month["paid"], month["owed"]) == ("2026-12", "88.50", "0.00", "88.50")
    assert read["revenue"]["owed"] == ["€88.50"]
    (failed,) = read["failed"]["results"]
    assert (failed["tenant"], failed["number"], failed["reason"]) == ("acme", "NS-000001", "The card was declined.")
    assert [(one["meter"], one["percent"]) for one in read["thresholds"]["results"]] == [("minutes", 50)]
    for name in PLATFORM:
        assert alice.api_get(f"/api/billing/platform/{name}", "acme").status_code == 404


PLATFORM = ("revenue", "failed", "thresholds")
