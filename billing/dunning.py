"""What the schedule does about invoices: collect when they are due, try again after some days, suspend who never pays.

Safe to run at any time, by any number of processes, and to be killed: each step looks again at what it has locked.
"""

from datetime import datetime

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django_scopes import scopes_disabled

from billing.models import OWED, Invoice, Kind, Payment, PaymentStatus, Status
from billing.payments import collect, given_up, is_due, suspend_if_unpaid
from billing.schedules import each
from tenants.models import Tenant


@scopes_disabled()
def run(now: datetime | None = None) -> int:
    """Do what is due. Returns how many invoices were tried. Without a gateway nothing is: staff collect by hand."""
    if not settings.PAYMENT_GATEWAY:
        return 0
    now = now or timezone.now()
    tried = each(_to_collect(now), collect)
    each(_to_suspend(now), suspend_if_unpaid)
    return tried


def _to_collect(now: datetime) -> list[Invoice]:
    """What is due, but for what a gateway is being asked for: `ask_again` sees to that."""
    due = Q(total_minor__lte=0) | Q(status=Status.OPEN, due_at__lte=now) | Q(status=Status.FAILED, next_try_at__lte=now)
    pending = Payment.objects.filter(invoice=OuterRef("pk"), status=PaymentStatus.PENDING)
    owed = Invoice.objects.filter(due, ~Exists(pending), kind=Kind.INVOICE, status__in=OWED)
    invoices = owed.select_related("tenant").order_by("due_at", "pk")
    return [invoice for invoice in invoices if is_due(invoice, now)]


def _to_suspend(now: datetime) -> list[Tenant]:
    owed = Invoice.objects.filter(given_up(now)).values("tenant")
    return list(Tenant.objects.filter(pk__in=owed, subscription__suspended_at=None).order_by("pk"))
