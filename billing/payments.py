"""Collecting what is owed, giving it back, and giving it up.

What a gateway is about to be asked for is stored and committed first: a pending Payment or Refund, whose id is the
gateway's idempotency key. Then it is asked, outside any transaction, and what it answers is stored. Whoever dies in
between, or waits in vain, leaves a pending row, which is asked for again under the same key: nothing is charged twice.

Everything of one tenant happens under the locks of its row and of its subscription's, as in actions.py.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, Sum
from django.urls import reverse
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from accounts.actions import Refused
from billing import actions, gateways
from billing.gateways import BY_HAND, Answer, BadCallback, Charge, GiveBack, Outcome, Told, Unavailable, local
from billing.invoicing import CREDIT_SERIES, issue
from billing.models import (
    OWED,
    Asked,
    GatewayEvent,
    Invoice,
    InvoiceLine,
    Kind,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Refund,
    RefundStatus,
    Status,
    Subscription,
)
from billing.money import shown
from billing.schedules import each
from billing.signals import invoice_changed, method_changed, subscription_changed
from events.actors import HasActor
from tenants import actions as tenants
from tenants import idempotency
from tenants.models import UNPAID, Tenant

logger = logging.getLogger("billing.payments")

REASON_MAX = 300
ASKED_AGAIN_AT_MOST = timedelta(hours=1)
#: Stripe sends a webhook again for three days.
CALLBACKS_REMEMBERED = timedelta(days=90)


class NotPayable(Refused):
    code = "not_payable"


class TooLittle(NotPayable):
    """The gateway in use charges no sum as small. It was issued when another one was, or none."""

    def __init__(self, invoice: Invoice) -> None:
        least = shown(gateways.least_minor(invoice.currency), invoice.currency)
        super().__init__(
            f"Invoice {invoice} is below {least}, the least that can be charged. Nothing was charged: the platform's "
            "staff can give it up."
        )


class NoPaymentMethod(Refused):
    code = "no_payment_method"

    def __init__(self, tenant: Tenant) -> None:
        super().__init__(f"{tenant} has given no means of payment. Nothing was charged: give one first.")


class NoGateway(Refused):
    code = "no_gateway"

    def __init__(self) -> None:
        super().__init__("This platform collects nothing by itself. Nothing was charged: pay as the invoice says.")


class NotRefundable(Refused):
    code = "not_refundable"


class KeyInUse(Refused):
    """The Idempotency-Key was used before, for another sum."""

    code = idempotency.CONFLICT


class StaleInvoice(Refused):
    """What was asked for was asked of an invoice as it is no more."""

    code = "stale_version"

    def __init__(self, now: Invoice) -> None:
        super().__init__(f"Invoice {now} was changed since you looked at it. Nothing was done: look again.")


@dataclass(frozen=True, slots=True)
class Locked:
    """An invoice that nobody else changes until the transaction ends."""

    tenant: Tenant
    subscription: Subscription
    invoice: Invoice


@contextmanager
def locked(invoice: Invoice) -> Iterator[Locked]:
    """One transaction in the tenant's scope. Raises NoSubscription if the tenant was deleted meanwhile."""
    with actions.locked(invoice.tenant) as subscription:
        fresh = Invoice.objects.select_for_update().get(pk=invoice.pk)
        fresh.tenant = subscription.tenant
        yield Locked(subscription.tenant, subscription, fresh)


# --- Collecting -------------------------------------------------------------------------------------------------------


def pay(invoice: Invoice, by: HasActor | None = None, *, expected_version: int | None = None) -> Payment | None:
    """Try to collect an invoice now. Returns the try, None if nothing was owed any more.

    Two at the same time are one: the second asks for what the first has begun. Raises NotPayable, also for what is too
    little, NoPaymentMethod, NoGateway, and StaleInvoice if it is no longer as the caller saw it. A try that stays
    pending is asked for again by schedule.
    """
    payment = _begin(invoice, by, expected_version=expected_version)
    return payment and ask(payment, by)


