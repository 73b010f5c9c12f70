"""Whatever a gateway does, an invoice is paid once, and everybody hears what became of it."""

from datetime import timedelta

import pytest
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from accounts.actions import Refused
from billing import payments
from billing.gateways import Answer, BadCallback, Outcome, UnknownGateway, local
from billing.models import GatewayEvent, Invoice, LocalCharge, Payment, Refund
from billing.payments import NoPaymentMethod, NotPayable, NotRefundable
from billing.tests.paying import call_back, fresh, happened, open_invoice, pays_by, taken, told, tries
from tenants import actions as tenants

pytestmark = pytest.mark.django_db


@pytest.fixture
def invoice(acme, subscription) -> Invoice:
    return open_invoice(acme)


def later(monkeypatch, **after: float) -> None:
    moment = timezone.now() + timedelta(**after)
    monkeypatch.setattr(timezone, "now", lambda: moment)


# --- Paying -----------------------------------------------------------------------------------------------------------


def test_alice_pays_and_everybody_hears_of_it(acme, alice, invoice):
    payments.pay(invoice, by=alice.user)
    assert fresh(invoice).status == "paid"
    assert (happened(acme), taken()) == (["created", "paid"], 12_840)
    assert {name: told(acme)[-1][name] for name in ("amount", "currency", "version", "reason")} == {
        "amount": "128.40",
        "currency": "EUR",
        "version": 3,
        "reason": "",
    }


def test_paying_again_charges_nothing(acme, alice, invoice):
    payments.pay(invoice, by=alice.user)
    assert payments.pay(invoice, by=alice.user) is None
    assert (tries(invoice), taken(), happened(acme)) == (["paid"], 12_840, ["created", "paid"])


def test_a_declined_card_is_said_with_its_reason_and_may_be_followed_by_another(acme, alice, invoice):
    pays_by(acme, "declines")
    payments.pay(invoice, by=alice.user)
    assert (fresh(invoice).status, fresh(invoice).reason) == ("failed", "The card was declined.")
    assert told(acme)[-1]["reason"] == "The card was declined."
    pays_by(acme, "pays")
    payments.pay(invoice, by=alice.user)
    assert (tries(invoice), taken()) == (["declined", "paid"], 12_840)
    assert (fresh(invoice).status, fresh(invoice).reason) == ("paid", "")


def test_an_answer_that_never_came_is_asked_for_again_and_charges_once(acme, alice, invoice, monkeypatch):
    pays_by(acme, "times_out")
    payment = payments.pay(invoice, by=alice.user)
    assert payment.status == "pending"
    assert (fresh(invoice).status, happened(acme)) == ("open", ["created"])
    assert payments.ask_again() == 0  # not yet
    later(monkeypatch, minutes=2)
    assert payments.ask_again() == 1
    assert (fresh(invoice).status, tries(invoice), taken()) == ("paid", ["paid"], 12_840)


@pytest.mark.parametrize("method", ["pays", "declines"])
def test_a_process_that_dies_with_the_answer_in_hand_charges_once(acme, alice, invoice, monkeypatch, method):
    pays_by(acme, method)
    with monkeypatch.context() as killed:
        killed.setattr(payments, "settle", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            payments.pay(invoice, by=alice.user)
    assert (tries(invoice), fresh(invoice).status) == (["pending"], "open")
    later(monkeypatch, minutes=2)
    payments.ask_again()
    assert LocalCharge.objects.count() == 1
    assert fresh(invoice).status == ("paid" if method == "pays" else "failed")


def test_who_presses_again_while_nobody_knows_joins_the_same_try(acme, alice, invoice):
    pays_by(acme, "times_out")
    first = payments.pay(invoice, by=alice.user)
    pays_by(acme, "pays")  # the try goes on with what it began with
    assert payments.pay(invoice, by=alice.user).pk == first.pk
    assert (tries(invoice), taken()) == (["paid"], 12_840)


def test_a_gateway_that_is_away_is_asked_less_and_less_often(acme, alice, invoice, monkeypatch):
    pays_by(acme, "is_away")
    payments.pay(invoice, by=alice.user)
    waits = []
    for _ in range(8):
        with scope(tenant=acme):
            payment = Payment.objects.get()
        waits.append((payment.ask_at - timezone.now()).total_seconds() / 60)
        later(monkeypatch, seconds=(payment.ask_at - timezone.now()).total_seconds())
        payments.ask_again()
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert tries(invoice) == ["pending"]


def test_nothing_is_charged_without_a_means_of_payment(acme, alice, invoice, settings):
    settings.PAYMENT_GATEWAY, settings.STRIPE_SECRET_KEY = "stripe", "sk_test_1"
    with pytest.raises(NoPaymentMethod, match=r"Acme has given no means of payment\. Nothing was charged"):
        payments.pay(invoice, by=alice.user)
    settings.PAYMENT_GATEWAY = ""
    with pytest.raises(payments.NoGateway, match="pay as the invoice says"):
        payments.pay(invoice, by=alice.user)
    assert tries(invoice) == []


def test_a_bank_transfer_is_written_down(acme, platform_admin, invoice):
    payments.take_by_hand(invoice, "Transfer 4711", by=platform_admin.user)
    assert (fresh(invoice).status, taken()) == ("paid", 0)
    with pytest.raises(NotPayable, match=r"Invoice NS-000001 is paid. Nothing was changed"):
        payments.take_by_hand(invoice, "again", by=platform_admin.user)


# --- Callbacks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "calls", "status"),
    [
        ("calls_back", 1, "paid"),
        ("calls_back_twice", 2, "paid"),
        ("calls_back_out_of_order", 2, "paid"),
        ("declines_by_callback", 1, "failed"),
    ],
)
def test_what_is_called_back_decides_however_it_comes(acme, alice, invoice, method, calls, status):
    pays_by(acme, method)
    assert payments.pay(invoice, by=alice.user).status == "pending"
    assert call_back() == calls
    assert fresh(invoice).status == status
    assert happened(acme) == ["created", status]
    assert taken() == (12_840 if status == "paid" else 0)


