"""Stripe: what we ask of it, and which of its webhooks are believed. Payloads are ours, in the shape it documents."""

import json
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import stripe
from django.test import Client
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from billing import actions, dunning, gateways, invoicing, payments
from billing.gateways.stripe import StripeGateway
from billing.models import GatewayEvent, Invoice, Payment, PaymentMethod, Plan, Refund
from billing.tests.conftest import NOVEMBER, used
from billing.tests.paying import fresh, happened, open_invoice, told, tries
from billing.tests.stripe_stub import StripeStub
from events.models import Event

pytestmark = pytest.mark.django_db

SECRET = "whsec_of_these_tests_and_nobody_else"
URL = "/api/billing/webhooks/stripe"


@pytest.fixture
def stub(settings):
    server = StripeStub()
    settings.PAYMENT_GATEWAY = "stripe"
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = "sk_test_of_these_tests", SECRET
    settings.STRIPE_API_ADDRESS, settings.GATEWAY_TIMEOUT_SECONDS = server.url, 20
    gateways._made.cache_clear()
    yield server
    gateways._made.cache_clear()
    server.stop()


@pytest.fixture
def invoice(acme, subscription, stub) -> Invoice:
    pays_by(acme, "pm_visa")
    return open_invoice(acme)


def pays_by(tenant, method: str) -> None:
    with scope(tenant=tenant):
        PaymentMethod.objects.update_or_create(
            tenant=tenant, defaults={"gateway": "stripe", "customer": "cus_acme", "reference": method}
        )


def later(monkeypatch, **after: float) -> None:
    moment = timezone.now() + timedelta(**after)
    monkeypatch.setattr(timezone, "now", lambda: moment)


# --- What we ask ------------------------------------------------------------------------------------------------------


def test_an_invoice_is_charged_with_our_key_and_without_the_customer(acme, alice, invoice, stub):
    payment = payments.pay(invoice, by=alice.user)
    method, path, sent, key = stub.asked[-1]
    assert (method, path, key) == ("POST", "/v1/payment_intents", str(payment.pk))
    assert sent["metadata[payment]"] == str(payment.pk)
    expected = {"amount": "12840", "currency": "eur", "customer": "cus_acme", "payment_method": "pm_visa"}
    assert sent | expected | {"off_session": "true", "confirm": "true", "description": "Invoice NS-000001"} == sent
    assert (fresh(invoice).status, payment.reference) == ("paid", stub.of("payment_intent")[0]["id"])


def test_a_declined_card_says_why(acme, alice, invoice, stub):
    pays_by(acme, "pm_declined")
    payment = payments.pay(invoice, by=alice.user)
    assert (payment.status, payment.reference[:3]) == ("declined", "pi_")
    assert (fresh(invoice).status, fresh(invoice).reason) == ("failed", "Your card was declined.")


def test_a_card_that_is_gone_is_a_refusal_and_no_secret_is_told(acme, alice, invoice):
    pays_by(acme, "pm_gone")
    assert payments.pay(invoice, by=alice.user).status == "declined"
    assert fresh(invoice).reason == "The means of payment can't be used. Give it again, or another one."


@pytest.mark.parametrize("trouble", [{"loses_answers": True}, {"broken_with": 500}, {"broken_with": 429}])
def test_what_stripe_does_not_answer_is_asked_for_again_under_the_same_key(
    acme, alice, invoice, stub, monkeypatch, trouble, caplog
):
    for name, value in trouble.items():
        setattr(stub, name, value)
    assert payments.pay(invoice, by=alice.user).status == "pending"
    assert (fresh(invoice).status, happened(acme)) == ("open", ["created"])
    stub.loses_answers, stub.broken_with = False, None
    later(monkeypatch, minutes=2)
    payments.ask_again()
    assert (fresh(invoice).status, len(stub.of("payment_intent"))) == ("paid", 1)
    assert len({key for _, _, _, key in stub.asked}) == 1
    assert "sk_test" not in caplog.text


def test_a_day_later_stripe_has_forgotten_keys_and_is_only_asked_what_it_did(acme, alice, invoice, stub, monkeypatch):
    stub.loses_answers = True
    payments.pay(invoice, by=alice.user)
    stub.loses_answers = False
    stub.answers.clear()
    later(monkeypatch, hours=25)
    payments.ask_again()
    assert (fresh(invoice).status, len(stub.of("payment_intent"))) == ("paid", 1)
    assert stub.asked[-1][0] == "GET"


def test_what_never_reached_stripe_is_a_try_that_failed_a_day_later(acme, alice, invoice, stub, monkeypatch):
    stub.broken_with = 500
    payments.pay(invoice, by=alice.user)
    stub.broken_with = None
    later(monkeypatch, hours=25)
    payments.ask_again()
    assert (tries(invoice), fresh(invoice).reason) == (["declined"], "It never reached the bank.")