def collect(invoice: Invoice, now: datetime | None = None) -> Payment | None:
    """The same by schedule: nothing is done if it is not due (any more). Without a means of payment the try fails."""
    payment = _begin(invoice, None, due_by=now or timezone.now())
    return payment and ask(payment)


def is_due(invoice: Invoice, now: datetime) -> bool:
    """Whether the schedule wants it collected. What is nothing is settled at once; what is too little, never tried."""
    if invoice.kind != Kind.INVOICE or invoice.status not in OWED:
        return False
    if invoice.total_minor <= 0:
        return True
    if _is_too_little(invoice):
        return False
    due = invoice.due_at if invoice.status == Status.OPEN else invoice.next_try_at
    return due is not None and due <= now


def _is_too_little(invoice: Invoice) -> bool:
    return invoice.total_minor < gateways.least_minor(invoice.currency)


def _begin(
    invoice: Invoice, by: HasActor | None, due_by: datetime | None = None, expected_version: int | None = None
) -> Payment | None:
    """The try that is under way, or a new one; committed. None: there is nothing to ask a gateway for."""
    with transaction.atomic(durable=True), locked(invoice) as it:
        _check_version(it.invoice, expected_version)
        _check_payable(it.invoice)
        if it.invoice.status == Status.PAID or (due_by and not is_due(it.invoice, due_by)):
            return None
        if it.invoice.total_minor <= 0:
            _paid(it, by)
            return None
        pending: Payment | None = it.invoice.payments.filter(status=PaymentStatus.PENDING).first()
        return pending or _new_try(it, is_scheduled=due_by is not None)


def _check_version(invoice: Invoice, expected: int | None) -> None:
    if expected not in (None, invoice.version):
        raise StaleInvoice(invoice)


def _check_payable(invoice: Invoice) -> None:
    if invoice.kind != Kind.INVOICE:
        raise NotPayable(f"{invoice} is a credit note: it gives money back. Nothing was charged.")
    if invoice.status not in (*OWED, Status.PAID):
        raise NotPayable(f"Invoice {invoice} is {invoice.get_status_display().lower()}. Nothing was charged.")


def _new_try(it: Locked, is_scheduled: bool) -> Payment | None:
    if _is_too_little(it.invoice):
        raise TooLittle(it.invoice)
    try:
        gateway, method = _means(it.tenant)
    except NoPaymentMethod:
        if not is_scheduled:
            raise
        _failed(it, "There is no means of payment.", is_scheduled=True)
        return None
    payment: Payment = Payment.objects.create(
        tenant=it.tenant,
        invoice=it.invoice,
        gateway=gateway,
        customer=method.customer,
        method=method.reference,
        amount_minor=it.invoice.total_minor,
        currency=it.invoice.currency,
        is_scheduled=is_scheduled,
        created_at=timezone.now(),
        ask_at=timezone.now() + timedelta(seconds=settings.PAYMENT_ASKED_AGAIN_SECONDS),
    )
    return payment


def _means(tenant: Tenant) -> tuple[str, PaymentMethod]:
    """Raises NoGateway and NoPaymentMethod."""
    if not settings.PAYMENT_GATEWAY:
        raise NoGateway
    gateway = gateways.get(settings.PAYMENT_GATEWAY)
    method = PaymentMethod.objects.filter(tenant=tenant, gateway=gateway.name).exclude(reference="").first()
    if method is None and gateway.default_method:
        method = PaymentMethod(tenant=tenant, gateway=gateway.name, reference=gateway.default_method)
    if method is None:
        raise NoPaymentMethod(tenant)
    return gateway.name, method


def ask(payment: Payment, by: HasActor | None = None) -> Payment:
    """Ask the gateway for a pending payment, for the first time or again, and store what it says."""
    order = Charge(
        key=str(payment.pk),
        minor=payment.amount_minor,
        currency=payment.currency,
        customer=payment.customer,
        method=payment.method,
        description=f"Invoice {payment.invoice}",
        first_asked_at=payment.created_at,
    )
    try:
        answer = gateways.get(payment.gateway).charge(order)
    except Unavailable as problem:
        _not_now(payment, problem)
        return payment
    return settle(payment, answer, by)


