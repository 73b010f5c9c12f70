"""Usage against its records, invoices against both, numbers without gaps, and the log against all of it.

What a tenant was told is not changed behind its back: an issued invoice is put back to what the log says was issued, or
a person decides. Usage, dedupes and thresholds are counted anew from the records.
"""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.fields.json import KT
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from billing import actions, invoicing
from billing.actions import LEVELS, NoSubscription, locked
from billing.models import (
    Aggregation,
    CountedValue,
    Crossing,
    DeletedNumber,
    Invoice,
    InvoiceLine,
    Kind,
    Meter,
    Payment,
    PaymentStatus,
    Period,
    Refund,
    Series,
    Status,
    Threshold,
    Usage,
    UsageRecord,
)
from billing.money import from_minor
from billing.signals import invoice_changed, usage_changed
from events.models import Event
from events.reconciling import Fault, check
from tenants.models import Tenant

#: The event that brought an invoice to each status.
_HAPPENED = {
    Status.OPEN: "created",
    Status.PAID: "paid",
    Status.FAILED: "failed",
    Status.REFUNDED: "refunded",
    Status.VOID: "voided",
}


def tenants() -> list[Tenant]:
    """Those that are or were billed."""
    with scopes_disabled():
        return list(Tenant.objects.filter(subscription__isnull=False).order_by("slug"))


# --- Usage ------------------------------------------------------------------------------------------------------------


@check("usage")
def usage() -> Iterator[Fault]:
    """What each meter's usage says against the period's records."""
    for tenant in tenants():
        for period, meter in _wrong_usage(tenant):
            with scope(tenant=tenant):
                says = Usage.objects.filter(period=period, meter=meter).first()
                comes_to, count = _counted(period, meter)
            problem = (
                f"says {_shown(says.quantity) if says else 'nothing'} of {says.records if says else 0} records, "
                f"its {count} records come to {_shown(comes_to)}"
            )
            where = f"{tenant.slug}, {meter.slug} of {period.starts_at:%Y-%m-%d}"
            yield Fault(where, problem, partial(count_again, tenant, period, meter))


def _wrong_usage(tenant: Tenant) -> list[tuple[Period, Meter]]:
    try:
        with locked(tenant):
            pairs = set(UsageRecord.objects.order_by().values_list("period", "meter").distinct())
            pairs |= set(Usage.objects.values_list("period", "meter"))
            periods, meters = Period.objects.in_bulk(), Meter.objects.in_bulk()
            found = [(periods[period], meters[meter]) for period, meter in sorted(pairs)]
            return [pair for pair in found if not _agrees(*pair)]
    except NoSubscription:
        return []  # deleted meanwhile


def _agrees(period: Period, meter: Meter) -> bool:
    says = Usage.objects.filter(period=period, meter=meter).first()
    there = (says.quantity, says.records) if says else (Decimal(0), 0)
    return there == _counted(period, meter) and _values(period, meter) == _recorded_values(period, meter)


def _counted(period: Period, meter: Meter) -> tuple[Decimal, int]:
    records = UsageRecord.objects.filter(period=period, meter=meter)
    return invoicing.aggregated(records, meter) or Decimal(0), records.count()


def _values(period: Period, meter: Meter) -> set[str]:
    return set(CountedValue.objects.filter(period=period, meter=meter).values_list("value", flat=True))


def _recorded_values(period: Period, meter: Meter) -> set[str]:
    if meter.aggregation != Aggregation.UNIQUE:
        return set()
    records = UsageRecord.objects.filter(period=period, meter=meter)
    return set(records.values_list(KT(f"properties__{meter.counted_property}"), flat=True))


def count_again(tenant: Tenant, period: Period, meter: Meter) -> None:
    """Make the usage, and the values that were counted, what the records say, and tell it."""
    with locked(tenant):
        usage = actions.usage_of(period, meter)
        usage.quantity, usage.records = _counted(period, meter)
        last = UsageRecord.objects.filter(period=period, meter=meter).order_by("-at", "-quantity").first()
        usage.last_at = last.at if last and meter.aggregation == Aggregation.LAST else None
        usage.version += 1
        usage.save()
        there, wanted = _values(period, meter), _recorded_values(period, meter)
        CountedValue.objects.filter(period=period, meter=meter, value__in=there - wanted).delete()
        CountedValue.objects.bulk_create(
            [CountedValue(tenant=tenant, period=period, meter=meter, value=one) for one in sorted(wanted - there)]
        )
        actions.say_usage(usage)


