"""From what was used to what is owed: the lines of a period, closing it, and what came too late for its invoice.

Everything of one tenant happens under the lock of its subscription's row, see actions.py.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Max, QuerySet, Sum
from django.db.models.fields.json import KT
from django.utils import timezone
from django_scopes import scopes_disabled

from billing import gateways
from billing.actions import NoSubscription, current_period, locked
from billing.models import (
    Aggregation,
    Invoice,
    InvoiceLine,
    Kind,
    Meter,
    Period,
    Segment,
    Series,
    Status,
    Subscription,
    UsageRecord,
)
from billing.prices import Charge, charges, fee, rounded
from billing.signals import invoice_changed
from events.actors import HasActor
from tenants.models import Tenant

logger = logging.getLogger("billing")

SERIES = "NS"
CREDIT_SERIES = "CN"
NUMBER_DIGITS = 6
#: The lines that move a sum from one invoice to another, or give it up; `explaining.py` knows them by these words.
CREDIT_TAKEN = "Credit of earlier invoices"
CREDIT_LEFT = "Credit for the next invoice"
TOO_LITTLE_TAKEN = "Carried over from earlier invoices"
TOO_LITTLE_LEFT = "Carried over to the next invoice: below the least that can be charged"
FORGONE = "Forgone: below the least that can be charged"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an invoice that is not stored yet. `segment` is what it prices; a sum carried over prices nothing.

    `charge` is None for a fee, for what was reported late and for what is carried over or forgone.
    """

    description: str
    minor: int
    since: datetime
    until: datetime
    segment: Segment | None = None
    meter: Meter | None = None
    charge: Charge | None = None
    carries: bool = False


# --- What a period comes to -------------------------------------------------------------------------------------------


def lines_of(
    period: Period, segments: Iterable[Segment] | None = None, records: QuerySet[UsageRecord] | None = None
) -> list[Line]:
    """What the period comes to by the records there are now: for the projection, for its invoice, and to check both.

    `segments` in place of its own show what another plan would cost; `records` are those that count, if not all.
    """
    found = period.in_force if segments is None else segments
    return [line for segment in found for line in _lines_of(period, segment, records)]


def _lines_of(period: Period, segment: Segment, records: QuerySet[UsageRecord] | None) -> Iterator[Line]:
    plan, prices = segment.plan, segment.plan.price_list
    share = period.share(segment.since, segment.until)
    of = partial(Line, since=segment.since, until=segment.until, segment=segment)
    yield of(_of_part(plan.name, share), fee(prices, share, plan.currency))
    for meter in Meter.objects.filter(slug__in=prices.meters).order_by("name"):
        for charge in _charges(segment, meter, share, records):
            yield of(_of_charge(meter, charge, share), charge.minor, meter=meter, charge=charge)


def _charges(
    segment: Segment, meter: Meter, share: Fraction, records: QuerySet[UsageRecord] | None = None
) -> Iterator[Charge]:
    plan = segment.plan
    price, quantity = plan.price_list.meters[meter.slug], quantity_of(segment, meter, records)
    return charges(price, quantity, share, plan.currency, is_level=meter.is_level)


def quantity_of(segment: Segment, meter: Meter, records: QuerySet[UsageRecord] | None = None) -> Decimal:
    """What the records of a segment come to, late ones too; `records` are those that count, if not all.

    What goes on begins with the newest record before it in the period: another plan takes nobody's seats away.
    Different values are counted in the part in which they were named.
    """
    every = UsageRecord.objects.all() if records is None else records
    so_far = every.filter(period_id=segment.period_id, meter=meter, at__lt=segment.until)
    own = aggregated(so_far.filter(at__gte=segment.since), meter)
    if not meter.goes_on or segment.since <= segment.period.starts_at:
        return own or Decimal(0)
    before = newest(so_far.filter(at__lt=segment.since)) or Decimal(0)
    if own is None:
        return before
    return max(own, before) if meter.aggregation == Aggregation.MAX else own


def newest(records: QuerySet[UsageRecord]) -> Decimal | None:
    """What the record says that was used last; of several at the same moment the highest."""
    return records.order_by("-at", "-quantity").values_list("quantity", flat=True).first()


def aggregated(records: QuerySet[UsageRecord], meter: Meter) -> Decimal | None:
    """What a meter makes of these records, in the database and exact. None of none, but where they are counted."""
    match meter.aggregation:
        case Aggregation.SUM:
            return records.aggregate(found=Sum("quantity"))["found"]
        case Aggregation.MAX:
            return records.aggregate(found=Max("quantity"))["found"]
        case Aggregation.LAST:
            return newest(records)
        case _:
            value = KT(f"properties__{meter.counted_property}")
            return Decimal(records.aggregate(found=Count(value, distinct=True))["found"])