def settle(payment: Payment, answer: Answer, by: HasActor | None = None) -> Payment:
    """Store what became of a payment. Once it is known to be paid, whatever else comes later is old news."""
    with locked(payment.invoice) as it:
        payment = it.invoice.payments.select_for_update().get(pk=payment.pk)
        payment.reference = payment.reference or answer.reference
        if answer.outcome == Outcome.DONE and payment.status in (PaymentStatus.PENDING, PaymentStatus.DECLINED):
            _received(it, payment, by)
        elif answer.outcome == Outcome.REFUSED and payment.status == PaymentStatus.PENDING:
            _decide(payment, PaymentStatus.DECLINED, answer.reason)
            if it.invoice.status in OWED:
                _failed(it, payment.reason, is_scheduled=payment.is_scheduled, by=by)
        elif payment.status == PaymentStatus.PENDING:
            _ask_later(payment)
        payment.save()
        return payment


def _received(it: Locked, payment: Payment, by: HasActor | None) -> None:
    """Money came. If the invoice does not want it any more, it goes back."""
    _decide(payment, PaymentStatus.PAID)
    payment.save()
    if it.invoice.status in OWED:
        _paid(it, by)
    else:
        logger.warning("Invoice %s was %s when payment %s came.", it.invoice, it.invoice.status, payment.pk)
        purpose = f"Invoice {it.invoice} was {it.invoice.get_status_display().lower()} already."
        _new_refund(payment, payment.amount_minor, purpose, is_surplus=True)


def _paid(it: Locked, by: HasActor | None) -> None:
    it.invoice.move_to(Status.PAID)
    _save_and_tell(it, "paid", by)


def _failed(it: Locked, reason: str, *, is_scheduled: bool, by: HasActor | None = None) -> None:
    it.invoice.move_to(Status.FAILED, reason[:REASON_MAX])
    _plan_next_try(it.invoice, is_scheduled)
    it.invoice.save()
    invoice_changed.send(Invoice, invoice=it.invoice, event="failed", by=by)


def _plan_next_try(invoice: Invoice, is_scheduled: bool) -> None:
    """Somebody's own try changes nothing in the schedule, but that its first one is kept."""
    now, after = timezone.now(), settings.DUNNING_RETRY_DAYS
    if is_scheduled:
        days = after[invoice.tries] if invoice.tries < len(after) else None
        invoice.next_try_at = None if days is None else now + timedelta(days=days)
        invoice.tries += 1
    elif not invoice.tries and invoice.next_try_at is None:
        invoice.next_try_at = max(now, invoice.due_at or now)


def _save_and_tell(it: Locked, event: str, by: HasActor | None) -> None:
    """For what ends an invoice: nothing is tried any more, and who was suspended for it may come back."""
    it.invoice.settled_at, it.invoice.next_try_at = timezone.now(), None
    it.invoice.save()
    invoice_changed.send(Invoice, invoice=it.invoice, event=event, by=by)
    _give_back_access(it)


def take_by_hand(invoice: Invoice, note: str, by: HasActor, *, expected_version: int | None = None) -> Payment:
    """Write down that it was paid in another way, for instance by bank transfer. `note` says where to find it.

    Raises NotPayable, also while a gateway is asked for it, and StaleInvoice if it is no longer as the caller saw it.
    """
    with locked(invoice) as it:
        _check_version(it.invoice, expected_version)
        check_voidable(it.invoice)
        payment: Payment = Payment.objects.create(
            tenant=it.tenant,
            invoice=it.invoice,
            gateway=BY_HAND,
            status=PaymentStatus.PAID,
            amount_minor=it.invoice.total_minor,
            currency=it.invoice.currency,
            reason=note[:REASON_MAX],
            decided_at=timezone.now(),
        )
        _paid(it, by)
        return payment


