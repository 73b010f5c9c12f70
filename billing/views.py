"""The pages of a tenant's billing: what will be owed, each invoice down to its records, the plan and its thresholds.

Every member may read them. Paying, changing the plan and thresholds are the tenant admin's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.actions import Refused
from billing import actions, gateways, invoicing, payments
from billing.explaining import Explained, explained, explained_invoice
from billing.gateways.local import AWAY, SCRIPTS
from billing.gauges import gauges
from billing.models import (
    OWED,
    Crossing,
    Invoice,
    Kind,
    Meter,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Plan,
    RefundStatus,
    Status,
    Subscription,
    Threshold,
)
from billing.money import shown
from billing.offers import offer
from billing.projection import Projection, period_at, preview, projection
from billing.records import PAGE_SIZE as RECORDS_SHOWN
from billing.records import records_page
from events import channels
from events.channels import Topic
from events.live import Following, Live
from tenants.access import TenantRequest, View, tenant_page
from tenants.models import Role, Tenant

INVOICES_SHOWN = 12
CROSSINGS_SHOWN = 6
PAGE_SIZE = 50
#: What the list can be narrowed to, by what the address says.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": (),
    "owed": OWED,
    "paid": (Status.PAID,),
}
#: In the session: the threshold that was removed last, as long as that can be undone.
REMOVED = "removed_threshold"


class PageRequest(TenantRequest):
    live: Live


def billing_page(role: Role | None = None) -> Callable[[View], View]:
    """A page of the tenant that is open, too, while it is suspended for what it owes: there it pays."""
    return tenant_page(role=role, even_suspended=payments.is_suspended_for_debt)


def may_pay(request: TenantRequest) -> bool:
    return request.membership.role == Role.TENANT_ADMIN


def may_change(request: TenantRequest) -> bool:
    return may_pay(request) and not request.tenant.is_suspended


def follow(request: PageRequest) -> Following:
    return request.live.follow(channels.tenant(request.tenant.id, Topic.BILLING))


def _context(request: PageRequest, live: Following, **more: Any) -> dict[str, Any]:
    updates = channels.tenant(request.tenant.id, Topic.BILLING)
    may = {"may_change": may_change(request), "may_pay": may_pay(request)}
    return {"section": "billing", "live": live, "updates": updates, **may, **more}


def _subscription(request: PageRequest) -> Subscription | None:
    return Subscription.objects.select_related("plan").filter(pk=request.tenant.pk, ended_at=None).first()


def _issued(request: PageRequest) -> QuerySet[Invoice]:
    """Newest first: their ids are in the order in which they were made."""
    issued = Invoice.objects.filter(tenant=request.tenant).exclude(status=Status.DRAFT)
    return issued.select_related("period", "credits__period", "tenant")


# --- What will be owed ------------------------------------------------------------------------------------------------


@require_GET
@billing_page()
@never_cache
def billing(request: PageRequest) -> HttpResponse:
    """What will I owe? The invoice as it grows, the meters that make it, what was invoiced, the plan."""
    live = follow(request)
    now = timezone.now()
    subscription = _subscription(request)
    newest = list(_issued(request).order_by("-id")[: INVOICES_SHOWN + 1])
    context = _context(request, live, subscription=subscription, as_of=now)
    context |= {"invoices": newest[:INVOICES_SHOWN], "has_more": len(newest) > INVOICES_SHOWN}
    context["owed"] = _owed(request, newest)
    context["means"] = _means(request.tenant) if may_pay(request) else None
    context["card"] = request.GET.get("card") if context["means"] else None
    context |= {"removed": request.session.pop(REMOVED, None), "undo_seconds": settings.UNDO_SHOWN_SECONDS}
    context["zone"] = request.tenant.time_zone
    found = _projection(request, now)
    if found is None:
        context |= _ended(request)
    else:
        meters = Meter.objects.in_bulk(list(found.plan.price_list.meters))
        context |= {
            "projection": found,
            "zone": found.period.zone,
            "sums": _sums(found),
            "gauges": gauges(found.period, found.plan, found.lines),
            "levels": actions.LEVELS,
            "thresholds": Threshold.objects.filter(tenant=request.tenant).select_related("meter"),
            "crossings": Crossing.objects.filter(period=found.period)
            .select_related("meter")
            .order_by("-at", "-id")[:CROSSINGS_SHOWN],
            "measured": [meter for meter in meters.values() if found.plan.price_list.meters[meter.slug].included],
            "offer": offer(subscription.plan if subscription else found.plan, meters),
        }
    return render(request, "billing/billing.html", context)


def _owed(request: PageRequest, newest: list[Invoice]) -> list[Invoice]:
    """Everything that is owed, however old, the longest due first. A short list holds all there is."""
    if len(newest) > INVOICES_SHOWN:
        newest = list(_issued(request).filter(kind=Kind.INVOICE, status__in=OWED))
    found = (each for each in newest if each.status in OWED and each.kind == Kind.INVOICE)
    return sorted(found, key=lambda each: (each.due_at or each.created_at, each.pk))


def _ended(request: PageRequest) -> dict[str, Any]:
    """The subscription that there was, and the plans by which it can begin again."""
    ended = Subscription.objects.select_related("plan").filter(pk=request.tenant.pk).first()
    if ended is None:
        return {}
    credit = invoicing.credit_of(request.tenant)
    words = shown(credit, ended.plan.currency) if credit > 0 else ""
    return {"ended": ended, "credit": words, "offered": _offered(ended) if may_change(request) else []}


def _offered(subscription: Subscription) -> list[Plan]:
    return [each for each in actions.published() if each.currency == subscription.plan.currency]


def _projection(request: PageRequest, now: datetime) -> Projection | None:
    period = period_at(request.tenant, now)
    return projection(period, now) if period else None


def _sums(found: Projection) -> list[Explained]:
    """The lines that come to something: what is included stands on the meters."""
    return [Explained(line, found.invoice.currency, None) for line in found.lines if line.amount_minor]


# --- Invoices ---------------------------------------------------------------------------------------------------------


@require_GET
@billing_page()
@never_cache
def invoices(request: PageRequest) -> HttpResponse:
    live = follow(request)
    group = request.GET.get("show", "all")
    group = group if group in GROUPS else "all"
    found = _issued(request)
    if GROUPS[group]:
        found = found.filter(status__in=GROUPS[group])
    rows = _page_before(found, request.GET.get("before", "").replace("\x00", ""))
    shown, more = rows[:PAGE_SIZE], len(rows) > PAGE_SIZE
    chosen = f"show={group}&" if group != "all" else ""
    context = _context(request, live, invoices=shown, group=group)
    context |= {
        "tabs": [(name, name.capitalize(), f"?show={name}" if name != "all" else "?") for name in GROUPS],
        "older": f"?{chosen}before={shown[-1].number}" if more else None,
        "first": (f"?{chosen}".rstrip("&") or "?") if request.GET.get("before") else None,
    }
    return render(request, "billing/invoices.html", context)


def _page_before(found: QuerySet[Invoice], number: str) -> list[Invoice]:
    """A page and one more, of those older than the invoice with this number; from the newest if there is none."""
    last = found.model.objects.filter(tenant__in=found.values("tenant"), number=number).first() if number else None
    if last:
        found = found.filter(id__lt=last.id)
    return list(found.order_by("-id")[: PAGE_SIZE + 1])


def _invoice(request: PageRequest, number: str) -> Invoice:
    found = _issued(request).filter(number=number).first()
    if found is None:
        raise Http404
    return found


@require_GET
@billing_page()
def invoice_by_id(request: PageRequest, invoice_id: UUID) -> HttpResponse:
    """Links in events and mails carry the id; the page's own address has the number."""
    found = _issued(request).filter(pk=invoice_id).first()
    if found is None:
        raise Http404
    return redirect("invoice", request.tenant.slug, found.number)


