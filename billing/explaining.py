"""Why a line of an invoice is what it is: which rule made it, and the records behind it."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Q

from billing import invoicing
from billing.models import Aggregation, Invoice, InvoiceLine, Meter, Segment, UsageRecord
from billing.money import shown, shown_unit

_COUNTED = {
    Aggregation.SUM: "The sum of",
    Aggregation.MAX: "The highest of",
    Aggregation.LAST: "The last of",
}
#: By what the line says: it prices nothing.
_MOVED = {
    invoicing.CREDIT_TAKEN: "What earlier invoices came to below nothing.",
    invoicing.CREDIT_LEFT: "The lines above come to less than nothing. The next invoice is so much lower.",
    invoicing.TOO_LITTLE_TAKEN: "What earlier invoices came to that was too little to be charged.",
    invoicing.TOO_LITTLE_LEFT: "The lines above come to so little. The next invoice is so much higher.",
    invoicing.FORGONE: "The lines above come to so little, and no other invoice follows. Nobody owes it.",
}


@dataclass(frozen=True, slots=True)
class Explained:
    """A line as pages say it. `records` is how many stand behind it; None where none do: a fee."""

    line: InvoiceLine
    currency: str
    records: int | None

    @property
    def amount(self) -> str:
        return shown(self.line.amount_minor, self.currency)

    @property
    def unit_price(self) -> str:
        return shown_unit(self.line.unit_amount, self.currency) if self.line.unit_amount else ""

    @property
    def is_included(self) -> bool:
        """Units that cost nothing, since the plan includes them; not those of a tier whose price is nothing."""
        line = self.line
        if line.quantity is None or line.tier_from or line.segment is None or Decimal(line.unit_amount or 0):
            return False
        price = line.segment.plan.price_list.meters.get(line.meter_id or "")
        return price is not None and bool(price.included)

    @property
    def quantity(self) -> str:
        """ "412.5 minutes"; empty for a fee."""
        if self.line.quantity is None or self.line.meter is None:
            return ""
        return f"{number(self.line.quantity)} {units(self.line.meter, self.line.quantity)}"

    @property
    def how(self) -> str:
        """The rule that made it, in a sentence."""
        line = self.line
        if line.segment is None:
            return _MOVED.get(line.description, "")
        if is_adjustment(line):
            late = _records(self.records)
            return f"With {late} that came after that period's invoice, less what was invoiced for it already."
        if line.meter and line.quantity is None:
            return _of_flat(line.segment, line.meter, self.unit_price, self.records or 0)
        if line.meter:
            return f"{_of_records(line.meter, self.records or 0)}, priced by {line.segment.plan.name}."
        return _of_fee(line.segment)


def _of_fee(segment: Segment) -> str:
    plan, share = segment.plan, segment.period.share(segment.since, segment.until)
    if share == 1:
        return f"The fee of {plan.name} for a whole month."
    fee = shown_unit(str(plan.price_list.fee), plan.currency)
    return f"The fee of {plan.name} is {fee} a month; it was in force for {float(share) * 100:.1f} % of this one."


def _of_flat(segment: Segment, meter: Meter, price: str, count: int) -> str:
    share = segment.period.share(segment.since, segment.until)
    part = "" if share == 1 else f"; {segment.plan.name} was in force for {float(share) * 100:.1f} % of this one"
    what = f"{meter.name} costs {price} a month once used, however much, by {segment.plan.name}"
    return f"{what}{part}. It was, in {_records(count)}."


def _of_records(meter: Meter, count: int) -> str:
    if meter.aggregation == Aggregation.UNIQUE:
        return f"How many different values of {meter.counted_property} {_records(count).lower()} named"
    return f"{_COUNTED[Aggregation(meter.aggregation)]} {_records(count)}"


def _records(count: int | None) -> str:
    return "1 record" if count == 1 else f"{count or 0:,} records"


def number(quantity: Decimal) -> str:
    """With no more decimals than it has: 1,204.5."""
    return f"{quantity.normalize():,f}"


def units(meter: Meter, quantity: Decimal) -> str:
    """The unit for so many: words get their s, symbols such as GB don't."""
    return meter.unit if quantity == 1 or not meter.unit.islower() else f"{meter.unit}s"


def is_adjustment(line: InvoiceLine) -> bool:
    """Whether the line is about another period than its invoice is."""
    return line.segment is not None and line.segment.period_id != line.invoice.period_id


def behind(line: InvoiceLine) -> Q | None:
    """Which of the tenant's records stand behind a line; None for a line that no usage made, such as a fee.

    A line of a meter is made of what had come when its period was closed; one that adjusts an older period, of what
    came too late for that one. With what goes on, the newest record before its part is among them.
    """
    segment = line.segment
    if segment is None or line.meter is None:
        return None
    came = Q(is_late=False)
    if is_adjustment(line):
        came = Q(is_late=True, adjusted_by=None if line.invoice._state.adding else line.invoice)
    so_far = came & Q(period_id=segment.period_id, meter_id=line.meter_id, at__lt=segment.until)
    own = so_far & Q(at__gte=segment.since)
    if not line.meter.goes_on or segment.since <= segment.period.starts_at:
        return own
    before = UsageRecord.objects.filter(so_far, at__lt=segment.since).order_by("-at", "-quantity").values("pk")[:1]
    return own | Q(pk__in=before)


def explained_invoice(invoice: Invoice) -> list[Explained]:
    """The lines of an invoice that is stored."""
    lines = invoice.lines.select_related("meter", "segment__plan", "segment__period")
    for line in lines:
        line.invoice = invoice
    return explained(invoice, lines)


def explained(invoice: Invoice, lines: Iterable[InvoiceLine]) -> list[Explained]:
    """Each line with the number of its records."""
    lines = list(lines)
    counted = records_of(invoice, lines)
    return [Explained(line, invoice.currency, counted.get(line.position)) for line in lines]


def records_of(invoice: Invoice, lines: Iterable[InvoiceLine]) -> dict[int, int]:
    """How many records stand behind each line of an invoice, by its position: one query for all."""
    wanted = {f"line_{line.position}": found for line in lines if (found := behind(line)) is not None}
    if not wanted:
        return {}
    records = UsageRecord.objects.filter(tenant=invoice.tenant_id)
    counted = records.aggregate(**{name: Count("pk", filter=found) for name, found in wanted.items()})
    return {int(name.removeprefix("line_")): count for name, count in counted.items()}