def _of_part(what: str, share: Fraction) -> str:
    return what if share == 1 else f"{what}, {float(share) * 100:.1f} % of the month"


def _of_charge(meter: Meter, charge: Charge, share: Fraction) -> str:
    """A level's price is for a month, of which this may be a part, and so is a flat one; of what adds up, for one."""
    if charge.is_included:
        return f"{meter.name}, included"
    if charge.quantity is None:
        return _of_part(f"{meter.name}, flat", share)
    if charge.up_to is not None:
        what = f"{meter.name}, from {_number(charge.since)} to {_number(charge.up_to)}"
    else:
        what = f"{meter.name}, from {_number(charge.since)} on" if charge.since else meter.name
    return _of_part(what, share) if meter.is_level else what


def _number(exact: Fraction) -> str:
    return f"{rounded(exact).normalize():,f}"


# --- Closing ----------------------------------------------------------------------------------------------------------


@scopes_disabled()
def close_what_is_over(now: datetime | None = None) -> int:
    """Close every period that ended long enough ago for its last records to have come. Returns how many were closed.

    One transaction a period, so a run that is killed goes on where it was. A period that can't be closed holds none
    back: it is logged, and tried again with the next run.
    """
    now = now or timezone.now()
    over = now - timedelta(seconds=settings.BILLING_GRACE_SECONDS)
    due = Period.objects.filter(closed_at=None, ends_at__lte=over).order_by("ends_at", "pk").select_related("tenant")
    closed = 0
    for period in list(due):
        try:
            closed += close(period, now) is not None
        except Exception:
            logger.exception("The period %s of tenant %s could not be closed.", period.pk, period.tenant_id)
    return closed


def close(period: Period, now: datetime | None = None) -> Invoice | None:
    """Issue the invoice of a period. None if somebody else has closed it meanwhile, or deleted its tenant."""
    now = now or timezone.now()
    try:
        with locked(period.tenant) as subscription:
            current_period(subscription, now)  # a fee is owed also for a month in which nothing is used
            current = Period.objects.get(pk=period.pk)
            if current.is_closed:
                return None
            current.tenant = subscription.tenant  # read already
            current.closed_at = max(now, timezone.now())  # under the lock: what is recorded later, says a later moment
            current.save(update_fields=["closed_at"])
            invoice, lines = draft_of(current)
            invoice.save(force_insert=True)
            InvoiceLine.objects.bulk_create(lines)
            not_adjusted(current.tenant).update(adjusted_by=invoice)
            return issue(invoice, now)
    except NoSubscription:
        return None


def draft_of(
    period: Period, segments: Sequence[Segment] | None = None, *, goes_on: bool = False
) -> tuple[Invoice, list[InvoiceLine]]:
    """What the period's invoice would say by the records there are now. Not saved.

    `segments` in place of its own show what another plan would cost; `goes_on`: the subscription was not cancelled.
    """
    parts = period.in_force if segments is None else segments
    invoice = Invoice(tenant_id=period.tenant_id, period=period, currency=parts[-1].plan.currency)
    found = [*lines_of(period, parts), *adjustments(not_adjusted(period.tenant))]
    found = _carried(period, invoice.currency, found, goes_on=goes_on)
    lines = [stored(invoice, place, line) for place, line in enumerate(found, start=1)]
    invoice.total_minor = sum(line.amount_minor for line in lines)
    return invoice, lines


def not_adjusted(tenant: Tenant) -> QuerySet[UsageRecord]:
    """What no invoice has asked for yet, of periods whose own invoice is out: the next one does."""
    return UsageRecord.objects.filter(tenant=tenant, is_late=True, adjusted_by=None)


def adjustments(late: QuerySet[UsageRecord]) -> Iterator[Line]:
    """For each part of a closed period and each meter that records came for: the difference to what was invoiced.

    Nothing else can have changed since: a part is priced by its own records, and by the newest one before it.
    """
    segments = Segment.objects.filter(period__in=late.values("period")).select_related("plan", "period")
    for segment in segments.order_by("since"):
        so_far = late.filter(period=segment.period, at__lt=segment.until)
        own = set(so_far.filter(at__gte=segment.since).values_list("meter", flat=True))
        priced = segment.plan.price_list.meters
        for meter in Meter.objects.filter(slug__in=so_far.values("meter")).order_by("name"):
            if meter.slug in priced and (meter.slug in own or meter.goes_on):
                line = _adjustment(segment, meter)
                if meter.slug in own or line.minor:
                    yield line


