"""Billing of every tenant: what was earned, who could not be collected from, who has used what their plan includes."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from accounts.actions import Refused
from billing import payments
from billing.explaining import explained_invoice
from billing.models import Invoice, RefundStatus, Status, Subscription
from billing.money import exact_minor, from_minor, shown
from billing.records import records_page
from billing.revenue import months, not_collected, owed, reached
from billing.views import shown_invoice, version_in
from events import channels
from portal.changed import Difference, not_done
from tenants.access import PlatformRequest, platform_page

SECTION = "ops_billing"
PAGE_SIZE = 50
CROSSINGS_SHOWN = 20
REASON_MAX = 250
#: In digits: what is longer is no sum that a page of ours has shown.
LONGEST_SUM = 19
#: In digits.
LONGEST_PAGE = 6


@require_GET
@platform_page
@never_cache
def ops_billing(request: PlatformRequest) -> HttpResponse:
    """Who needs help with money, then what was earned."""
    live = request.live.follow(channels.ADMIN_BILLING)
    failed, crossings = not_collected(), reached()
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
        "failed": _page_of(failed, _number(request, "failed"), PAGE_SIZE),
        "failed_count": failed.count(),
        "subscribed": Subscription.objects.filter(ended_at=None).count(),
        "crossings": _page_of(crossings, _number(request, "reached"), CROSSINGS_SHOWN),
    }
    return render(request, "portal/ops/billing.html", context)


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a list, and the numbers of the pages beside it; None where there is none."""

    rows: list[Any]
    before: int | None
    after: int | None


def _page_of(found: QuerySet[Any], number: int, size: int) -> Page:
    rows = list(found[(number - 1) * size : number * size + 1])
    return Page(rows[:size], number - 1 or None, number + 1 if len(rows) > size else None)


def _number(request: PlatformRequest, name: str) -> int:
    """Which page, from 1; nonsense is the first."""
    text = request.GET.get(name, "")
    return max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < LONGEST_PAGE else 1


# --- One invoice ------------------------------------------------------------------------------------------------------


@require_GET
@platform_page
@never_cache
def ops_invoice(request: PlatformRequest, number: str) -> HttpResponse:
    live = request.live.follow(channels.ADMIN_BILLING)
    invoice = _invoice(number)
    context = {"section": SECTION, "live": live, "updates": channels.ADMIN_BILLING, **shown_invoice(invoice)}
    context["lines"] = [
        (line, reverse("ops_invoice_line", args=[number, line.line.position])) for line in explained_invoice(invoice)
    ]
    return render(request, "portal/ops/invoice.html", context)


@require_GET
@platform_page
@never_cache
def ops_invoice_line(request: PlatformRequest, number: str, position: int) -> HttpResponse:
    """The records behind a line, as the tenant's own page has them."""
    live = request.live.follow()
    invoice = _invoice(number)
    line = next((each for each in explained_invoice(invoice) if each.line.position == position), None)
    if line is None or line.records is None:
        raise Http404
    page = records_page(line.line, request.GET.get("before", ""))
    context = {"section": SECTION, "live": live, "invoice": invoice, "line": line, "page": page, "zone": invoice.zone}
    return render(request, "portal/ops/records.html", context)


def _invoice(number: str) -> Invoice:
    issued = Invoice.objects.exclude(status=Status.DRAFT).select_related("period", "tenant", "credits__period")
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
