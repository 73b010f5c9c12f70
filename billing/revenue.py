"""Billing of every tenant, as the platform's staff look at it: what was earned, who could not be collected from, who
has used how much of what their plan includes. Outside any tenant's scope.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncMonth

from billing.models import OWED, Crossing, Invoice, Kind, Status
from billing.money import shown

MONTHS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Month:
    """What was invoiced in a month (UTC) in one currency, and what has become of that by now. In minor units.

    What was given back of an invoice, all of it or a part, was not earned: `paid` is without it.
    """

    month: datetime
    currency: str
    count: int
    invoiced: int
    paid: int
    owed: int
    given_back: int
    #: The largest month's invoices, in the same currency: the bars' full width.
    most: int

    def part(self, minor: int) -> str:
        return f"{max(0, minor) / self.most * 100:.2f}%" if self.most else "0%"

    @property
    def paid_width(self) -> str:
        return self.part(self.paid)

    @property
    def owed_width(self) -> str:
        return self.part(self.owed)

    @property
    def words(self) -> dict[str, str]:
        amounts = {name: getattr(self, name) for name in ("invoiced", "paid", "owed", "given_back")}
        return {name: shown(minor, self.currency) for name, minor in amounts.items()}


def months(now: datetime) -> list[Month]:
    """The last twelve months in which something was invoiced, newest first."""
    issued = Invoice.objects.filter(kind=Kind.INVOICE, issued_at__gte=_months_ago(now, MONTHS_SHOWN - 1))
    rows = (
        issued.annotate(month=TruncMonth("issued_at", tzinfo=UTC))
        .order_by("-month", "currency")
        .values("month", "currency")
        .annotate(
            count=Count("pk"),
            invoiced=_sum(~Q(status=Status.VOID)),
            paid=_sum(Q(status__in=(Status.PAID, Status.REFUNDED))),
            owed=_sum(Q(status__in=OWED)),
        )
    )
    found: list[dict[str, Any]] = [{name: value or 0 for name, value in row.items()} for row in rows]
    given_back = _given_back(issued)
    for row in found:
        row["given_back"] = given_back.get((row["month"], row["currency"]), 0)
        row["paid"] -= row["given_back"]
    return [Month(**row, most=_most(found, row["currency"])) for row in found]


def _given_back(issued: QuerySet[Invoice]) -> dict[tuple[datetime, str], int]:
    """What credit notes gave back of these invoices, by the month and currency of the invoice."""
    notes = Invoice.objects.filter(kind=Kind.CREDIT_NOTE, credits__in=issued.values("pk"))
    rows = notes.annotate(month=TruncMonth("credits__issued_at", tzinfo=UTC)).order_by().values("month", "currency")
    return {(row["month"], row["currency"]): -row["sum"] for row in rows.annotate(sum=Sum("total_minor"))}


def _sum(condition: Q) -> Sum:
    return Sum("total_minor", filter=condition)


def _most(rows: Iterable[dict[str, Any]], currency: str) -> int:
    return max(row["invoiced"] for row in rows if row["currency"] == currency)


def _months_ago(now: datetime, count: int) -> datetime:
    """When the month began, in UTC, that lies so many before this one."""
    year, month = divmod(now.astimezone(UTC).year * 12 + now.astimezone(UTC).month - 1 - count, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def owed() -> list[str]:
    """What all tenants owe now, a sum for each currency."""
    rows = Invoice.objects.filter(kind=Kind.INVOICE, status__in=OWED).order_by("currency").values("currency")
    return [shown(row["sum"], row["currency"]) for row in rows.annotate(sum=Sum("total_minor"))]


def not_collected() -> QuerySet[Invoice]:
    """Invoices that could not be collected, the longest due first."""
    found = Invoice.objects.filter(kind=Kind.INVOICE, status=Status.FAILED)
    return found.select_related("tenant", "period", "credits__period").order_by("due_at", "id")


def reached() -> QuerySet[Crossing]:
    """Every threshold that was reached in a period which goes on, the newest first."""
    found = Crossing.objects.filter(period__closed_at=None)
    return found.select_related("tenant", "meter", "period").order_by("-id")
