"""The demo's billing: four months of Acme on a paid plan, and an invoice that Globex owes. By the actions of every day.

The clock is put back for them, so that each record, invoice and payment is of its own time.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.utils import timezone
from django_scopes import scopes_disabled

from accounts.models import User
from billing import actions, invoicing, payments, periods
from billing.actions import Used
from billing.models import Invoice, Kind, Meter, Period, Plan, Subscription, UsageRecord
from events.clock import put_back_to
from tenants.models import Tenant

PLAN = "team"
#: What Acme used in each whole month; of the current one as much as passes 90 % of what is included.
MINUTES = (1240, 1850, 960, 1420)
MINUTES_NOW = 930
OWN_LEVEL = 90
SAMPLES = 5_600_000
GLOBEX_MINUTES = 1130
#: In so many parts a month's usage is reported.
PARTS = 8
REFUND_MINOR = 1500
REFUND_FOR = "Deployments waited for two days"
#: The last thing that is recorded: where it is, the history is complete.
LAST = "demo:last"


def begins_at(now: datetime, months: int, zone: str) -> datetime:
    """When the month began, there, that lies so many before the newest one whose invoice is out by now."""
    found = periods.month_start(now - timedelta(seconds=settings.BILLING_GRACE_SECONDS) - timedelta(minutes=2), zone)
    for _ in range(months):
        found = periods.month_start(found - timedelta(days=1), zone)
    return found


def begin(acme: Tenant, globex: Tenant) -> bool:
    """Subscribe who has no subscription yet. Whether there is a history to live through: not in a demo that was made
    before there were any, and only with the gateway that moves no money and the plan it is about."""
    if settings.PAYMENT_GATEWAY != "local":
        return False
    try:
        plan = actions.offered(PLAN)
    except Plan.DoesNotExist:
        return False
    for tenant, months in ((acme, len(MINUTES)), (globex, 1)):
        if not Subscription.objects.filter(tenant=tenant).exists():
            actions.subscribe(tenant, plan, begins_at(timezone.now(), months, tenant.time_zone))
    began = Subscription.objects.get(tenant=acme).started_at
    return began < acme.created_at and not UsageRecord.objects.filter(tenant=acme, key=LAST).exists()


@scopes_disabled()
def live_through(acme: Tenant, globex: Tenant, alice: User, ada: User) -> None:
    """Everything that happened since. Who is killed half-way goes on with the next `demo`: nothing happens twice."""
    now = timezone.now()
    starts_at = Subscription.objects.get(tenant=acme).started_at
    for month, minutes in enumerate(MINUTES):
        ends_at = periods.next_start(starts_at, acme.time_zone)
        middle = starts_at + timedelta(days=settings.INVOICE_DUE_DAYS, hours=3)
        _use(acme, minutes, starts_at, middle, ends_at)
        if month:
            with put_back_to(middle):
                _settle(acme, month - 1, ada)
        _use(acme, minutes, middle, ends_at, ends_at)
        _close(acme, starts_at, ends_at + timedelta(seconds=settings.BILLING_GRACE_SECONDS + 60))
        starts_at = ends_at
    _this_month(acme, starts_at, now, alice)
    _globex(globex, now)
    actions.record(acme, [_used(LAST, "deployment_minutes", 1, now)])


def _use(tenant: Tenant, minutes: int, since: datetime, until: datetime, month_ends_at: datetime) -> None:
    """This part of a month's usage, as it was reported then."""
    month_starts_at = periods.month_start(since, tenant.time_zone)
    step = (month_ends_at - month_starts_at) / PARTS
    for part in range(PARTS):
        at = month_starts_at + step * part + step / 2
        if since <= at < until:
            with put_back_to(at + timedelta(minutes=1)):
                actions.record(tenant, _batch(at, part, minutes / PARTS, SAMPLES // PARTS))


def _batch(at: datetime, part: int, minutes: float, samples: int) -> list[Used]:
    key = f"demo:{at:%Y-%m}:{part}"
    return [
        _used(f"{key}:minutes", "deployment_minutes", minutes, at),
        _used(f"{key}:samples", "samples_stored", samples, at),
    ]


def _used(key: str, meter: str, quantity: float, at: datetime) -> Used:
    return Used(key, meter, Decimal(str(round(quantity, 3))), at, {"reported by": "the demo"})


def _close(tenant: Tenant, starts_at: datetime, now: datetime) -> None:
    with put_back_to(now):
        invoicing.close(Period.objects.select_related("tenant").get(tenant=tenant, starts_at=starts_at))


def _invoice(tenant: Tenant, month: int) -> Invoice:
    return Invoice.objects.select_related("tenant").filter(tenant=tenant, kind=Kind.INVOICE).order_by("number")[month]


def _settle(acme: Tenant, month: int, ada: User) -> None:
    """The invoice of this month is due, and paid. Of one a part is given back; for one a record came too late."""
    invoice = _invoice(acme, month)
    payments.collect(invoice)
    if month == 1:
        payments.refund(invoice, REFUND_FOR, ada, REFUND_MINOR, key="demo")
    if month == len(MINUTES) - 2:
        assert invoice.period
        late = invoice.period.ends_at - timedelta(days=2)
        actions.record(acme, [_used("demo:late", "deployment_minutes", 150, late)])


def _this_month(acme: Tenant, starts_at: datetime, now: datetime, alice: User) -> None:
    """A level of its own is reached, and the card was declined; the next try will pay."""
    actions.add_threshold(acme, Meter.objects.get(slug="deployment_minutes"), OWN_LEVEL, by=alice)
    step = (now - starts_at) / (PARTS + 1)
    for part in range(PARTS):
        at = starts_at + step * (part + 1)
        with put_back_to(at):
            actions.record(acme, _batch(at, part, MINUTES_NOW / PARTS, SAMPLES // PARTS // 2))
    last = _invoice(acme, len(MINUTES) - 1)
    if last.tries or last.payments.exists():
        return
    payments.choose_method(acme, "declines", by=alice)
    if payments.is_due(last, now):
        payments.collect(last)
    else:
        payments.pay(last, by=alice)
    payments.choose_method(acme, "pays", by=alice)


def _globex(globex: Tenant, now: datetime) -> None:
    """Its first invoice was issued just now, and is not due yet."""
    starts_at = Subscription.objects.get(tenant=globex).started_at
    ends_at = periods.next_start(starts_at, globex.time_zone)
    _use(globex, GLOBEX_MINUTES, starts_at, ends_at, ends_at)
    _close(globex, starts_at, now)
