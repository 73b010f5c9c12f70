"""How billing reads: what pages and the API both show of invoices. Names on the wire are the events' camelCase.

Amounts are in whole units of their currency, exact, as text: "128.40". `shown` is the same for people: "€128.40".
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from billing import invoicing
from billing.explaining import behind, records_of
from billing.models import Crossing, Invoice, InvoiceLine, Payment, PaymentStatus, RefundStatus, UsageRecord
from billing.money import from_minor, shown
from billing.projection import Preview, Projection, period_at
from billing.revenue import Month
from tenants.examples import example, example_of
from tenants.models import Tenant


class Read(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


INVOICE = {
    "id": "01900000-0000-7000-8000-000000000007",
    "kind": "invoice",
    "number": "NS-000007",
    "status": "paid",
    "version": 3,
    "amount": "128.40",
    "shown": "€128.40",
    "currency": "EUR",
    "periodStart": "2026-10-31T23:00:00Z",
    "periodEnd": "2026-11-30T23:00:00Z",
    "issuedAt": "2026-12-01T00:10:00Z",
    "dueAt": "2026-12-15T00:10:00Z",
    "settledAt": "2026-12-01T00:10:04Z",
    "nextTryAt": None,
    "reason": "",
    "credits": None,
}


class InvoiceRead(Read):
    """One invoice or credit note in a list. `credits`: the invoice that a credit note gives back."""

    model_config = example(**INVOICE)

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

    model_config = example(
        position=2,
        description="Deployment minutes, 500 and more",
        plan="Team",
        meter="deployment_minutes",
        unit="minutes",
        quantity="412.5",
        unitAmount="0.02",
        tierFrom="500",
        tierTo=None,
        since="2026-10-31T23:00:00Z",
        until="2026-11-30T23:00:00Z",
        amount="8.25",
        shown="€8.25",
        records=31,
    )

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

    model_config = example(
        id="01900000-0000-7000-8000-000000000008",
        status="paid",
        gateway="local",
        amount="128.40",
        shown="€128.40",
        refunded="0.00",
        reason="",
        createdAt="2026-12-01T00:10:03Z",
        decidedAt="2026-12-01T00:10:04Z",
    )

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
    model_config = example(
        **INVOICE,
        lines=[example_of(LineRead)],
        payments=[example_of(PaymentRead)],
        creditNotes=[],
    )

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

    model_config = example(
        amount="128.40",
        shown="€128.40",
        currency="EUR",
        periodStart="2026-10-31T23:00:00Z",
        periodEnd="2026-11-30T23:00:00Z",
        lines=[example_of(LineRead)],
    )

    amount: str
    shown: str
    currency: str
    period_start: datetime
    period_end: datetime
    lines: list[LineRead]


class PreviewSide(Read):
    """On one plan: what this period's invoice comes to so far, line by line, and a whole month with as much usage."""

    model_config = example(
        plan="team", amount="26.30", shown="€26.30", month="49.00", monthShown="€49.00", lines=[example_of(LineRead)]
    )

    plan: str
    amount: str
    shown: str
    month: str
    month_shown: str
    lines: list[LineRead]


class PreviewRead(Read):
    """What changing the plan now would come to. A difference is below nothing where it costs less."""

    model_config = example(
        currency="EUR",
        periodStart="2026-10-31T23:00:00Z",
        periodEnd="2026-11-30T23:00:00Z",
        stay={
            "plan": "starter",
            "amount": "3.60",
            "shown": "€3.60",
            "month": "3.60",
            "monthShown": "€3.60",
            "lines": [],
        },
        change=example_of(PreviewSide),
        difference="22.70",
        monthDifference="45.40",
    )

    currency: str
    period_start: datetime
    period_end: datetime
    stay: PreviewSide
    change: PreviewSide
    difference: str
    month_difference: str


