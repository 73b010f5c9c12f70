"""What templates of other apps say about money."""

from dataclasses import dataclass

from django import template
from django.utils import timezone
from django_scopes import scope

from accounts.models import User
from billing import payments
from billing.models import Invoice
from tenants.access import admins_of
from tenants.models import Tenant

register = template.Library()


@dataclass(frozen=True, slots=True)
class Debt:
    """What a tenant has to pay to be open again, and who can. No invoice: what there was is being paid."""

    invoices: list[Invoice]
    payers: list[User]


@register.simple_tag
def debt_of(tenant: Tenant) -> Debt | None:
    """None where it is not suspended, or where paying would not end that."""
    if not payments.is_suspended_for_debt(tenant):
        return None
    with scope(tenant=tenant):
        return Debt(payments.unpaid_for_too_long(tenant, timezone.now()), admins_of(tenant))