def test_a_late_callback_for_a_declined_card_pays_the_invoice(acme, alice, invoice, monkeypatch):
    pays_by(acme, "declines_then_pays")
    payments.pay(invoice, by=alice.user)
    assert fresh(invoice).status == "failed"
    later(monkeypatch, minutes=2)
    call_back()
    assert (fresh(invoice).status, tries(invoice)) == ("paid", ["paid"])


def test_what_is_paid_twice_goes_back_without_a_credit_note(acme, alice, invoice, monkeypatch):
    pays_by(acme, "declines_then_pays")
    payments.pay(invoice, by=alice.user)
    pays_by(acme, "pays")
    payments.pay(invoice, by=alice.user)
    later(monkeypatch, minutes=2)
    call_back()
    assert taken() == 2 * 12_840
    assert payments.ask_again() == 1
    assert (taken(), sorted(tries(invoice)), fresh(invoice).status) == (12_840, ["paid", "refunded"], "paid")
    with scope(tenant=acme):
        assert Refund.objects.get().purpose == "Invoice NS-000001 was paid already."
        assert not Invoice.objects.filter(kind="credit_note").exists()


def test_what_comes_for_a_void_invoice_goes_back(acme, alice, platform_admin, invoice, monkeypatch):
    pays_by(acme, "declines_then_pays")
    payments.pay(invoice, by=alice.user)
    payments.void(invoice, "Issued by mistake", by=platform_admin.user)
    later(monkeypatch, minutes=2)
    call_back()
    payments.ask_again()
    assert (taken(), tries(invoice), fresh(invoice).status) == (0, ["refunded"], "void")


def body_and_headers(payment: Payment, gateway: local.LocalGateway, **changed) -> tuple[bytes, dict[str, str]]:
    charge = LocalCharge.objects.get(key=str(payment.pk))
    for name, value in changed.items():
        setattr(charge, name, value)
    body = local._said(charge, {"id": "call-1", "outcome": "done"})
    return body, gateway.signed(body)


def test_a_callback_that_is_forged_too_old_or_of_another_sum_changes_nothing(acme, alice, invoice, monkeypatch):
    pays_by(acme, "calls_back_late")
    payment = payments.pay(invoice, by=alice.user)
    gateway = local.make()
    body, headers = body_and_headers(payment, gateway)
    _, forged = body_and_headers(payment, local.LocalGateway("somebody else's"))
    with pytest.raises(BadCallback, match="The signature is not the local gateway's"):
        payments.take_callback("local", body, forged)
    with pytest.raises(BadCallback, match="The signature is not"):
        payments.take_callback("local", body.replace(b"12840", b"1"), headers)
    cheap = body_and_headers(payment, gateway, minor=1)
    with pytest.raises(BadCallback, match="is about 1 EUR, not 12840 EUR"):
        payments.take_callback("local", *cheap)
    later(monkeypatch, minutes=6)
    with pytest.raises(BadCallback, match="too long ago"):
        payments.take_callback("local", body, headers)
    assert fresh(invoice).status == "open"
    assert not GatewayEvent.objects.exists()


def test_a_callback_of_a_gateway_that_is_not_in_use_is_nobodys(db, settings):
    settings.PAYMENT_GATEWAY = ""
    for name in ("local", "stripe", "nothing"):
        with pytest.raises(UnknownGateway):
            payments.take_callback(name, b"{}", {})


# --- Giving back and giving up ----------------------------------------------------------------------------------------


def test_a_refund_is_credited_and_ends_the_invoice(acme, alice, platform_admin, invoice):
    payments.pay(invoice, by=alice.user)
    refund = payments.refund(invoice, "The stack was down", by=platform_admin.user)
    with scope(tenant=acme):
        note = Invoice.objects.get(kind="credit_note")
        line = note.lines.get()
    assert (refund.status, refund.credit_note, taken()) == ("done", note, 0)
    assert (note.number, note.total, note.status, note.credits) == ("CN-000001", "-€128.40", "paid", invoice)
    assert line.description == "Refund of invoice NS-000001: The stack was down"
    assert (fresh(invoice).status, fresh(invoice).reason) == ("refunded", "The stack was down")
    assert happened(acme) == ["created", "paid", "created", "refunded"]
    assert [event["kind"] for event in told(acme)] == ["invoice", "invoice", "credit_note", "invoice"]