def void(invoice: Invoice, reason: str, by: HasActor, *, expected_version: int | None = None) -> Invoice:
    """Give up an invoice that is not paid. It keeps its number.

    Raises NotPayable, also while it is being paid, and StaleInvoice if it is no longer as the caller saw it.
    """
    with locked(invoice) as it:
        _check_version(it.invoice, expected_version)
        check_voidable(it.invoice)
        it.invoice.move_to(Status.VOID, reason[:REASON_MAX])
        _save_and_tell(it, "voided", by)
        return it.invoice


def check_voidable(invoice: Invoice) -> None:
    """Raises NotPayable unless it is owed and nobody is being asked for it."""
    _check_payable(invoice)
    if invoice.status == Status.PAID:
        raise NotPayable(f"Invoice {invoice} is paid. Nothing was changed.")
    if invoice.payments.filter(status=PaymentStatus.PENDING).exists():
        raise NotPayable(f"Invoice {invoice} is being paid at this moment. Nothing was changed: see what comes of it.")


# --- Giving back ------------------------------------------------------------------------------------------------------


def refund(
    invoice: Invoice,
    purpose: str,
    by: HasActor,
    minor: int | None = None,
    *,
    key: str = "",
    seen_left: int | None = None,
) -> Refund:
    """Give back what was paid, or so many minor units of it. A credit note says so once the money has gone.

    Two at the same time are one, if they give back as much; and two with the same `key`, whenever they come. Raises
    NotRefundable; KeyInUse; StaleInvoice if there is not as much left as the caller saw (`seen_left`, in minor units),
    so that nobody gives the same part back twice.
    """
    with transaction.atomic(durable=True), locked(invoice) as it:
        if known := _known_refund(it.invoice, key, minor):
            return known
        payment = _refundable(it.invoice)
        found: Refund | None = payment.refunds.filter(status=RefundStatus.PENDING).first()
        if not found and seen_left not in (None, left_of(payment)):
            raise StaleInvoice(it.invoice)
        wanted = minor or (found.amount_minor if found else left_of(payment))
        if found and found.amount_minor != wanted:
            raise NotRefundable(f"{shown(found.amount_minor, found.currency)} are being given back: wait for that.")
        if not found and not 0 < wanted <= left_of(payment):
            most = shown(left_of(payment), payment.currency)
            raise NotRefundable(f"Nothing was given back: of invoice {it.invoice} there are {most} left.")
        found = found or _new_refund(payment, wanted, purpose, key=key)
    return ask_to_give_back(found, by)


def _known_refund(invoice: Invoice, key: str, minor: int | None) -> Refund | None:
    """What this key asked for before. Raises KeyInUse."""
    known: Refund | None = Refund.objects.filter(payment__invoice=invoice, key=key).first() if key else None
    if known and minor not in (None, known.amount_minor):
        raise KeyInUse(
            f"This Idempotency-Key was used to give back {shown(known.amount_minor, known.currency)}. "
            "Nothing more was given back: use a new key for a new refund."
        )
    return known


def left_to_refund(invoice: Invoice) -> int:
    """In minor units. Raises NotRefundable if that is nothing: it never was paid, was given back, or is about to be."""
    payment = _refundable(invoice)
    if left := left_of(payment):
        return left
    raise NotRefundable(f"All of invoice {invoice} is being given back already. Nothing more was given back.")


def _refundable(invoice: Invoice) -> Payment:
    """The payment that paid it. Raises NotRefundable."""
    if invoice.kind == Kind.INVOICE and invoice.status == Status.PAID:
        paid = invoice.payments.filter(status=PaymentStatus.PAID)
        if found := paid.exclude(refunds__is_surplus=True).first():
            return found  # type: ignore[no-any-return]
    words = f"is {invoice.get_status_display().lower()}" if invoice.status != Status.PAID else "came to nothing"
    raise NotRefundable(f"{invoice} {words}. Nothing was given back.")