@require_GET
@billing_page()
@never_cache
def invoice(request: PageRequest, number: str) -> HttpResponse:
    """What is owed, and why: each line says which rule made it and how many records stand behind it."""
    live = follow(request)
    found = _invoice(request, number)
    context = _context(request, live, **shown_invoice(found), next_try=_next_try(found))
    context["lines"] = [
        (line, reverse("invoice_line", args=[request.tenant.slug, number, line.line.position]))
        for line in explained_invoice(found)
    ]
    return render(request, "billing/invoice.html", context)


def shown_invoice(found: Invoice) -> dict[str, Any]:
    """What the tenant's page and the platform's say of an invoice."""
    tries = list(found.payments.prefetch_related("refunds"))
    notes = list(found.credit_notes.exclude(status=Status.DRAFT))
    given_back = -sum(note.total_minor for note in notes)
    paid = found.total_minor if found.kind == Kind.INVOICE else 0
    is_going_back = any(refund.status == RefundStatus.PENDING for each in tries for refund in each.refunds.all())
    return {
        "invoice": found,
        "zone": found.zone,
        "payments": tries,
        "is_being_paid": any(each.status == PaymentStatus.PENDING for each in tries),
        "credit_notes": notes,
        "given_back": shown(given_back, found.currency) if given_back and found.status == Status.PAID else "",
        "may_refund": found.status == Status.PAID and paid > given_back and not is_going_back,
        "is_owed": found.kind == Kind.INVOICE and found.status in OWED,
    }