def _shown(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"


@check("thresholds")
def thresholds() -> Iterator[Fault]:
    """What is reached in the current periods against what was noted as reached."""
    for tenant in tenants():
        with scope(tenant=tenant):
            now = timezone.now()
            current = Usage.objects.filter(period__starts_at__lte=now, period__ends_at__gt=now)
            for usage in current.select_related("period", "meter"):
                if missing := _not_noted(usage):
                    problem = f"{', '.join(f'{level} %' for level in missing)} reached, and nobody was told"
                    yield Fault(f"{tenant.slug}, {usage.meter_id}", problem, partial(_say, tenant, usage))


def _not_noted(usage: Usage) -> list[int]:
    limit = actions.limit_of(usage.period, usage.meter)
    own = Threshold.objects.filter(meter=usage.meter).values_list("percent", flat=True)
    noted = set(Crossing.objects.filter(period=usage.period, meter=usage.meter).values_list("percent", flat=True))
    reached = {level for level in (*LEVELS, *own) if limit and usage.quantity * 100 >= limit * level}
    return sorted(reached - noted)


def _say(tenant: Tenant, usage: Usage) -> None:
    with locked(tenant):
        usage = Usage.objects.select_related("period", "meter").get(pk=usage.pk)
        usage.version += 1
        usage.save(update_fields=["version"])
        actions.say_usage(usage)


# --- Invoices ---------------------------------------------------------------------------------------------------------


@check("invoices")
def invoices() -> Iterator[Fault]:
    """Each closed period's invoice against its records, its lines against its sum, and records that are on none."""
    for tenant in tenants():
        try:
            with locked(tenant):
                found = list(_invoice_faults(tenant))
        except NoSubscription:
            continue
        yield from found


def _invoice_faults(tenant: Tenant) -> Iterator[Fault]:
    issued = _issued_amounts(tenant)
    for period in Period.objects.filter(closed_at__isnull=False).order_by("starts_at"):
        period.tenant = tenant
        where = f"{tenant.slug}, {period.starts_at:%Y-%m-%d}"
        invoice = Invoice.objects.filter(period=period, kind=Kind.INVOICE).first()
        if invoice is None:
            yield Fault(where, "it is closed, and has no invoice", partial(_close_again, period))
            continue
        found = list(_period_faults(tenant, invoice, issued.get(str(invoice.pk))))
        if found:
            issued.pop(str(invoice.pk), None)  # said already
        yield from found
    yield from _money_faults(tenant, issued)


def _period_faults(tenant: Tenant, invoice: Invoice, issued: str | None) -> Iterator[Fault]:
    """Records that are on no invoice, or an invoice that is not of its records.

    What came after the invoice is late by its mark, made under the lock. By the clock alone nothing is judged: those of
    two processes differ. So a record without the mark is a stray only where the invoice is right without it.
    """
    period = invoice.period
    assert period
    stray = UsageRecord.objects.filter(period=period, is_late=False, recorded_at__gt=period.closed_at)
    count = stray.count()
    if count and not _is_of(invoice, _unmarked(invoice)) and _is_of(invoice, _before_closing(invoice)):
        problem = f"{count} records came after its invoice, and are on none"
        yield Fault(f"{tenant.slug}, {period.starts_at:%Y-%m-%d}", problem, partial(_mark_late, tenant, period))
    else:
        yield from _line_faults(tenant, invoice, issued)


def _unmarked(invoice: Invoice) -> QuerySet[UsageRecord]:
    return UsageRecord.objects.filter(period=invoice.period, is_late=False)


def _before_closing(invoice: Invoice) -> QuerySet[UsageRecord]:
    assert invoice.period
    return _unmarked(invoice).filter(recorded_at__lte=invoice.period.closed_at)


def _is_of(invoice: Invoice, records: QuerySet[UsageRecord]) -> bool:
    own = [line for line in invoice.lines.order_by("position") if _is_own(line, invoice)]
    return [_facts(line) for line in own] == [_facts(line) for line in _wanted_lines(invoice, records)]


def _money_faults(tenant: Tenant, issued: dict[str, str]) -> Iterator[Fault]:
    """What invoices and credit notes say against what was issued, paid and given back. All of it needs a person."""
    payments = list(Payment.objects.filter(status__in=(PaymentStatus.PAID, PaymentStatus.REFUNDED)))
    paid = {payment.invoice_id for payment in payments}
    back = dict(Refund.objects.exclude(credit_note=None).values_list("credit_note", "amount_minor"))
    for invoice in Invoice.objects.exclude(number=None).order_by("number"):
        where = f"{tenant.slug}, invoice {invoice}"
        said = issued.get(str(invoice.pk))
        if said not in (None, str(from_minor(invoice.total_minor, invoice.currency))):
            yield Fault(where, f"its sum is {invoice.total_minor} minor units, the log says {said} were issued")
        if invoice.kind == Kind.CREDIT_NOTE:
            yield from _note_faults(where, invoice, back.get(invoice.pk))
        elif invoice.status in (Status.PAID, Status.REFUNDED) and invoice.total_minor and invoice.pk not in paid:
            yield Fault(where, f"it is {invoice.status}, and no payment paid it")


def _note_faults(where: str, note: Invoice, given_back: int | None) -> Iterator[Fault]:
    lines = sum(note.lines.values_list("amount_minor", flat=True))
    if lines != note.total_minor:
        yield Fault(where, f"its sum is {note.total_minor}, its lines come to {lines} minor units")
    if given_back != -note.total_minor:
        yield Fault(where, f"it credits {-note.total_minor} minor units, {given_back or 'none'} were given back")


def _close_again(period: Period) -> None:
    with locked(period.tenant):
        UsageRecord.objects.filter(period=period).update(is_late=False, adjusted_by=None)
        Period.objects.filter(pk=period.pk).update(closed_at=None)
        invoicing.close(period)


def _mark_late(tenant: Tenant, period: Period) -> None:
    """The next invoice adjusts."""
    with locked(tenant):
        UsageRecord.objects.filter(period=period, is_late=False, recorded_at__gt=period.closed_at).update(is_late=True)


def _line_faults(tenant: Tenant, invoice: Invoice, issued: str | None) -> Iterator[Fault]:
    """`issued`: the amount in the log's own words; None where the log is no longer kept: then nothing is put back, for
    nobody knows what was issued."""
    wanted = _wanted_lines(invoice, _unmarked(invoice))
    lines = list(invoice.lines.order_by("position"))
    own = [line for line in lines if _is_own(line, invoice)]
    summed = sum(line.amount_minor for line in lines)
    total = sum(line.amount_minor for line in lines if line not in own) + sum(line.amount_minor for line in wanted)
    as_issued = issued == str(from_minor(total, invoice.currency))
    where = f"{tenant.slug}, invoice {invoice}"
    if [_facts(line) for line in own] != [_facts(line) for line in wanted]:
        repair = partial(_restore_lines, tenant, invoice) if as_issued else None
        yield Fault(where, f"its lines come to {summed}, its records to {total} minor units", repair)
    elif summed != invoice.total_minor:
        repair = partial(_restore_lines, tenant, invoice) if as_issued else None
        yield Fault(where, f"its sum is {invoice.total_minor}, its lines come to {summed} minor units", repair)


def _wanted_lines(invoice: Invoice, records: QuerySet[UsageRecord]) -> list[InvoiceLine]:
    """What the invoice says of its own period, made anew from these records."""
    assert invoice.period
    found = invoicing.lines_of(invoice.period, records=records)
    return [invoicing.stored(invoice, place, line) for place, line in enumerate(found, start=1)]


def _is_own(line: InvoiceLine, invoice: Invoice) -> bool:
    """Whether the line is about the invoice's own period; others adjust an earlier one, or carry something over."""
    return line.segment is not None and line.segment.period_id == invoice.period_id


def _facts(line: InvoiceLine) -> tuple[Any, ...]:
    return line.segment_id, line.meter_id, line.quantity, line.unit_amount, line.amount_minor


def _restore_lines(tenant: Tenant, invoice: Invoice) -> None:
    with locked(tenant):
        invoice = Invoice.objects.select_for_update().get(pk=invoice.pk)
        others = [line for line in invoice.lines.order_by("position") if not _is_own(line, invoice)]
        lines = [*_wanted_lines(invoice, _unmarked(invoice)), *others]
        invoice.lines.all().delete()
        for place, line in enumerate(lines, start=1):
            line.pk, line.position = None, place
        InvoiceLine.objects.bulk_create(lines)
        Invoice.objects.filter(pk=invoice.pk).update(total_minor=sum(line.amount_minor for line in lines))


def _issued_amounts(tenant: Tenant) -> dict[str, str]:
    created = Event.objects.filter(type="invoice_event", tenant=tenant, payload__event="created")
    return dict(created.values_list(KT("payload__invoiceId"), KT("payload__amount")))


@check("numbers")
def numbers() -> Iterator[Fault]:
    """Each series counts from 1 without a gap. What went with its tenant is written down, or still in the log."""
    with scopes_disabled():
        found = list(_number_faults())
    yield from found


def _number_faults() -> Iterator[Fault]:
    told = Event.objects.filter(type="invoice_event", tenant__isnull=False)
    logged = set(told.values_list(KT("payload__number"), flat=True))
    tenants_there = set(Tenant.objects.values_list("pk", flat=True))
    of_whom = told.exclude(tenant_id__in=tenants_there).values_list(KT("payload__number"), flat=True)
    gone = set(of_whom) | set(DeletedNumber.objects.values_list("number", flat=True))
    for series in Series.objects.order_by("prefix"):
        prefix = f"{series.prefix}-"
        found = Invoice.objects.filter(number__startswith=prefix).values_list("number", flat=True)
        there = {number for number in found if number} | gone
        wanted = [f"{prefix}{n:0{invoicing.NUMBER_DIGITS}}" for n in range(1, series.next_number)]
        for number in wanted:
            if number not in there:
                in_log = "; the log has it" if number in logged else ""
                yield Fault(f"series {series}", f"{number} is missing{in_log}")
        for number in sorted(number for number in there.difference(wanted) if number.startswith(prefix)):
            yield Fault(f"series {series}", f"{number} was never given")


# --- The log ----------------------------------------------------------------------------------------------------------


@check("events of invoices")
def invoice_events() -> Iterator[Fault]:
    """The newest event of each invoice says how it is. Older ones than the log keeps are passed over."""
    with scopes_disabled():
        told: dict[str, int] = dict(
            Event.objects.filter(type="invoice_event")
            .order_by("id")
            .values_list(KT("payload__invoiceId"), "payload__version")
        )
        kept = timezone.now() - timedelta(days=settings.EVENTS_KEPT_DAYS)
        issued = Invoice.objects.exclude(status=Status.DRAFT).filter(issued_at__gt=kept).select_related("tenant")
        found = [invoice for invoice in issued.order_by("number") if told.get(str(invoice.pk)) != invoice.version]
    for invoice in found:
        problem = f"version {invoice.version} ({invoice.get_status_display().lower()}) was not told"
        yield Fault(f"{invoice.tenant.slug}, invoice {invoice}", problem, partial(_tell, invoice))


def _tell(invoice: Invoice) -> None:
    with locked(invoice.tenant):
        invoice = Invoice.objects.select_for_update().get(pk=invoice.pk)
        event = "created" if invoice.kind == Kind.CREDIT_NOTE else _HAPPENED[Status(invoice.status)]
        invoice_changed.send(Invoice, invoice=invoice, event=event)


@check("events of usage")
def usage_events() -> Iterator[Fault]:
    """The newest event of each meter says what the current period has used of it."""
    now = timezone.now()
    with scopes_disabled():
        current = Usage.objects.filter(period__starts_at__lte=now, period__ends_at__gt=now, quantity__gt=0)
        rows = list(current.select_related("period__tenant", "meter").order_by("pk"))
        since = min((usage.period.starts_at for usage in rows), default=now)
        told: dict[tuple[UUID, str], float] = {}
        events = Event.objects.filter(type="usage_update", occurred_at__gte=since).order_by("id")
        said_of = events.values_list("tenant_id", KT("payload__resource"), "payload__usage")
        for tenant_id, resource, said in said_of.iterator():
            told[tenant_id, resource] = said
    for usage in rows:
        said = told.get((usage.tenant_id, usage.meter_id))
        if said != float(usage.quantity) and not _was_told_since(usage):
            problem = f"{_shown(usage.quantity)} are used, the log says {'nothing' if said is None else f'{said:g}'}"
            yield Fault(f"{usage.period.tenant.slug}, {usage.meter_id}", problem, partial(_say_anyway, usage))


def _was_told_since(usage: Usage) -> bool:
    """Whether it has only changed while this was looked at."""
    with locked(usage.period.tenant):
        now = Usage.objects.get(pk=usage.pk)
        events = Event.objects.filter(type="usage_update", tenant=usage.tenant_id, payload__resource=usage.meter_id)
        last = events.order_by("-id").first()
        return last is not None and last.payload["usage"] == float(now.quantity)


def _say_anyway(usage: Usage) -> None:
    with locked(usage.period.tenant):
        usage = Usage.objects.select_related("period", "meter").get(pk=usage.pk)
        usage.version += 1
        usage.save(update_fields=["version"])
        usage_changed.send(Usage, usage=usage, limit=actions.limit_of(usage.period, usage.meter), reached=[])