def _adjustment(segment: Segment, meter: Meter) -> Line:
    share = segment.period.share(segment.since, segment.until)
    owed = sum(charge.minor for charge in _charges(segment, meter, share))
    month = f"{segment.since.astimezone(ZoneInfo(segment.period.zone)):%B %Y}"
    return Line(
        f"{meter.name} of {month}, reported late",
        owed - invoiced(segment, meter),
        since=segment.since,
        until=segment.until,
        segment=segment,
        meter=meter,
    )


def invoiced(segment: Segment, meter: Meter | None) -> int:
    """What invoices have asked for of this so far, in minor units; without a meter: the fee.

    Also those that were declared void: that was forgone, and is not asked for again.
    """
    lines = InvoiceLine.objects.filter(segment=segment, meter=meter, invoice__kind=Kind.INVOICE)
    return lines.aggregate(found=Sum("amount_minor"))["found"] or 0


def _carried(period: Period, currency: str, found: list[Line], *, goes_on: bool) -> list[Line]:
    """The same lines with what earlier invoices left. What this one is below nothing, or too little for the gateway to
    charge, the next one takes over; where none follows, so little is forgone."""
    of = partial(Line, since=period.starts_at, until=period.ends_at)
    if credit := credit_of(period.tenant):
        found = [*found, of(CREDIT_TAKEN if credit > 0 else TOO_LITTLE_TAKEN, -credit, carries=True)]
    total = sum(line.minor for line in found)
    if total < 0:
        return [*found, of(CREDIT_LEFT, -total, carries=True)]
    if 0 < total < gateways.least_minor(currency):
        is_last = not goes_on and _is_last(period)
        return [*found, of(FORGONE, -total) if is_last else of(TOO_LITTLE_LEFT, -total, carries=True)]
    return found


def _is_last(period: Period) -> bool:
    """Whether no invoice follows: the subscription ends, or has ended, and no later period is to be invoiced."""
    if Subscription.objects.filter(pk=period.tenant_id, cancelled_at=None).exists():
        return False
    later = Period.objects.filter(tenant=period.tenant_id, starts_at__gt=period.starts_at, closed_at=None)
    return not later.exists()


def credit_of(tenant: Tenant) -> int:
    """What earlier invoices were below nothing and no later one has taken off yet, in minor units. Below nothing: what
    they came to that was too little to charge, and no later one has asked for yet."""
    carried = InvoiceLine.objects.filter(tenant=tenant, carries=True)
    return carried.aggregate(found=Sum("amount_minor"))["found"] or 0


def stored(invoice: Invoice, position: int, line: Line) -> InvoiceLine:
    """The line as the database keeps it. Does not save."""
    charge = line.charge
    return InvoiceLine(
        tenant_id=invoice.tenant_id,
        invoice=invoice,
        position=position,
        description=line.description,
        meter=line.meter,
        segment=line.segment,
        carries=line.carries,
        quantity=rounded(charge.quantity) if charge and charge.quantity is not None else None,
        unit_amount=f"{charge.unit:f}" if charge else "",
        tier_from=rounded(charge.since) if charge and charge.quantity is not None else None,
        tier_to=rounded(charge.up_to) if charge and charge.up_to is not None else None,
        since=line.since,
        until=line.until,
        amount_minor=line.minor,
    )


def issue(invoice: Invoice, now: datetime, series: str = SERIES, by: HasActor | None = None) -> Invoice:
    """Give a saved draft its number: the series' lock is the last one taken, and held the shortest.

    An invoice over nothing is paid by that; a credit note is settled from the start: the money has gone.
    """
    invoice.move_to(Status.OPEN)
    if invoice.kind == Kind.CREDIT_NOTE:
        invoice.move_to(Status.PAID)
        invoice.settled_at = now
    invoice.issued_at, invoice.due_at = now, now + timedelta(days=settings.INVOICE_DUE_DAYS)
    invoice.buyer = invoice.tenant.name
    invoice.number = next_number(series)
    invoice.save()
    invoice_changed.send(Invoice, invoice=invoice, event="created", by=by)
    if invoice.kind == Kind.INVOICE and not invoice.total_minor:
        invoice.move_to(Status.PAID)
        invoice.settled_at = now
        invoice.save()
        invoice_changed.send(Invoice, invoice=invoice, event="paid", by=by)
    return invoice


def next_number(prefix: str) -> str:
    """The next one of a series. Without gaps: whoever takes it holds the series until the transaction ends."""
    series, _ = Series.objects.select_for_update().get_or_create(prefix=prefix)
    number = series.next_number
    series.next_number += 1
    series.save()
    return f"{prefix}-{number:0{NUMBER_DIGITS}}"