@require_GET
@billing_page()
@never_cache
def projected(request: PageRequest) -> HttpResponse:
    """The invoice of the current period, as it would be if nothing more were used."""
    live = follow(request)
    found = _projection(request, timezone.now())
    if found is None:
        return redirect("billing", request.tenant.slug)
    lines = [
        (line, reverse("projected_line", args=[request.tenant.slug, line.line.position]))
        for line in explained(found.invoice, found.lines)
    ]
    context = _context(request, live, projection=found, invoice=found.invoice, zone=found.period.zone, lines=lines)
    return render(request, "billing/projected.html", context)


# --- The records behind a line ----------------------------------------------------------------------------------------


@require_GET
@billing_page()
@never_cache
def invoice_line(request: PageRequest, number: str, position: int) -> HttpResponse:
    live = follow(request)
    found = _invoice(request, number)
    line = next((each for each in explained_invoice(found) if each.line.position == position), None)
    back = (f"Invoice {found.number}", reverse("invoice", args=[request.tenant.slug, number]))
    return _records(request, live, line, found.zone, back)


@require_GET
@billing_page()
@never_cache
def projected_line(request: PageRequest, position: int) -> HttpResponse:
    live = follow(request)
    found = _projection(request, timezone.now())
    if found is None:
        raise Http404
    line = next((each for each in explained(found.invoice, found.lines) if each.line.position == position), None)
    back = ("Projected invoice", reverse("projected_invoice", args=[request.tenant.slug]))
    return _records(request, live, line, found.period.zone, back)


def _records(
    request: PageRequest, live: Following, line: Explained | None, zone: str, back: tuple[str, str]
) -> HttpResponse:
    if line is None or line.records is None:
        raise Http404
    page = records_page(line.line, request.GET.get("before", ""))
    context = _context(request, live, line=line, page=page, zone=zone, back=back, page_size=RECORDS_SHOWN)
    return render(request, "billing/records.html", context)


# --- Paying -----------------------------------------------------------------------------------------------------------


@require_POST
@billing_page(Role.TENANT_ADMIN)
def pay(request: PageRequest, number: str) -> HttpResponse:
    """Try to collect it now, if it still is what the page showed. Pressed twice, it is paid once."""
    found = _invoice(request, number)
    back = reverse("invoice", args=[request.tenant.slug, number])
    if found.version != version_in(request):
        return _not_done(request, _changed(found), back, _differences(request, found))
    try:
        payment = payments.pay(found, by=request.user, expected_version=found.version)
    except Refused as refused:
        return _not_done(request, refused, back)
    _say_what_came(request, found, payment)
    return redirect(back)


def _changed(found: Invoice) -> Refused:
    return Refused(f"Invoice {found} was changed since you looked at it. Nothing was charged: look again.")


def _differences(request: PageRequest, found: Invoice) -> list[dict[str, Any]]:
    """What the form's page said, and what is so now."""
    status = dict(Status.choices).get(request.POST.get("seen_status", ""), "")
    return [
        _difference("Status", status, found.get_status_display()),
        _difference("Reason", _seen(request, "seen_reason"), found.reason),
        _difference("Next try", _seen(request, "seen_next_try"), _next_try(found)),
    ]


