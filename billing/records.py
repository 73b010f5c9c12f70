"""The records behind a line of an invoice, newest first, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from billing.explaining import behind
from billing.models import InvoiceLine, UsageRecord

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Records:
    """`older`: what to give as `before` to go on; None where there are none."""

    rows: Sequence[UsageRecord]
    older: str | None


def records_page(line: InvoiceLine, before: str = "") -> Records:
    """Those used before `before`, which an earlier page gave; from the newest without one, or with nonsense."""
    wanted = behind(line)
    assert wanted is not None
    found = UsageRecord.objects.filter(wanted, tenant=line.invoice.tenant).select_related("meter")
    if position := _parsed(before):
        at, pk = position
        found = found.filter(Q(at__lt=at) | Q(at=at, pk__lt=pk))
    rows = list(found.order_by("-at", "-pk")[: PAGE_SIZE + 1])
    shown = rows[:PAGE_SIZE]
    older = f"{shown[-1].at.isoformat()}~{shown[-1].pk}" if len(rows) > PAGE_SIZE else None
    return Records(shown, older)


def _parsed(before: str) -> tuple[datetime, int] | None:
    at, _, pk = before.partition("~")
    try:
        moment, number = datetime.fromisoformat(at), int(pk)
    except ValueError:
        return None
    return (moment, number) if moment.tzinfo and 0 <= number < 2**63 else None