def test_a_refund_goes_to_the_charge_and_once(acme, alice, platform_admin, invoice, stub, monkeypatch):
    payments.pay(invoice, by=alice.user)
    stub.loses_answers = True
    assert payments.refund(invoice, "Sorry", by=platform_admin.user, minor=1_000).status == "pending"
    stub.loses_answers = False
    later(monkeypatch, hours=25)
    payments.ask_again()
    (refund,) = stub.of("refund")
    assert (refund["amount"], refund["payment_intent"]) == (1_000, stub.of("payment_intent")[0]["id"])
    with scope(tenant=acme):
        assert Refund.objects.get().status == "done"


def test_people_give_cards_on_stripes_page_and_the_webhook_brings_their_name(acme, alice, stub, subscription, settings):
    url = payments.page_for_method(acme)
    assert url.startswith("https://checkout.stripe.example/")
    sent = stub.asked[-1][2]
    back_to = f"{settings.SITE_URL}/t/acme/billing/"
    assert (sent["success_url"], sent["cancel_url"]) == (f"{back_to}?card=given", f"{back_to}?card=left")
    customer = stub.of("customer")[0]["id"]
    setup = {"id": "seti_1", "object": "setup_intent", "status": "succeeded", "customer": customer}
    assert send(event("setup_intent.succeeded", setup | {"payment_method": "pm_new"})).status_code == 200
    old = event("setup_intent.succeeded", setup | {"payment_method": "pm_old"}, id="evt_2")
    assert send(old | {"created": int(time.time()) - 60}).status_code == 200
    with scope(tenant=acme):
        assert PaymentMethod.objects.get().reference == "pm_new", "what was given before it came out of order"
    with scopes_disabled():
        told = Event.objects.get(type="payment_method_updated")
    assert (told.tenant_id, told.summary) == (acme.pk, "Invoices are paid by another means at Stripe from now on")
    assert payments.page_for_method(acme)
    assert len(stub.of("customer")) == 1


def test_amounts_are_what_stripe_counts_in():
    from billing.gateways.stripe import _from_stripe, _to_stripe

    assert [_to_stripe(500, currency) for currency in ("EUR", "JPY", "ISK")] == [500, 500, 50_000]
    assert [_from_stripe(amount, "ISK") for amount in (50_000, 100)] == [500, 1]


# --- What is too little -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "least"),
    [("EUR", 50), ("GBP", 30), ("HUF", 17_500), ("JPY", 50), ("KWD", 500), ("TRY", 50), ("ISK", 0)],
)
def test_the_least_is_the_one_that_stripe_documents_and_half_a_unit_of_what_it_does_not_list(stub, currency, least):
    assert gateways.least_minor(currency) == least


def test_what_nobody_collects_has_no_least(stub, settings):
    settings.PAYMENT_GATEWAY = ""
    assert gateways.least_minor("EUR") == 0


def test_a_month_that_comes_to_less_than_stripe_charges_is_paid_with_the_next_one(acme, meters, stub, monkeypatch):
    prices = {"meters": {"minutes": {"tiers": [{"unit": "0.01"}]}}}
    plan = Plan.objects.create(slug="cents", name="Cents", currency="EUR", prices=prices, published_at=NOVEMBER)
    actions.subscribe(acme, plan, at=NOVEMBER)
    pays_by(acme, "pm_visa")
    actions.record(acme, [used("a", quantity=49)])
    for days in (16, 15):
        later(monkeypatch, days=days)
        invoicing.close_what_is_over()
        dunning.run()
    assert (happened(acme), stub.of("payment_intent")) == (["created", "paid"], [])
    actions.record(acme, [used("b", quantity=1, day=40)])
    for days in (20, 15):
        later(monkeypatch, days=days)
        invoicing.close_what_is_over()
        dunning.run()
    assert happened(acme) == ["created", "paid"] * 2
    assert [one["amount"] for one in stub.of("payment_intent")] == [50]


def test_an_invoice_that_was_issued_over_too_little_is_never_tried_and_costs_nobody_access(
    acme, alice, subscription, stub, monkeypatch, caplog
):
    """Another gateway was in use then, or none."""
    pays_by(acme, "pm_visa")
    invoice = open_invoice(acme, 49)
    with pytest.raises(payments.TooLittle, match=r"NS-000001 is below €0\.50, the least that can be charged"):
        payments.pay(invoice, by=alice.user)
    for _ in range(40):
        later(monkeypatch, days=1)
        assert dunning.run() == 0
    acme.refresh_from_db()
    assert (fresh(invoice).status, tries(invoice), acme.is_suspended) == ("open", [], False)
    assert "Not done" not in caplog.text


