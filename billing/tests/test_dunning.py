"""What nobody pays is collected by schedule, tried again, ends access at last, and gives it back when it is paid."""

import html
import re
from datetime import timedelta

import pytest
from django.utils import timezone
from django_scopes import scope

from billing import dunning, payments
from billing.models import Invoice, Subscription, wire_time
from billing.tests.paying import call_back, fresh, happened, open_invoice, pays_by, taken, told, tries
from events.models import Event
from tenants import actions as tenants

pytestmark = pytest.mark.django_db


@pytest.fixture
def invoice(acme, subscription) -> Invoice:
    return open_invoice(acme)


@pytest.fixture
def jump(monkeypatch):
    """So many days later the schedule does what it does, thrice: once is enough, more is no harm."""

    def days(count: float) -> None:
        moment = timezone.now() + timedelta(days=count)
        monkeypatch.setattr(timezone, "now", lambda: moment)
        for _ in range(3):
            dunning.run()

    return days


@pytest.fixture
def wait(jump):
    """Let so many days go by, on each of which the schedule does what it does."""

    def days(count: float) -> None:
        for _ in range(int(count)):
            jump(1)
        jump(count % 1)

    return days


def test_at_the_last_try_its_people_are_told_when_access_ends_and_then_that_it_did(acme, alice, invoice, wait, now):
    pays_by(acme, "declines")
    wait(14 + 11)
    assert fresh(invoice).next_try_at is None
    ends = invoice.due_at + timedelta(days=14)
    assert [event["accessEndsAt"] for event in told(acme)][-2:] == [None, wire_time(ends)]
    alice.client.force_login(alice.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = re.sub(r"<[^>]+>", "", text_of(alice.get(f"/t/acme/billing/invoices/{invoice.number}/")))
    assert "Unless it is paid, access ends 13 Dec 2026, 12:00:00 Europe/Lisbon" in page
    wait(4)
    assert is_suspended(acme)
    pays_by(acme, "pays")
    payments.pay(invoice, by=alice.user)
    with scope(tenant=acme):
        changes = Event.objects.filter(type="subscription_update").order_by("id").values_list("payload", flat=True)
        assert [change["change"] for change in changes][-2:] == ["suspended", "returned"]


def is_suspended(tenant) -> bool:
    tenant.refresh_from_db()
    return tenant.is_suspended


def test_an_invoice_is_collected_when_it_is_due_and_not_before(acme, invoice, wait):
    wait(13.9)
    assert tries(invoice) == []
    wait(0.2)
    assert (tries(invoice), fresh(invoice).status, taken()) == (["paid"], "paid", 12_840)


def test_a_declined_card_is_tried_again_after_1_3_and_7_days_and_then_no_more(acme, invoice, wait, now):
    pays_by(acme, "declines")
    wait(14)
    said = told(acme)[-1]
    assert (said["event"], said["reason"]) == ("failed", "The card was declined.")
    assert said["nextTryAt"] == "2026-11-30T12:00:00.000Z"
    counts = []
    for _ in range(13):
        wait(1)
        counts.append(len(tries(invoice)))
    assert counts == [2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4]
    assert told(acme)[-1]["nextTryAt"] is None
    assert happened(acme) == ["created", *["failed"] * 4]


def test_who_never_pays_loses_access_and_has_it_back_when_everything_is_paid(acme, invoice, wait):
    pays_by(acme, "declines")
    second = open_invoice(acme, 100)
    wait(14)
    for _ in range(14):
        assert not is_suspended(acme)
        wait(1)
    assert is_suspended(acme)
    assert acme.suspended_reason == "Unpaid: NS-000001 over €128.40, NS-000002 over €1.00."
    pays_by(acme, "pays")
    payments.pay(invoice)
    assert is_suspended(acme)
    payments.pay(second)
    assert not is_suspended(acme)


def test_alice_pays_while_acme_is_suspended_and_is_back(acme, alice, bob, invoice, wait):
    pays_by(acme, "declines")
    for _ in range(3):
        wait(14)
    for person in (alice, bob):
        person.client.force_login(person.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert alice.get("/t/acme/").status_code == 403
    (owed,) = alice.api_get("/api/billing/invoices?status=failed", "acme").json()["results"]
    assert alice.api_post("/api/billing/payment-method", {"reference": "pays"}, "acme").status_code == 200
    assert bob.api_post(f"/api/billing/invoices/{owed['id']}/pay", tenant="acme").status_code == 403
    assert alice.api_post(f"/api/billing/invoices/{owed['id']}/pay", tenant="acme").status_code == 200
    assert not is_suspended(acme)
    assert alice.get("/t/acme/").status_code == 200


def test_a_schedule_that_stood_still_for_weeks_tries_and_tells_before_it_suspends(acme, invoice, jump):
    pays_by(acme, "declines")
    jump(14 + 40)
    assert (tries(invoice), is_suspended(acme)) == (["declined"], False)
    for days, so_many in ((1, 2), (3, 3)):
        jump(days)
        assert (len(tries(invoice)), is_suspended(acme)) == (so_many, False)
    jump(7)
    assert (len(tries(invoice)), is_suspended(acme)) == (4, True)


@pytest.fixture
def suspended(acme, alice, bob, invoice, wait) -> Invoice:
    """What acme is suspended for; its people sign in again, weeks later."""
    pays_by(acme, "declines")
    for _ in range(3):
        wait(14)
    for person in (alice, bob):
        person.client.force_login(person.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return fresh(invoice)


def text_of(response) -> str:
    return " ".join(html.unescape(response.content.decode()).split())


def test_alice_finds_what_is_owed_pays_it_in_the_browser_and_is_back(acme, alice, suspended):
    assert alice.get("/").url == "/t/acme/"
    closed = alice.get("/t/acme/")
    assert closed.status_code == 403
    assert "Look and pay" in text_of(closed)
    assert "Invoice NS-000001</a> over €128.40" in text_of(closed)

    billing = alice.get("/t/acme/billing/")
    assert (billing.status_code, "Acme is suspended" in text_of(billing)) == (200, True)
    assert "The card was declined." in text_of(billing)
    assert "Change plan" not in text_of(billing)
    assert "/t/acme/deployments/" not in text_of(billing), "what is closed is not offered"
    alice.post("/t/acme/billing/payment-method/", {"reference": "pays"})
    address = f"/t/acme/billing/invoices/{suspended.number}/"
    assert "Pay €128.40" in text_of(alice.get(address))
    paid = alice.post(f"{address}pay/", {"version": suspended.version}, follow=True)
    assert "Invoice NS-000001 is paid. Acme is open again." in text_of(paid)
    assert "Acme is suspended" not in text_of(paid)
    assert "/t/acme/deployments/" in text_of(paid)
    assert alice.get("/t/acme/").status_code == 200


def test_what_is_not_for_paying_stays_closed(alice, suspended):
    for path in ("deployments/", "billing/plan/", "activity/", "jump/"):
        assert alice.get(f"/t/acme/{path}").status_code == 403
    for path in ("plan/cancel/", "plan/change/", "thresholds/"):
        assert alice.post(f"/t/acme/billing/{path}").status_code == 403


def test_bob_sees_what_is_owed_and_who_can_pay_it(bob, suspended):
    closed = bob.get("/t/acme/")
    assert closed.status_code == 403
    assert "Alice can pay this" in text_of(closed)
    page = text_of(bob.get(f"/t/acme/billing/invoices/{suspended.number}/"))
    assert "Alice can pay this" in page
    assert "/pay/" not in page
    assert bob.post(f"/t/acme/billing/invoices/{suspended.number}/pay/").status_code == 403
    assert bob.post("/t/acme/billing/payment-method/").status_code == 403


def test_a_strangers_suspended_tenant_does_not_exist(charlie, acme, suspended):
    charlie.client.force_login(charlie.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert charlie.get("/t/acme/billing/").status_code == 404


@pytest.mark.parametrize("reason", ["Mined coins", "Unpaid: since May"])
def test_who_is_suspended_for_something_else_is_offered_no_way_to_pay(acme, alice, platform_admin, invoice, reason):
    """Not either if staff give the schedule's own words as a reason: paying would not end it."""
    tenants.suspend(acme, platform_admin.user, reason=reason)
    assert alice.get("/t/acme/billing/").status_code == 403
    closed = text_of(alice.get("/t/acme/"))
    assert reason in closed
    assert "pay" not in closed.replace("Unpaid", "")
    assert alice.post(f"/t/acme/billing/invoices/{invoice.number}/pay/").status_code == 403


def test_while_the_bank_has_not_answered_the_page_says_so(acme, alice, suspended):
    pays_by(acme, "calls_back")
    alice.post(f"/t/acme/billing/invoices/{suspended.number}/pay/", {"version": suspended.version})
    assert "the bank has not answered yet" in text_of(alice.get("/t/acme/"))
    assert alice.get("/t/acme/billing/").status_code == 200
    assert call_back() == 1
    assert alice.get("/t/acme/").status_code == 200


def test_a_tenant_that_staff_let_in_again_is_not_suspended_for_the_same_debt(acme, platform_admin, invoice, wait):
    pays_by(acme, "declines")
    for _ in range(3):
        wait(14)
    assert is_suspended(acme)
    tenants.resume(acme, platform_admin.user)
    wait(1)
    assert not is_suspended(acme)


def test_paying_does_not_end_a_suspension_for_something_else(acme, platform_admin, invoice, wait):
    pays_by(acme, "declines")
    for _ in range(3):
        wait(14)
    tenants.resume(acme, platform_admin.user)
    tenants.suspend(acme, platform_admin.user, reason="Mined coins")
    pays_by(acme, "pays")
    payments.pay(invoice)
    assert is_suspended(acme)


def test_giving_up_an_invoice_gives_access_back_too(acme, platform_admin, invoice, wait):
    pays_by(acme, "declines")
    for _ in range(3):
        wait(14)
    payments.void(invoice, "They are friends", by=platform_admin.user)
    assert not is_suspended(acme)
    with scope(tenant=acme):
        assert Subscription.objects.get().suspended_at is None


def test_somebodys_own_tries_do_not_use_up_the_schedule(acme, alice, invoice, wait):
    pays_by(acme, "declines")
    for _ in range(5):
        payments.pay(invoice, by=alice.user)
    assert fresh(invoice).next_try_at == invoice.due_at
    pays_by(acme, "pays")
    wait(14)
    assert fresh(invoice).status == "paid"


def test_no_means_of_payment_is_a_try_that_failed(acme, invoice, wait, settings):
    settings.PAYMENT_GATEWAY, settings.STRIPE_SECRET_KEY = "stripe", "sk_test_1"
    wait(14)
    assert (fresh(invoice).status, fresh(invoice).reason) == ("failed", "There is no means of payment.")
    assert (tries(invoice), fresh(invoice).tries) == ([], 1)


def test_what_a_gateway_has_not_decided_is_neither_tried_again_nor_held_against_anybody(acme, invoice, wait):
    pays_by(acme, "calls_back_late")
    for _ in range(3):
        wait(14)
    assert (tries(invoice), is_suspended(acme)) == (["pending"], False)
    call_back()
    assert fresh(invoice).status == "paid"


def test_without_a_gateway_the_schedule_leaves_collecting_to_staff(acme, invoice, wait, settings):
    settings.PAYMENT_GATEWAY = ""
    for _ in range(5):
        wait(14)
    assert (fresh(invoice).status, is_suspended(acme)) == ("open", False)


def test_what_goes_wrong_with_one_tenant_holds_no_other_back(acme, globex, plan, invoice, wait, monkeypatch, caplog):
    from billing import actions

    actions.subscribe(globex, plan, at=timezone.now())
    other = open_invoice(globex)
    begin = payments._begin

    def fail_for_acme(invoice, by, **more):
        if invoice.tenant_id == acme.pk:
            raise RuntimeError("Something is wrong with acme")
        return begin(invoice, by, **more)

    monkeypatch.setattr(payments, "_begin", fail_for_acme)
    wait(14)
    assert fresh(other).status == "paid"
    assert "Something is wrong with acme" in caplog.text