def test_parts_are_given_back_until_nothing_is_left(acme, alice, platform_admin, invoice):
    payments.pay(invoice, by=alice.user)
    payments.refund(invoice, "A part", by=platform_admin.user, minor=2_840)
    assert (fresh(invoice).status, taken()) == ("paid", 10_000)
    with pytest.raises(NotRefundable, match=r"of invoice NS-000001 there are €100.00 left"):
        payments.refund(invoice, "Too much", by=platform_admin.user, minor=10_001)
    payments.refund(invoice, "The rest", by=platform_admin.user)
    assert (fresh(invoice).status, taken()) == ("refunded", 0)
    with pytest.raises(NotRefundable, match=r"NS-000001 is refunded. Nothing was given back"):
        payments.refund(invoice, "Again", by=platform_admin.user)


def test_a_refund_that_nobody_answered_is_asked_for_again_and_gives_back_once(
    acme, alice, platform_admin, invoice, monkeypatch
):
    payments.pay(invoice, by=alice.user)
    give_back = local.LocalGateway.give_back
    with monkeypatch.context() as away:
        away.setattr(local.LocalGateway, "give_back", lambda self, order: (give_back(self, order), lost())[0])
        assert payments.refund(invoice, "Sorry", by=platform_admin.user).status == "pending"
    assert fresh(invoice).status == "paid"
    later(monkeypatch, minutes=2)
    payments.ask_again()
    assert (fresh(invoice).status, taken()) == ("refunded", 0)


def lost() -> None:
    raise payments.Unavailable("The answer was lost.")


def test_a_refund_that_is_refused_leaves_the_invoice_paid(acme, alice, platform_admin, invoice, monkeypatch):
    payments.pay(invoice, by=alice.user)
    refused = Answer(Outcome.REFUSED, reason="Closed account")
    monkeypatch.setattr(local.LocalGateway, "give_back", lambda self, order: refused)
    refund = payments.refund(invoice, "Sorry", by=platform_admin.user)
    assert (refund.status, refund.reason) == ("refused", "Closed account")
    assert (fresh(invoice).status, happened(acme)) == ("paid", ["created", "paid"])


def test_a_tenant_is_not_deleted_while_money_is_on_its_way_back(acme, alice, platform_admin, invoice, monkeypatch):
    payments.pay(invoice, by=alice.user)
    pending = Answer(Outcome.PENDING, "r1")
    with monkeypatch.context() as slow:
        slow.setattr(local.LocalGateway, "give_back", lambda self, order: pending)
        payments.refund(invoice, "Sorry", by=platform_admin.user)
    with pytest.raises(Refused, match="Money is on its way back to Acme"):
        tenants.delete_tenant(acme, platform_admin.user)
    later(monkeypatch, minutes=2)
    payments.ask_again()
    tenants.delete_tenant(acme, platform_admin.user)
    assert taken() == 0


def test_a_slow_gateway_leaves_the_rest_to_the_next_run(acme, alice, invoice, monkeypatch, settings):
    pays_by(acme, "times_out")
    invoices = [invoice, open_invoice(acme), open_invoice(acme)]
    for one in invoices:
        payments.pay(one, by=alice.user)
    later(monkeypatch, minutes=2)
    settings.ASKING_AT_MOST_SECONDS = 0
    assert payments.ask_again() == 0
    settings.ASKING_AT_MOST_SECONDS = 60
    assert payments.ask_again() == 3


def test_a_void_invoice_keeps_its_number_and_is_paid_by_nobody(acme, alice, platform_admin, invoice):
    payments.void(invoice, "Issued by mistake", by=platform_admin.user)
    assert (fresh(invoice).status, fresh(invoice).number) == ("void", "NS-000001")
    with pytest.raises(NotPayable, match=r"Invoice NS-000001 is void. Nothing was charged"):
        payments.pay(invoice, by=alice.user)
    assert open_invoice(acme).number == "NS-000002"


def test_an_invoice_that_is_being_paid_is_not_given_up(acme, alice, platform_admin, invoice):
    pays_by(acme, "calls_back")
    payments.pay(invoice, by=alice.user)
    with pytest.raises(NotPayable, match="is being paid at this moment"):
        payments.void(invoice, "Issued by mistake", by=platform_admin.user)


def test_no_secret_and_no_reference_of_the_gateways_is_in_an_event(acme, alice, invoice, settings):
    payments.pay(invoice, by=alice.user)
    with scopes_disabled():
        reference = Payment.objects.get().reference
    assert all(word not in str(told(acme)) for word in (reference, settings.LOCAL_GATEWAY_SECRET, "local"))