class MonthRead(Read):
    """What was invoiced in a month (UTC) in one currency, and what has become of it; `paid` is without `given_back`."""

    model_config = example(
        month="2026-11",
        currency="EUR",
        count=12,
        invoiced="1204.50",
        paid="998.00",
        owed="176.50",
        givenBack="30.00",
    )

    month: str
    currency: str
    count: int
    invoiced: str
    paid: str
    owed: str
    given_back: str


class FailedRead(InvoiceRead):
    """An invoice that could not be collected, and whose it is."""

    model_config = example(
        **INVOICE
        | {
            "status": "failed",
            "settledAt": None,
            "nextTryAt": "2026-12-18T00:10:00Z",
            "reason": "The card was declined.",
        },
        tenant="acme",
        tenantName="Acme",
    )

    tenant: str
    tenant_name: str


class ReachedRead(Read):
    """A threshold that a tenant's usage reached in a period which goes on."""

    model_config = example(
        tenant="acme",
        tenantName="Acme",
        meter="deployment_minutes",
        percent=80,
        at="2026-11-23T15:04:05.123Z",
        periodStart="2026-10-31T23:00:00Z",
        periodEnd="2026-11-30T23:00:00Z",
    )

    tenant: str
    tenant_name: str
    meter: str
    percent: int
    at: datetime
    period_start: datetime
    period_end: datetime


class RecordRead(Read):
    """One record of usage. `key` is the one it was reported with."""

    model_config = example(
        key="build-1042",
        meter="deployment_minutes",
        quantity="2.5",
        at="2026-11-23T15:04:05.123000Z",
        properties={"branch": "main"},
        recordedAt="2026-11-23T15:04:06.020000Z",
        isLate=False,
    )

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


def of_period(at: datetime) -> Q:
    """Those of the period that this moment belongs to; a credit note is of its invoice's."""
    own = Q(period__starts_at__lte=at, period__ends_at__gt=at)
    return own | Q(credits__period__starts_at__lte=at, credits__period__ends_at__gt=at)


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


def projected_line(tenant: Tenant, position: int) -> InvoiceLine | None:
    """A line of the current period's invoice as it would be; it is not stored."""
    period = period_at(tenant, timezone.now())
    lines = invoicing.draft_of(period)[1] if period else []
    return next((line for line in lines if line.position == position), None)


def previewed(found: Preview) -> PreviewRead:
    stay, change, currency = found.stay, found.change, found.stay.plan.currency
    return PreviewRead(
        currency=currency,
        period_start=stay.period.starts_at,
        period_end=stay.period.ends_at,
        stay=_side(stay, found.month_minor),
        change=_side(change, found.other_month_minor),
        difference=amount(change.invoice.total_minor - stay.invoice.total_minor, currency),
        month_difference=amount(found.other_month_minor - found.month_minor, currency),
    )


def _side(of: Projection, month_minor: int) -> PreviewSide:
    invoice = of.invoice
    return PreviewSide(
        plan=of.plan.slug,
        amount=amount(invoice.total_minor, invoice.currency),
        shown=invoice.total,
        month=amount(month_minor, invoice.currency),
        month_shown=shown(month_minor, invoice.currency),
        lines=_lines(invoice, list(of.lines)),
    )


# --- Of every tenant --------------------------------------------------------------------------------------------------


def months_read(found: Iterable[Month]) -> list[MonthRead]:
    names = ("invoiced", "paid", "owed", "given_back")
    return [
        MonthRead(
            month=f"{one.month:%Y-%m}",
            currency=one.currency,
            count=one.count,
            **{name: amount(getattr(one, name), one.currency) for name in names},
        )
        for one in found
    ]


def failed_read(invoice: Invoice) -> FailedRead:
    return FailedRead(**_fields(invoice), tenant=invoice.tenant.slug, tenant_name=invoice.tenant.name)


def reached_read(crossing: Crossing) -> ReachedRead:
    return ReachedRead(
        tenant=crossing.tenant.slug,
        tenant_name=crossing.tenant.name,
        meter=crossing.meter_id,
        percent=crossing.percent,
        at=crossing.at,
        period_start=crossing.period.starts_at,
        period_end=crossing.period.ends_at,
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