def test_where_stripe_converts_first_what_is_too_little_is_a_try_that_failed_for_that(acme, alice, invoice, stub):
    stub.least = 20_000
    assert payments.pay(invoice, by=alice.user).status == "declined"
    assert fresh(invoice).reason == "Stripe charges no sum as small as this."


# --- What it calls to say ---------------------------------------------------------------------------------------------


def event(kind: str, thing: dict[str, Any], id: str = "evt_1") -> dict[str, Any]:
    return {
        "id": id,
        "object": "event",
        "api_version": "2025-09-30.clover",
        "created": int(time.time()),
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
        "data": {"object": thing},
    }


def intent(payment: Payment, status: str | None, **more: Any) -> dict[str, Any]:
    known = {"id": "pi_77", "object": "payment_intent", "amount": 12_840, "currency": "eur", "livemode": False}
    return known | {"status": status, "metadata": {"payment": str(payment.pk)}, "last_payment_error": None} | more


def send(said: dict[str, Any], secret: str = SECRET, age: float = 0, body: bytes | None = None) -> Any:
    text = json.dumps(said)
    signature = stripe.WebhookSignature.generate_signature_header(text, secret, int(time.time() - age))
    return Client().post(
        URL, body or text.encode(), content_type="application/json", headers={"Stripe-Signature": signature}
    )


@pytest.fixture
def pending(acme, alice, invoice) -> Payment:
    pays_by(acme, "pm_sepa")
    return payments.pay(invoice, by=alice.user)


def test_a_webhook_pays_and_its_replays_change_nothing(acme, invoice, pending):
    said = event("payment_intent.succeeded", intent(pending, "succeeded"))
    for _ in range(3):
        assert send(said).json() == {"received": True}
    assert (fresh(invoice).status, happened(acme)) == ("paid", ["created", "paid"])
    assert GatewayEvent.objects.count() == 1


def test_webhooks_out_of_order_end_with_the_money(acme, invoice, pending):
    problem = {"code": "card_declined", "message": "Your card was declined.", "type": "card_error"}
    send(event("payment_intent.succeeded", intent(pending, "succeeded"), "evt_2"))
    failed = intent(pending, "requires_payment_method", last_payment_error=problem)
    send(event("payment_intent.payment_failed", failed, "evt_1"))
    send(event("payment_intent.processing", intent(pending, "processing"), "evt_0"))
    assert (fresh(invoice).status, happened(acme)) == ("paid", ["created", "paid"])


def test_a_failed_debit_is_told_with_its_reason(acme, invoice, pending):
    problem = {"message": "The account was closed.", "type": "card_error"}
    send(event("payment_intent.payment_failed", intent(pending, "requires_payment_method", last_payment_error=problem)))
    assert (fresh(invoice).status, fresh(invoice).reason) == ("failed", "The account was closed.")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"secret": "whsec_somebody_elses"}, "signature"),
        ({"age": 301}, "too old"),
        ({"body": b"{}"}, "signature"),
        ({"body": b"\xff"}, "signature"),
    ],
)
def test_a_webhook_that_is_not_stripes_or_too_old_is_refused(acme, invoice, pending, how, words):
    answer = send(event("payment_intent.succeeded", intent(pending, "succeeded")), **how)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert fresh(invoice).status == "open"


def test_a_webhook_without_a_signature_is_refused(stub):
    answer = Client().post(URL, b"{}", content_type="application/json")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "changed",
    [{"amount": 1}, {"currency": "usd"}, {"amount": "many"}, {"status": None}],
)
def test_a_webhook_about_another_sum_or_of_another_shape_is_refused(acme, invoice, pending, changed):
    answer = send(event("payment_intent.succeeded", intent(pending, "succeeded") | changed))
    assert answer.status_code == 400
    assert (fresh(invoice).status, GatewayEvent.objects.count()) == ("open", 0)


@pytest.mark.parametrize(
    ("kind", "thing"),
    [
        ("charge.succeeded", {"id": "ch_1", "object": "charge"}),
        ("payment_intent.succeeded", {"metadata": {}}),
        ("payment_intent.succeeded", {"metadata": {"payment": "of another shop"}}),
    ],
)
def test_what_is_nobodys_here_is_taken_and_changes_nothing(acme, invoice, pending, kind, thing):
    said = thing if "object" in thing else intent(pending, "succeeded") | thing
    assert send(event(kind, said)).json() == {"received": True}
    assert fresh(invoice).status == "open"


def test_only_post_is_taken_and_only_for_gateways_in_use(stub, settings):
    assert Client().get(URL).status_code == 405
    settings.PAYMENT_GATEWAY = settings.STRIPE_SECRET_KEY = ""
    assert send({}).status_code == 404


