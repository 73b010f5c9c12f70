"""How billing reads: what pages and the API both show of invoices. Names on the wire are the events' camelCase.

Amounts are in whole units of their currency, exact, as text: "128.40". `shown` is the same for people: "€128.40".
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from billing import invoicing
from billing.explaining import behind, records_of
from billing.models import Invoice, InvoiceLine, Payment, PaymentStatus, RefundStatus, UsageRecord
from billing.money import from_minor, shown
from billing.projection import period_at
from tenants.models import Tenant


class Read(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class InvoiceRead(Read):
    """One invoice or credit note in a list. `credits`: the invoice that a credit note gives back."""

    id: UUID
    kind: str
    number: str
    status: str
    version: int
    amount: str
    shown: str
    currency: str
    period_start: datetime | None
    period_end: datetime | None
    issued_at: datetime | None
    due_at: datetime | None
    settled_at: datetime | None
    next_try_at: datetime | None
    reason: str
    credits: UUID | None

    @classmethod
    def of(cls, invoice: Invoice) -> Self:
        return cls(**_fields(invoice))


class LineRead(Read):
    """One line. `quantity` units of `meter` at `unit_amount`, in the tier from `tier_from` to `tier_to` (None: no end).

    `records`: how many records of usage it was made of; all tiers of a meter are made of the same ones. None for a
    line that no usage stands behind, such as a plan's fee.
    """

    position: int
    description: str
    plan: str | None
    meter: str | None
    unit: str | None
    quantity: str | None
    unit_amount: str | None
    tier_from: str | None
    tier_to: str | None
    since: datetime
    until: datetime
    amount: str
    shown: str
    records: int | None


class PaymentRead(Read):
    """One try to pay, and what of it was given back."""

    id: UUID
    status: str
    gateway: str
    amount: str
    shown: str
    refunded: str
    reason: str
    created_at: datetime
    decided_at: datetime | None

    @classmethod
    def of(cls, payment: Payment) -> Self:
        refunded = sum(one.amount_minor for one in payment.refunds.all() if one.status == RefundStatus.DONE)
        return cls(
            id=payment.pk,
            status=payment.status,
            gateway=payment.gateway,
            amount=amount(payment.amount_minor, payment.currency),
            shown=shown(payment.amount_minor, payment.currency),
            refunded=amount(refunded, payment.currency),
            reason=payment.reason,
            created_at=payment.created_at,
            decided_at=payment.decided_at,
        )


#: A payment only ever goes up these.
_STEPS = {
    PaymentStatus.PENDING: 1,
    PaymentStatus.DECLINED: 2,
    PaymentStatus.PAID: 3,
    PaymentStatus.REFUNDED: 4,
}


class InvoiceDetail(InvoiceRead):
    lines: list[LineRead]
    payments: list[PaymentRead]
    credit_notes: list[InvoiceRead]

    @property
    def revision(self) -> int:
        """Another one, and a higher one, whenever anything here has changed, payments and credit notes too."""
        steps = sum(_STEPS[PaymentStatus(payment.status)] for payment in self.payments)
        return self.version * 1_000_000 + steps + len(self.credit_notes)


class ProjectedInvoice(Read):
    """What the current period would come to if it ended with the records there are now."""

    amount: str
    shown: str
    currency: str
    period_start: datetime
    period_end: datetime
    lines: list[LineRead]


class RecordRead(Read):
    """One record of usage. `key` is the one it was reported with."""

    key: str
    meter: str
    quantity: str
    at: datetime
    properties: dict[str, str]
    recorded_at: datetime
    is_late: bool

    @classmethod
    def of(cls, record: UsageRecord) -> Self:
        return cls(
            key=record.key,
            meter=record.meter_id,
            quantity=_number(record.quantity) or "0",
            at=record.at,
            properties=record.properties,
            recorded_at=record.recorded_at,
            is_late=record.is_late,
        )


# --- Invoices ---------------------------------------------------------------------------------------------------------


def invoices() -> QuerySet[Invoice]:
    """Every invoice and credit note of the scope's tenant that was issued; `InvoiceRead.of` reads each."""
    return Invoice.objects.exclude(number=None).select_related("period", "credits__period")


def detail(invoice: Invoice) -> InvoiceDetail:
    """Everything about one. In the tenant's scope; a handful of queries, however many lines."""
    payments = invoice.payments.prefetch_related("refunds")
    notes = invoice.credit_notes.select_related("period", "credits__period").order_by("number")
    return InvoiceDetail(
        **_fields(invoice),
        lines=_stored_lines(invoice),
        payments=[PaymentRead.of(payment) for payment in payments],
        credit_notes=[InvoiceRead.of(note) for note in notes],
    )


def projected(tenant: Tenant) -> ProjectedInvoice | None:
    """None for a tenant without a subscription, or whose last period is invoiced. In the tenant's scope."""
    period = period_at(tenant, timezone.now())
    if period is None:
        return None
    invoice, lines = invoicing.draft_of(period)
    return ProjectedInvoice(
        amount=amount(invoice.total_minor, invoice.currency),
        shown=invoice.total,
        currency=invoice.currency,
        period_start=period.starts_at,
        period_end=period.ends_at,
        lines=_lines(invoice, lines),
    )


# --- Lines and what they are made of ----------------------------------------------------------------------------------


def records_behind(line: InvoiceLine) -> QuerySet[UsageRecord]:
    """The records of usage that a line was made of, in the tenant's scope; none for a plan's fee."""
    found = behind(line)
    return UsageRecord.objects.none() if found is None else UsageRecord.objects.filter(found)


def _stored_lines(invoice: Invoice) -> list[LineRead]:
    return _lines(invoice, list(invoice.lines.select_related("meter", "segment__plan", "segment__period", "invoice")))


def _lines(invoice: Invoice, lines: list[InvoiceLine]) -> list[LineRead]:
    counted = records_of(invoice, lines)
    return [_line(line, invoice.currency, counted.get(line.position)) for line in lines]


def _line(line: InvoiceLine, currency: str, records: int | None) -> LineRead:
    return LineRead(
        position=line.position,
        description=line.description,
        plan=line.segment.plan.name if line.segment else None,
        meter=line.meter_id,
        unit=line.meter.unit if line.meter else None,
        quantity=_number(line.quantity),
        unit_amount=line.unit_amount or None,
        tier_from=_number(line.tier_from),
        tier_to=_number(line.tier_to),
        since=line.since,
        until=line.until,
        amount=amount(line.amount_minor, currency),
        shown=shown(line.amount_minor, currency),
        records=records,
    )


def _fields(invoice: Invoice) -> dict[str, Any]:
    period = invoice.period or (invoice.credits.period if invoice.credits else None)
    return {
        "id": invoice.pk,
        "kind": invoice.kind,
        "number": invoice.number or "",
        "status": invoice.status,
        "version": invoice.version,
        "amount": amount(invoice.total_minor, invoice.currency),
        "shown": invoice.total,
        "currency": invoice.currency,
        "period_start": period.starts_at if period else None,
        "period_end": period.ends_at if period else None,
        "issued_at": invoice.issued_at,
        "due_at": invoice.due_at,
        "settled_at": invoice.settled_at,
        "next_try_at": invoice.next_try_at,
        "reason": invoice.reason,
        "credits": invoice.credits_id,
    }


def amount(minor: int, currency: str) -> str:
    return str(from_minor(minor, currency))


def _number(quantity: Decimal | None) -> str | None:
    """Without needless zeros: 412.500000 is 412.5."""
    return None if quantity is None else f"{quantity.normalize():f}"
