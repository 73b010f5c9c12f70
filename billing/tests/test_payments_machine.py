"""Whatever people, the schedule, staff and a gateway do, in whatever order: the money and the books agree."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from django_scopes import scopes_disabled
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.actions import Refused
from accounts.models import User
from billing import actions, dunning, payments
from billing.gateways import local
from billing.models import OWED, Invoice, LocalCharge, Payment, Plan, Refund, Subscription
from billing.tests.conftest import NOVEMBER, PRICES
from billing.tests.paying import open_invoice, pays_by, taken, told
from tenants.models import Tenant

pytestmark = pytest.mark.django_db

METHODS = [*local.SCRIPTS, local.AWAY]
invoices = st.integers(0, 2)


class Paying(RuleBasedStateMachine):
    """One tenant with up to three invoices. Each run is rolled back behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.atomic = transaction.atomic()
        self.atomic._from_testcase = True  # as a test's own: actions that must commit may do so in it
        self.atomic.__enter__()
        self.invoices: list[Invoice] = []
        self.heard: list[bytes] = []

    @initialize(methods=st.sampled_from(METHODS))
    def begin(self, methods: str) -> None:
        self.tenant = Tenant.objects.create(slug="machine", name="Machine")
        self.staff = User.objects.create_user("staff@neostack.example", "x", name="Ada")
        plan = Plan.objects.create(slug="m", name="M", currency="EUR", prices={"fee": PRICES["fee"]})
        actions.subscribe(self.tenant, actions.publish(plan), at=NOVEMBER)
        self.invoice()
        self.choose(methods)

    @precondition(lambda self: len(self.invoices) < 3)
    @rule()
    def invoice(self) -> None:
        self.invoices.append(open_invoice(self.tenant, 1_000 * (len(self.invoices) + 1)))

    @rule(method=st.sampled_from(METHODS))
    def choose(self, method: str) -> None:
        pays_by(self.tenant, method)

    @rule(which=invoices)
    def pay(self, which: int) -> None:
        self.unless_refused(lambda invoice: payments.pay(invoice, by=self.staff), which)

    @rule(which=invoices)
    def pay_by_hand(self, which: int) -> None:
        self.unless_refused(lambda invoice: payments.take_by_hand(invoice, "Transfer", by=self.staff), which)

    @rule(which=invoices)
    def void(self, which: int) -> None:
        self.unless_refused(lambda invoice: payments.void(invoice, "Mistake", by=self.staff), which)

    @rule(which=invoices, minor=st.sampled_from([None, 1, 400, 5_000]))
    def refund(self, which: int, minor: int | None) -> None:
        self.unless_refused(lambda invoice: payments.refund(invoice, "Sorry", self.staff, minor), which)

    @rule()
    def call_back(self) -> None:
        local.send_callbacks(self.take)

    @precondition(lambda self: self.heard)
    @rule(which=st.integers(0, 9))
    def replay(self, which: int) -> None:
        body = self.heard[which % len(self.heard)]
        assert payments.take_callback("local", body, local.make().signed(body)) is False

    @rule(minutes=st.integers(1, 90))
    def ask_again(self, minutes: int) -> None:
        self.wait(timedelta(minutes=minutes))
        payments.ask_again()

    @rule(days=st.integers(1, 16))
    def let_days_go_by(self, days: int) -> None:
        self.wait(timedelta(days=days))
        dunning.run()

    def take(self, gateway: str, body: bytes, headers: Any) -> None:
        self.heard.append(body)
        payments.take_callback(gateway, body, headers)

    def wait(self, how_long: timedelta) -> None:
        moment = timezone.now() + how_long
        self.patch.setattr(timezone, "now", lambda: moment)

    def unless_refused(self, do: Any, which: int) -> None:
        invoice = self.invoices[which % len(self.invoices)]
        with suppress(Refused):
            do(invoice)

    # What always holds.

    @invariant()
    @scopes_disabled()
    def books_agree(self) -> None:
        for invoice in Invoice.objects.filter(pk__in=[one.pk for one in self.invoices]):
            tries = Payment.objects.filter(invoice=invoice)
            back = Refund.objects.filter(payment__invoice=invoice)
            assert tries.filter(status="pending").count() <= 1
            credited = -sum(note.total_minor for note in invoice.credit_notes.all())
            assert credited == total(back.filter(status="done", is_surplus=False))
            has = total(tries.filter(status__in=["paid", "refunded"])) - total(back.filter(status="done"))
            has -= total(back.filter(status="pending", is_surplus=True))
            assert has == (invoice.total_minor - credited if invoice.status == "paid" else 0), invoice.status

    @invariant()
    @scopes_disabled()
    def numbers_have_no_gaps(self) -> None:
        for series in ("NS", "CN"):
            numbers = Invoice.objects.filter(number__startswith=series).order_by("number")
            expected = [f"{series}-{n:06}" for n in range(1, len(numbers) + 1)]
            assert [invoice.number for invoice in numbers] == expected

    @invariant()
    @scopes_disabled()
    def every_change_was_told_once(self) -> None:
        versions: dict[str, list[int]] = {}
        for event in told(self.tenant):
            versions.setdefault(event["invoiceId"], []).append(event["version"])
        for invoice in Invoice.objects.filter(tenant=self.tenant):
            said = versions[str(invoice.pk)]
            assert said == sorted(set(said))
            assert said[-1] == invoice.version

    @invariant()
    @scopes_disabled()
    def who_is_suspended_owes(self) -> None:
        tenant, subscription = Tenant.objects.get(pk=self.tenant.pk), Subscription.objects.get(pk=self.tenant.pk)
        assert tenant.is_suspended == (subscription.suspended_at is not None)
        if tenant.is_suspended:
            assert Invoice.objects.filter(tenant=tenant, status__in=OWED).exists()

    def teardown(self) -> None:
        """In the end the gateway answers everything, and what it has is what we say it has."""
        try:
            if hasattr(self, "tenant"):
                self.patch.setattr(local, "AWAY", "nothing")
                for _ in range(3):
                    self.wait(timedelta(hours=2))
                    self.call_back()
                    payments.ask_again()
                self.books_agree()
                with scopes_disabled():
                    assert not Payment.objects.filter(status="pending").exists()
                    assert not Refund.objects.filter(status="pending").exists()
                    through = Payment.objects.filter(gateway="local", status__in=["paid", "refunded"])
                    back = Refund.objects.filter(payment__gateway="local", status="done")
                    assert taken() == total(through) - total(back)
                    keys = set(LocalCharge.objects.filter(outcome="done").values_list("key", flat=True))
                    assert keys == {str(payment.pk) for payment in through}
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)
            self.patch.undo()


def total(rows: Any) -> int:
    return sum(row.amount_minor for row in rows)


def test_money_and_books_agree_whatever_happens():
    few = settings(max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Paying, settings=few)