def left_of(payment: Payment) -> int:
    """What of a payment has not been given back, nor is about to be. In minor units."""
    gone = payment.refunds.exclude(status=RefundStatus.REFUSED).aggregate(found=Sum("amount_minor"))["found"]
    return payment.amount_minor - (gone or 0)


def _new_refund(
    payment: Payment,
    minor: int,
    purpose: str,
    *,
    is_surplus: bool = False,
    status: RefundStatus = RefundStatus.PENDING,
    key: str = "",
) -> Refund:
    created: Refund = payment.refunds.create(
        tenant_id=payment.tenant_id,
        amount_minor=minor,
        currency=payment.currency,
        purpose=purpose[:REASON_MAX],
        is_surplus=is_surplus,
        status=status,
        key=key,
        created_at=timezone.now(),
        ask_at=timezone.now(),
    )
    return created


def ask_to_give_back(refund: Refund, by: HasActor | None = None) -> Refund:
    """Ask the gateway for a pending refund, for the first time or again, and store what it says."""
    payment = refund.payment
    if payment.gateway == BY_HAND:
        return settle_refund(refund, Answer(Outcome.DONE), by)
    order = GiveBack(str(refund.pk), payment.reference, refund.amount_minor, refund.currency, refund.created_at)
    try:
        answer = gateways.get(payment.gateway).give_back(order)
    except Unavailable as problem:
        _not_now(refund, problem)
        return refund
    return settle_refund(refund, answer, by)


def settle_refund(refund: Refund, answer: Answer, by: HasActor | None = None) -> Refund:
    """Store what became of a refund. What is decided stays so; that money came back later is only said."""
    with locked(refund.payment.invoice) as it:
        refund = Refund.objects.select_for_update().select_related("payment").get(pk=refund.pk)
        if refund.status == RefundStatus.DONE and answer.outcome == Outcome.REFUSED:
            return _came_back(refund, answer.reason)
        if refund.status != RefundStatus.PENDING:
            return refund
        refund.reference = refund.reference or answer.reference
        if answer.outcome == Outcome.DONE:
            _given_back(it, refund, by)
        elif answer.outcome == Outcome.REFUSED:
            logger.error("Refund %s was refused: %s", refund.pk, answer.reason)
            _decide(refund, RefundStatus.REFUSED, answer.reason)
        else:
            _ask_later(refund)
        refund.save()
        return refund


def _came_back(refund: Refund, why: str) -> Refund:
    """The tenant is owed it all the same, so its credit note stands: staff give it back another way."""
    if not refund.reason:
        refund.reason = f"The money came back: {why}"[:REASON_MAX]
        refund.save(update_fields=["reason"])
        logger.error("Refund %s had gone and came back: %s. Give it back another way.", refund.pk, why)
    return refund


def _given_back(it: Locked, refund: Refund, by: HasActor | None) -> None:
    _decide(refund, RefundStatus.DONE)
    refund.save()
    payment = refund.payment
    everything = payment.amount_minor == _given(payment)
    if everything:
        payment.status = PaymentStatus.REFUNDED
        payment.save(update_fields=["status"])
    if refund.is_surplus:
        return
    refund.credit_note = _credit(it, refund, by)
    if everything:
        it.invoice.move_to(Status.REFUNDED, refund.purpose)
        _save_and_tell(it, "refunded", by)


def _given(payment: Payment) -> int:
    return payment.refunds.filter(status=RefundStatus.DONE).aggregate(found=Sum("amount_minor"))["found"] or 0