def _seen(request: PageRequest, name: str) -> str:
    """What a form says that its page showed."""
    return request.POST.get(name, "")[: payments.REASON_MAX]


def _next_try(found: Invoice) -> str:
    if not found.next_try_at:
        return ""
    return f"{found.next_try_at.astimezone(ZoneInfo(found.zone)):%-d %b %Y, %H:%M} {found.zone}"


def _difference(what: str, seen: str, now: str) -> dict[str, Any]:
    return {"what": what, "seen": seen, "now": now, "differs": seen != now}


def _say_what_came(request: PageRequest, found: Invoice, payment: Payment | None) -> None:
    if payment is None or payment.status == PaymentStatus.PAID:
        messages.success(request, f"Invoice {found} is paid.{_is_open_again(request.tenant)}")
    elif payment.status == PaymentStatus.DECLINED:
        messages.error(request, f"{payment.reason} Nothing was charged.")
    else:
        messages.info(request, f"Invoice {found} is being paid. This page says what comes of it.")


def _is_open_again(tenant: Tenant) -> str:
    if tenant.is_suspended and Tenant.objects.filter(pk=tenant.pk, suspended_at=None).exists():
        return f" {tenant} is open again."
    return ""


@dataclass(frozen=True, slots=True)
class Means:
    """How a tenant pays: what is used now, and what it may choose from where the gateway leaves that to us."""

    gateway: str
    reference: str
    choices: tuple[str, ...]


def _means(tenant: Tenant) -> Means | None:
    """None where no gateway collects anything."""
    if not settings.PAYMENT_GATEWAY:
        return None
    gateway = gateways.get(settings.PAYMENT_GATEWAY)
    known = PaymentMethod.objects.filter(tenant=tenant, gateway=gateway.name).exclude(reference="").first()
    reference = known.reference if known else gateway.default_method or ""
    return Means(gateway.name, reference, (*SCRIPTS, AWAY) if gateway.takes_methods else ())


@require_POST
@billing_page(Role.TENANT_ADMIN)
def payment_method(request: PageRequest) -> HttpResponse:
    """Choose one where that is ours to take; else the way to the gateway's own page, which takes cards itself."""
    means = _means(request.tenant)
    try:
        if means and means.choices:
            _choose(request, means)
            return redirect("billing", request.tenant.slug)
        address = payments.page_for_method(request.tenant)
    except Refused as refused:
        return _not_done(request, refused)
    except gateways.Unavailable:
        return _not_done(request, Refused("The gateway does not answer. Nothing was changed: try again in a minute."))
    context = _context(request, follow(request), address=address, means=means)
    return render(request, "billing/method.html", context)


def _choose(request: PageRequest, means: Means) -> None:
    wanted = request.POST.get("reference", "")
    if wanted not in means.choices:
        raise Refused("There is no such means of payment. Nothing was changed: choose one of the list.")
    payments.choose_method(request.tenant, wanted, by=request.user)
    messages.success(request, f"Invoices are paid by {wanted} from now on.")


# --- The plan ---------------------------------------------------------------------------------------------------------


