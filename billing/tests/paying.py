"""What tests of payments share: something to pay, a way to pay it, and a look at what the local gateway has taken."""

from typing import Any

from django.utils import timezone
from django_scopes import scope, scopes_disabled

from billing import payments
from billing.actions import locked
from billing.gateways import local
from billing.invoicing import issue
from billing.models import Invoice, LocalCharge, Payment
from events.models import Event
from tenants.models import Tenant


def open_invoice(tenant: Tenant, minor: int = 12_840) -> Invoice:
    with locked(tenant):
        return issue(Invoice.objects.create(tenant=tenant, currency="EUR", total_minor=minor), timezone.now())


def pays_by(tenant: Tenant, method: str) -> None:
    """From now on, by a means of payment that does as it is called."""
    payments.choose_method(tenant, method)


def fresh(invoice: Invoice) -> Invoice:
    with scope(tenant=invoice.tenant):
        return Invoice.objects.select_related("tenant").get(pk=invoice.pk)


def tries(invoice: Invoice) -> list[str]:
    """What became of each, the oldest first."""
    with scope(tenant=invoice.tenant):
        return list(
            Payment.objects.filter(invoice=invoice).order_by("created_at", "pk").values_list("status", flat=True)
        )


def call_back() -> int:
    return local.send_callbacks(payments.take_callback)


def taken() -> int:
    """Minor units that the local gateway has, after what it gave back."""
    charges = LocalCharge.objects.filter(outcome="done")
    return sum(charge.minor - sum(charge.refunds.values()) for charge in charges)


def told(tenant: Tenant) -> list[dict[str, Any]]:
    """The payloads of the tenant's invoice_event events, in order."""
    with scopes_disabled():
        return list(
            Event.objects.filter(tenant=tenant, type="invoice_event").order_by("id").values_list("payload", flat=True)
        )


def happened(tenant: Tenant) -> list[str]:
    return [event["event"] for event in told(tenant)]