def test_the_gateway_keeps_to_the_port(stub):
    gateway: gateways.Gateway = StripeGateway("sk_test_1", SECRET)
    assert (gateway.name, gateway.default_method, gateway.takes_methods) == ("stripe", None, False)


# --- What was given back in Stripe's dashboard ------------------------------------------------------------------------


@pytest.fixture
def paid(acme, alice, invoice) -> Payment:
    return payments.pay(invoice, by=alice.user)


def given_back(payment: Payment, amount: int, id: str = "re_1", **more: Any) -> dict[str, Any]:
    known = {"id": id, "object": "refund", "amount": amount, "currency": "eur", "status": "succeeded"}
    return known | {"payment_intent": payment.reference, "metadata": {}} | more


def tell(refund: dict[str, Any], kind: str = "refund.created") -> int:
    """What we answer to it."""
    return int(send(event(kind, refund, f"evt_{uuid4().hex}")).status_code)


def test_a_part_that_was_given_back_at_stripe_has_a_credit_note_and_the_invoice_stays_paid(acme, invoice, paid):
    refund = given_back(paid, 1_000)
    for kind in ("refund.created", "refund.updated", "refund.updated"):
        assert tell(refund, kind) == 200
    with scope(tenant=acme):
        known = Refund.objects.select_related("credit_note").get()
    assert (known.status, known.reference, known.purpose) == ("done", "re_1", "Given back at Stripe.")
    assert (known.credit_note.number, known.credit_note.total_minor) == ("CN-000001", -1_000)
    assert fresh(invoice).status == "paid"
    assert [(said["event"], said["kind"]) for said in told(acme)[-1:]] == [("created", "credit_note")]


def test_money_that_a_bank_sends_back_later_is_said_on_the_invoice(acme, alice, invoice, paid, caplog):
    refund = payments.refund(invoice, "Sorry", by=alice.user, minor=1_000)
    back = {"status": "failed", "failure_reason": "expired_or_canceled_card", "metadata": {"refund": str(refund.pk)}}
    for _ in range(2):
        assert tell(given_back(paid, 1_000, refund.reference, **back), "refund.failed") == 200
    assert len([said for said in caplog.messages if "had gone and came back" in said]) == 1
    with scope(tenant=acme):
        known = Refund.objects.select_related("credit_note").get()
    assert (known.status, known.credit_note.total_minor) == ("done", -1_000)
    assert "The money came back" in alice.client.get(f"/t/acme/billing/invoices/{invoice.number}/").text


def test_all_that_was_given_back_at_stripe_makes_the_invoice_refunded(acme, invoice, paid):
    tell(given_back(paid, 1_000))
    tell(given_back(paid, 11_840, "re_2"))
    assert fresh(invoice).status == "refunded"
    assert happened(acme)[-3:] == ["created", "created", "refunded"]
    with scope(tenant=acme):
        assert Payment.objects.get().status == "refunded"


def test_what_stripe_has_not_given_back_yet_is_learnt_when_it_has(acme, invoice, paid):
    assert tell(given_back(paid, 1_000, status="pending")) == 200
    with scope(tenant=acme):
        assert not Refund.objects.exists()
    tell(given_back(paid, 1_000), "refund.updated")
    with scope(tenant=acme):
        assert Refund.objects.get().status == "done"


def test_what_was_not_ours_or_is_more_than_was_paid_changes_nothing(acme, invoice, paid):
    assert tell(given_back(paid, 1_000, payment_intent="pi_of_another_shop")) == 200
    assert tell(given_back(paid, 12_841)) == 400
    assert tell(given_back(paid, 100, currency="usd")) == 400
    with scope(tenant=acme):
        assert not Refund.objects.exists()
    assert fresh(invoice).status == "paid"


def test_what_is_given_back_before_we_know_that_it_was_paid_is_told_again(acme, invoice, pending):
    assert tell(given_back(pending, 1_000)) == 400
    send(event("payment_intent.succeeded", intent(pending, "succeeded"), "evt_paid"))
    assert tell(given_back(pending, 1_000)) == 200
    with scope(tenant=acme):
        assert Refund.objects.get().amount_minor == 1_000


def test_ours_is_not_learnt_a_second_time(acme, platform_admin, invoice, paid):
    refund = payments.refund(invoice, "Sorry", by=platform_admin.user, minor=1_000)
    known = given_back(paid, 1_000, refund.reference)
    tell(known | {"metadata": {"refund": str(refund.pk)}})
    tell(known, "refund.updated")
    with scope(tenant=acme):
        assert Refund.objects.count() == 1