@require_GET
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def plan(request: PageRequest) -> HttpResponse:
    """Every plan there is, and what changing to the chosen one would come to, now and in a whole month."""
    live = follow(request)
    now = timezone.now()
    subscription = _subscription(request)
    period = period_at(request.tenant, now)
    if subscription is None or period is None:
        return redirect("billing", request.tenant.slug)
    offered = _offered(subscription)
    meters = Meter.objects.in_bulk({slug for each in offered for slug in each.price_list.meters})
    chosen = next((each for each in offered if each.slug == request.GET.get("plan")), None)
    context = _context(request, live, subscription=subscription, period=period, chosen=chosen)
    context["seen_end"] = _end_in_words(subscription)
    context["offers"] = [offer(each, meters) for each in offered]
    if chosen and (chosen.pk != subscription.plan_id or subscription.cancelled_at):
        context["preview"] = preview(period, chosen, now)
    return render(request, "billing/plan.html", context)


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def change_plan(request: PageRequest) -> HttpResponse:
    wanted = _published(request.POST.get("plan", ""))
    try:
        if wanted is None:
            raise _not_offered()
        actions.change_plan(request.tenant, wanted, by=request.user, expected_version=version_in(request))
    except Refused as refused:
        return _not_done(request, refused, differences=_plan_differences(request, refused))
    messages.success(request, f"{request.tenant} is on {wanted.name} from now on.")
    return redirect("billing", request.tenant.slug)


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def start_plan(request: PageRequest) -> HttpResponse:
    """Begin again, after a subscription that has ended."""
    wanted = _published(request.POST.get("plan", ""))
    try:
        if wanted is None:
            raise _not_offered()
        actions.restart(request.tenant, wanted, by=request.user)
    except Refused as refused:
        return _not_done(request, refused)
    messages.success(request, f"{request.tenant} is on {wanted.name} from now on.")
    return redirect("billing", request.tenant.slug)


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def cancel_plan(request: PageRequest) -> HttpResponse:
    try:
        actions.cancel(request.tenant, by=request.user, expected_version=version_in(request))
    except Refused as refused:
        return _not_done(request, refused, differences=_plan_differences(request, refused))
    return redirect("billing", request.tenant.slug)


def _plan_differences(request: PageRequest, refused: Refused) -> list[dict[str, Any]] | None:
    """What the form's page said of the subscription, and what is so now."""
    if not isinstance(refused, actions.StaleSubscription):
        return None
    return [
        _difference("Plan", _seen(request, "seen_plan"), str(refused.now.plan)),
        _difference("Ends", _seen(request, "seen_end"), _end_in_words(refused.now)),
    ]


def _end_in_words(subscription: Subscription) -> str:
    return "With this period" if subscription.cancelled_at else "Not by itself"


def _published(id: str) -> Plan | None:
    """What can be chosen now: of an offer that has a newer version, only that one."""
    return next((plan for plan in actions.published() if str(plan.pk) == id), None)


def _not_offered() -> Refused:
    return Refused("This plan is not offered any more. Nothing was changed: choose another.")


def version_in(request: HttpRequest) -> int:
    """The version that the form was made for; 0, which nothing has, if it says none."""
    text = request.POST.get("version", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def _not_done(
    request: PageRequest, refused: Refused, back: str = "", differences: list[dict[str, Any]] | None = None
) -> HttpResponse:
    """409: what was asked for can't be done to what is there now."""
    back = back or reverse("billing", args=[request.tenant.slug])
    context = {"section": "billing", "reason": refused, "back": back, "differences": differences}
    return render(request, "portal/not_done.html", context, status=409)


# --- Thresholds -------------------------------------------------------------------------------------------------------


class ThresholdForm(forms.Form):
    meter = forms.ModelChoiceField(Meter.objects.all(), to_field_name="slug")
    percent = forms.IntegerField(label="Percent", min_value=1, max_value=1000)


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def add_threshold(request: PageRequest) -> HttpResponse:
    form = ThresholdForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"Nothing was changed. {_problems(form)}")
        return redirect("billing", request.tenant.slug)
    meter, percent = form.cleaned_data["meter"], form.cleaned_data["percent"]
    try:
        actions.add_threshold(request.tenant, meter, percent, by=request.user)
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, f"Admins of {request.tenant} are told at {percent} % of {meter.name}, too.")
    return redirect("billing", request.tenant.slug)


def _problems(form: forms.Form) -> str:
    return " ".join(
        f"{form.fields[name].label or name.capitalize()}: {text}" for name, (text, *_) in form.errors.items()
    )


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def remove_threshold(request: PageRequest, threshold_id: int) -> HttpResponse:
    """What somebody else has removed already is gone, too."""
    found = Threshold.objects.filter(tenant=request.tenant, pk=threshold_id).select_related("meter").first()
    if found:
        try:
            actions.remove_threshold(request.tenant, found.meter, found.percent, by=request.user)
        except Refused as refused:
            return _not_done(request, refused)
        request.session[REMOVED] = {"meter": found.meter_id, "percent": found.percent}
    return redirect("billing", request.tenant.slug)
