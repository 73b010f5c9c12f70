"""Several at the same moment, each on a connection of its own: an invoice is paid once, given back once, told once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import close_old_connections, connection
from django_scopes import scope

from billing import actions, dunning, payments
from billing.gateways import local
from billing.models import Invoice, LocalCharge, Refund
from billing.tests.conftest import NOVEMBER
from billing.tests.paying import fresh, happened, open_invoice, pays_by, taken, tries

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 4


@pytest.fixture
def invoice(acme, meters, plan) -> Invoice:
    actions.subscribe(acme, plan, at=NOVEMBER)
    return open_invoice(acme)


def all_at_once(*what: Callable[[], object]) -> list[object]:
    """Do each in a thread of its own, beginning together. Returns what each returned, or what it raised."""
    together = threading.Barrier(len(what))

    def run(one: Callable[[], object]) -> object:
        close_old_connections()
        try:
            together.wait(timeout=30)
            return one()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(what)) as threads:
        return list(threads.map(run, what))


def assert_nobody_failed(found: list[object]) -> None:
    assert [one for one in found if isinstance(one, Exception)] == []


@pytest.mark.parametrize("method", ["pays", "times_out"])
def test_people_who_pay_at_the_same_moment_pay_once(acme, alice, invoice, method):
    pays_by(acme, method)
    found = all_at_once(*[lambda: payments.pay(invoice, by=alice.user)] * AT_ONCE)
    assert_nobody_failed(found)
    assert LocalCharge.objects.count() == 1
    if method == "times_out" and fresh(invoice).status == "open":  # nobody came after the one who heard nothing
        payments.pay(invoice)
    assert (fresh(invoice).status, tries(invoice), taken()) == ("paid", ["paid"], 12_840)
    assert happened(acme) == ["created", "paid"]


def test_a_callback_that_comes_four_times_at_once_is_taken_once(acme, alice, invoice):
    pays_by(acme, "calls_back_late")
    payment = payments.pay(invoice, by=alice.user)
    charge = LocalCharge.objects.get(key=str(payment.pk))
    body = local._said(charge, {"id": "call-1", "outcome": "done"})
    headers = local.make().signed(body)
    found = all_at_once(*[lambda: payments.take_callback("local", body, headers)] * AT_ONCE)
    assert_nobody_failed(found)
    assert found.count(True) == 1
    assert happened(acme) == ["created", "paid"]


def test_a_person_the_schedule_and_a_callback_at_once(acme, alice, invoice, monkeypatch):
    pays_by(acme, "calls_back_late")
    payment = payments.pay(invoice, by=alice.user)
    LocalCharge.objects.update(outcome="done")
    charge = LocalCharge.objects.get(key=str(payment.pk))
    body = local._said(charge, {"id": "call-1", "outcome": "done"})
    headers = local.make().signed(body)
    found = all_at_once(
        lambda: payments.pay(invoice, by=alice.user),
        lambda: payments.ask_again(payment.ask_at),
        lambda: dunning.run(invoice.due_at),
        lambda: payments.take_callback("local", body, headers),
    )
    assert_nobody_failed(found)
    assert (fresh(invoice).status, tries(invoice), happened(acme)) == ("paid", ["paid"], ["created", "paid"])


def test_two_of_the_staff_give_back_at_once(acme, alice, platform_admin, invoice):
    payments.pay(invoice, by=alice.user)
    found = all_at_once(*[lambda: payments.refund(invoice, "Sorry", by=platform_admin.user)] * AT_ONCE)
    assert [one for one in found if isinstance(one, Exception) and not isinstance(one, payments.NotRefundable)] == []
    with scope(tenant=acme):
        assert Refund.objects.count() == 1
        assert Invoice.objects.filter(kind="credit_note").count() == 1
    assert (fresh(invoice).status, taken()) == ("refunded", 0)