def _credit(it: Locked, refund: Refund, by: HasActor | None) -> Invoice:
    """The credit note of what was given back: a number of its own series, a negative sum, settled from the start."""
    now = timezone.now()
    period = it.invoice.period
    note = Invoice.objects.create(
        tenant=it.tenant,
        kind=Kind.CREDIT_NOTE,
        credits=it.invoice,
        currency=refund.currency,
        total_minor=-refund.amount_minor,
    )
    InvoiceLine.objects.create(
        tenant=it.tenant,
        invoice=note,
        position=1,
        description=f"Refund of invoice {it.invoice}: {refund.purpose}"[:REASON_MAX],
        since=period.starts_at if period else now,
        until=period.ends_at if period else now,
        amount_minor=-refund.amount_minor,
    )
    return issue(note, now, CREDIT_SERIES, by)


# --- What gateways say by themselves ----------------------------------------------------------------------------------


def take_callback(gateway: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """Take what a gateway called to say. Returns whether it was news: a repetition changes nothing.

    Raises UnknownGateway, and BadCallback for what is not the gateway's, too old, or of another sum than ours.
    """
    told = gateways.get(gateway).read_callback(body, headers)
    if told is None:
        return False
    take = {"charge": _take_charge, "refund": _take_refund, "method": _take_method}[told.about]
    with scopes_disabled(), transaction.atomic():
        _, is_new = GatewayEvent.objects.get_or_create(gateway=gateway, event_id=told.event_id)
        return is_new and take(gateway, told)


def send_local_callbacks() -> int:
    """What the local gateway has to say. It calls from within: there is nobody outside who would."""
    return local.send_callbacks(take_callback) if local.LocalGateway.name == settings.PAYMENT_GATEWAY else 0


def forget_old_callbacks() -> None:
    """What came so long ago is not sent again by any gateway; the payments say what came of it."""
    before = timezone.now() - CALLBACKS_REMEMBERED
    GatewayEvent.objects.filter(received_at__lt=before).delete()


def _take_charge(gateway: str, told: Told) -> bool:
    payments = Payment.objects.select_related("invoice__tenant").filter(gateway=gateway)
    payment = payments.filter(pk__in=_ids(told.key)).first()
    if payment is None:
        return _nobodys(gateway, told)
    _check_sum(payment, told)
    settle(payment, told.answer)
    return True


def _take_refund(gateway: str, told: Told) -> bool:
    refunds = Refund.objects.select_related("payment__invoice__tenant").filter(payment__gateway=gateway)
    refund = refunds.filter(pk__in=_ids(told.key)).first()
    if refund is None:
        return _learn_of_refund(gateway, told)
    _check_sum(refund, told)
    settle_refund(refund, told.answer)
    return True


def _learn_of_refund(gateway: str, told: Told) -> bool:
    """Somebody gave money back on the gateway's own pages. It is written down as if it had been asked for here, once it
    has gone: what is not decided yet is told again when it is. Several events may tell of one refund.
    """
    payments = Payment.objects.select_related("invoice__tenant").filter(gateway=gateway).exclude(reference="")
    payment = payments.filter(reference=told.charge).first()
    if payment is None or told.answer.outcome != Outcome.DONE:
        return _nobodys(gateway, told)
    with locked(payment.invoice) as it:
        payment = it.invoice.payments.get(pk=payment.pk)
        if payment.refunds.filter(reference=told.answer.reference).exists():
            return False
        if payment.status == PaymentStatus.PENDING:
            raise BadCallback(f"{told.event_id} gives back what has not been paid yet.")  # it is told again
        _check_part(payment, told)
        refund = _new_refund(
            payment,
            told.minor,
            f"Given back at {gateway.capitalize()}.",
            is_surplus=payment.refunds.filter(is_surplus=True).exists(),
            status=RefundStatus.DONE,
        )
        refund.reference = told.answer.reference
        _given_back(it, refund, None)
        refund.save()
        return True


def _take_method(gateway: str, told: Told) -> bool:
    """A customer of ours has given a means of payment on the gateway's page. One that it gave before the one we have is
    old news: what a gateway says may come out of order.
    """
    method = PaymentMethod.objects.select_for_update().filter(gateway=gateway, customer=told.key).first()
    if method is None:
        return _nobodys(gateway, told)
    at = told.at or timezone.now()
    if method.reference and at < method.changed_at:
        logger.info("%s told late of an older means of payment: event %s.", gateway, told.event_id)
        return False
    _pays_by(method, told.answer.reference, at, None)
    return True


def _pays_by(method: PaymentMethod, reference: str, at: datetime, by: HasActor | None) -> None:
    method.reference, method.changed_at = reference, at
    method.version += 1
    method.save(update_fields=["reference", "changed_at", "version"])
    method_changed.send(PaymentMethod, method=method, by=by)


def _nobodys(gateway: str, told: Told) -> bool:
    logger.info("%s spoke of a %s that is not ours: event %s.", gateway, told.about, told.event_id)
    return False


def _ids(key: str) -> list[UUID]:
    """None for what can't be an id of ours: another shop's, in the same account of the gateway."""
    try:
        return [UUID(key)]
    except ValueError:
        return []


def _check_sum(asked: Asked, told: Told) -> None:
    if (told.minor, told.currency) != (asked.amount_minor, asked.currency):
        _refuse(asked, told, f"not {asked.amount_minor} {asked.currency}")


def _check_part(payment: Payment, told: Told) -> None:
    """Of what was paid, nobody gives back more than is left, nor in another currency."""
    left = payment.amount_minor - _given(payment)
    if told.currency != payment.currency or not 0 < told.minor <= left:
        _refuse(payment, told, f"and of {payment.currency} there are {left} left")


def _refuse(asked: Asked, told: Told, difference: str) -> NoReturn:
    problem = f"{told.event_id} is about {told.minor} {told.currency}, {difference}."
    logger.error("%s Nothing was changed: see %s.", problem, asked.pk)
    raise BadCallback(problem)


# --- Asking again -----------------------------------------------------------------------------------------------------


@scopes_disabled()
def ask_again(now: datetime | None = None) -> int:
    """Ask for everything of which nobody has heard for a while. Returns how many were asked for."""
    now = now or timezone.now()
    payments = Payment.objects.filter(status=PaymentStatus.PENDING, ask_at__lte=now).order_by("ask_at")
    refunds = Refund.objects.filter(status=RefundStatus.PENDING, ask_at__lte=now).order_by("ask_at")
    asked = each(payments.select_related("invoice__tenant"), ask)
    return asked + each(refunds.select_related("payment__invoice__tenant"), ask_to_give_back)


def _not_now(asked: Payment | Refund, problem: Unavailable) -> None:
    logger.warning("No answer about %s %s: %s", type(asked).__name__.lower(), asked.pk, problem)
    _ask_later(asked)
    rows: Any = type(asked).objects.with_scopes_disabled()
    rows.filter(pk=asked.pk).update(asked=asked.asked, ask_at=asked.ask_at)


def _ask_later(asked: Asked) -> None:
    wait = timedelta(seconds=settings.PAYMENT_ASKED_AGAIN_SECONDS) * 2 ** min(asked.asked, 10)
    asked.asked += 1
    asked.ask_at = timezone.now() + min(wait, ASKED_AGAIN_AT_MOST)


def _decide(asked: Payment | Refund, status: str, reason: str = "") -> None:
    asked.status, asked.reason, asked.decided_at = status, reason[:REASON_MAX], timezone.now()


# --- Means of payment -------------------------------------------------------------------------------------------------


def choose_method(tenant: Tenant, reference: str, by: HasActor | None = None) -> PaymentMethod:
    """Pay by this from now on. For gateways that take it from us; raises Refused for the others, and NoGateway."""
    gateway = _gateway()
    if not gateway.takes_methods:
        raise Refused("Cards are given on the gateway's own page. Nothing was changed: open that page.")
    known = _customer(tenant)
    with scope(tenant=tenant), transaction.atomic():
        method: PaymentMethod = PaymentMethod.objects.select_for_update().get(pk=known.pk)
        _pays_by(method, reference, timezone.now(), by)
    return method


def page_for_method(tenant: Tenant) -> str:
    """The gateway's page, where the tenant's people give a card. It leads them back to the tenant's billing page, which
    says whether they gave one. Raises Refused, NoGateway and Unavailable."""
    gateway = _gateway()
    if gateway.takes_methods:
        raise Refused("This gateway has no page. Nothing was changed: name one of its means of payment.")
    back_to = settings.SITE_URL + reverse("billing", args=[tenant.slug])
    return gateway.page_for_method(_customer(tenant).customer, f"{back_to}?card=given", f"{back_to}?card=left")


def _gateway() -> gateways.Gateway:
    if not settings.PAYMENT_GATEWAY:
        raise NoGateway
    return gateways.get(settings.PAYMENT_GATEWAY)


def _customer(tenant: Tenant) -> PaymentMethod:
    """The tenant as the gateway knows it, made known now if it was not. Raises Unavailable."""
    gateway = _gateway()
    with scope(tenant=tenant):
        known = PaymentMethod.objects.filter(tenant=tenant, gateway=gateway.name).first()
        if known:
            return known
        customer = gateway.open_customer(str(tenant.pk), tenant.name)
        fields = {"gateway": gateway.name, "customer": customer, "reference": "", "changed_at": timezone.now()}
        return PaymentMethod.objects.update_or_create(tenant=tenant, defaults=fields)[0]


# --- Suspension -------------------------------------------------------------------------------------------------------


def given_up(now: datetime) -> Q:
    """Invoices that are owed for too long, and that the schedule has tried for the last time: where it did not run for
    weeks, what was due meanwhile is tried and announced as ever, before anybody loses access."""
    since = now - timedelta(days=settings.UNPAID_SUSPENDED_AFTER_DAYS)
    return Q(kind=Kind.INVOICE, status=Status.FAILED, next_try_at=None, due_at__lte=since)


def unpaid_for_too_long(tenant: Tenant, now: datetime) -> list[Invoice]:
    """What the tenant owes for so long that it is suspended. Not what is being paid at this moment."""
    owed = Invoice.objects.filter(given_up(now), tenant=tenant)
    return list(owed.exclude(payments__status=PaymentStatus.PENDING).order_by("due_at", "number"))


def is_suspended_for_debt(tenant: Tenant) -> bool:
    """Whether it was suspended for what it owes, so that paying that ends it."""
    if not (tenant.is_suspended and tenant.suspended_reason.startswith(UNPAID)):
        return False
    with scope(tenant=tenant):
        return Subscription.objects.filter(tenant=tenant).exclude(suspended_at=None).exists()


def suspend_if_unpaid(tenant: Tenant, now: datetime | None = None) -> bool:
    """Take the access of who owes for too long, once. Whom staff let in again meanwhile keeps it."""
    with actions.locked(tenant) as subscription:
        owed = unpaid_for_too_long(tenant, now or timezone.now())
        if not owed or subscription.suspended_at:
            return False
        _stand(subscription, timezone.now(), "suspended")
        words = ", ".join(f"{invoice} over {invoice.total}" for invoice in owed)
        tenants.suspend(tenant, None, reason=f"{UNPAID}{words}.")
        return True


def _give_back_access(it: Locked) -> None:
    if not it.subscription.suspended_at or unpaid_for_too_long(it.tenant, timezone.now()):
        return
    ends = it.tenant.is_suspended and it.tenant.suspended_reason.startswith(UNPAID)
    _stand(it.subscription, None, "returned" if ends else "")
    if ends:
        tenants.resume(it.tenant, None)


def _stand(subscription: Subscription, suspended_at: datetime | None, change: str) -> None:
    """Note whether it is suspended for what it owes; its people hear of a change."""
    subscription.suspended_at = suspended_at
    subscription.version += bool(change)
    subscription.save(update_fields=["suspended_at", "version"])
    if change:
        subscription_changed.send(Subscription, subscription=subscription, change=change, by=None)
