"""Billing of every tenant: what was earned, who could not be collected from, who has used what their plan includes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncMonth
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from accounts.actions import Refused
from billing import payments
from billing.explaining import explained_invoice
from billing.models import Crossing, Invoice, Kind, RefundStatus, Status, Subscription
from billing.money import exact_minor, from_minor, shown
from billing.views import shown_invoice, version_in
from events import channels
from portal.changed import Difference, not_done
from tenants.access import PlatformRequest, platform_page

SECTION = "ops_billing"
MONTHS_SHOWN = 12
FAILED_SHOWN = 50
CROSSINGS_SHOWN = 20
#: A threshold of less is the tenant's own concern.
CROSSINGS_FROM_PERCENT = 80
OWED = (Status.OPEN, Status.FAILED)
REASON_MAX = 250
#: In digits: what is longer is no sum that a page of ours has shown.
LONGEST_SUM = 19


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


@require_GET
@platform_page
@never_cache
def ops_billing(request: PlatformRequest) -> HttpResponse:
    """Who needs help with money, then what was earned."""
    live = request.live.follow(channels.ADMIN_BILLING)
    failed = Invoice.objects.filter(kind=Kind.INVOICE, status=Status.FAILED).select_related("tenant")
    now = timezone.now()
    found = months(now)
    this = [each for each in found if (each.month.year, each.month.month) == (now.year, now.month)]
    context = {
        "section": SECTION,
        "live": live,
        "updates": channels.ADMIN_BILLING,
        "months": found,
        "this_month": this,
        "now": now,
        "owed": owed(),
        "failed": failed.order_by("due_at", "id")[:FAILED_SHOWN],
        "failed_count": failed.count(),
        "subscribed": Subscription.objects.filter(ended_at=None).count(),
        "crossings": crossings(),
    }
    return render(request, "portal/ops/billing.html", context)


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


def crossings() -> QuerySet[Crossing]:
    """Who has lately used most of what their plan includes, newest first."""
    found = Crossing.objects.filter(percent__gte=CROSSINGS_FROM_PERCENT, period__closed_at=None)
    return found.select_related("tenant", "meter").order_by("-at", "-id")[:CROSSINGS_SHOWN]


# --- One invoice ------------------------------------------------------------------------------------------------------


@require_GET
@platform_page
@never_cache
def ops_invoice(request: PlatformRequest, number: str) -> HttpResponse:
    live = request.live.follow(channels.ADMIN_BILLING)
    invoice = _invoice(number)
    context = {"section": SECTION, "live": live, "updates": channels.ADMIN_BILLING, **shown_invoice(invoice)}
    context["lines"] = [(line, "") for line in explained_invoice(invoice)]
    return render(request, "portal/ops/invoice.html", context)


def _invoice(number: str) -> Invoice:
    issued = Invoice.objects.exclude(status=Status.DRAFT).select_related("period", "tenant", "credits")
    invoice = issued.filter(number=number).first()
    if invoice is None:
        raise Http404
    return invoice


class VoidForm(forms.Form):
    reason = forms.CharField(
        max_length=REASON_MAX,
        label="Reason",
        help_text="It stands on the invoice, and its people read it.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )


class RefundForm(VoidForm):
    """`left` is what there is to give back, in minor units, and what the page that it was made for said."""

    amount = forms.DecimalField(max_digits=20, decimal_places=4, label="Amount")
    left = forms.IntegerField(widget=forms.HiddenInput)
    field_order = ["amount", "reason"]

    def __init__(self, invoice: Invoice, left: int, data: QueryDict | None) -> None:
        super().__init__(data, initial={"amount": from_minor(left, invoice.currency), "left": left})
        self._currency = invoice.currency
        self.fields["amount"].help_text = f"In {invoice.currency}. At most {shown(left, invoice.currency)}, all of it."
        self.fields["reason"].help_text = "It stands on the credit note, and its people read it."

    def clean_amount(self) -> int:
        """In minor units."""
        try:
            return exact_minor(self.cleaned_data["amount"], self._currency)
        except ValueError as problem:
            raise forms.ValidationError(str(problem)) from None


@require_http_methods(["GET", "HEAD", "POST"])
@platform_page
@never_cache
def refund_invoice(request: PlatformRequest, number: str) -> HttpResponse:
    """Give back what was paid, or a part of it. Sent twice, it is given back once: the second is told what is left."""
    invoice = _invoice(number)
    try:
        left = payments.left_to_refund(invoice)
        form = RefundForm(invoice, left, request.POST or None)
        if request.method == "POST" and form.is_valid():
            return _refund(request, invoice, form.cleaned_data)
    except Refused as refused:
        return _not_done(request, invoice, refused, _what_is_left(request, invoice))
    context = {"section": SECTION, "live": request.live.follow(), "invoice": invoice, "form": form}
    return render(request, "portal/ops/refund.html", context | {"left": shown(left, invoice.currency)})


def _refund(request: PlatformRequest, invoice: Invoice, wanted: dict[str, Any]) -> HttpResponse:
    refund = payments.refund(invoice, wanted["reason"], request.user, wanted["amount"], seen_left=wanted["left"])
    amount = shown(refund.amount_minor, refund.currency)
    if refund.status == RefundStatus.DONE:
        messages.success(request, f"{amount} were given back. Credit note {refund.credit_note} says so.")
    elif refund.status == RefundStatus.REFUSED:
        messages.error(request, f"Nothing was given back. {refund.reason}")
    else:
        messages.info(request, f"{amount} are being given back. This page says what comes of it.")
    return redirect("ops_invoice", invoice.number)


def _what_is_left(request: PlatformRequest, invoice: Invoice) -> tuple[Difference, ...]:
    seen = request.POST.get("left", "")
    if not (seen.isascii() and seen.isdecimal() and len(seen) < LONGEST_SUM):
        return ()
    try:
        left = payments.left_to_refund(invoice)
    except payments.NotRefundable:
        left = 0
    return (Difference("Left to give back", shown(int(seen), invoice.currency), shown(left, invoice.currency)),)


@require_http_methods(["GET", "HEAD", "POST"])
@platform_page
@never_cache
def void_invoice(request: PlatformRequest, number: str) -> HttpResponse:
    """Say what giving it up means, ask why, and do it: it can't be undone."""
    invoice = _invoice(number)
    form = VoidForm(request.POST or None)
    try:
        payments.check_voidable(invoice)
        if request.method == "POST" and form.is_valid():
            version = version_in(request)
            payments.void(invoice, form.cleaned_data["reason"], request.user, expected_version=version)
            messages.success(request, f"Invoice {invoice} is given up: nobody owes it any more.")
            return redirect("ops_invoice", number)
    except Refused as refused:
        return _not_done(request, invoice, refused, _what_it_is(request, number))
    context = {"section": SECTION, "live": request.live.follow(), "invoice": invoice, "form": form}
    return render(request, "portal/ops/void.html", context)


def _what_it_is(request: PlatformRequest, number: str) -> tuple[Difference, ...]:
    seen = dict(Status.choices).get(request.POST.get("seen_status", ""))
    return (Difference("Status", str(seen), _invoice(number).get_status_display()),) if seen else ()


def _not_done(
    request: PlatformRequest, invoice: Invoice, refused: Refused, differences: tuple[Difference, ...]
) -> HttpResponse:
    return not_done(request, SECTION, str(refused), reverse("ops_invoice", args=[invoice.number]), differences)
