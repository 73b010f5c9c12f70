"""The invoice of a period that is not over, as pages show it, and what it would be on another plan.

Nothing here changes anything: a period that nobody has begun yet is not begun by looking at it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from django.utils import timezone

from accounts.actions import Refused
from billing import invoicing
from billing.actions import NoSubscription, check_offer
from billing.models import Invoice, InvoiceLine, Period, Plan, Segment, Subscription, Usage
from billing.money import shown
from billing.prices import total
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Projection:
    """What a period comes to, if nothing more is used in it. The invoice and its lines are not stored.

    `plan` is the one in force at its end, `at` the moment of the look.
    """

    period: Period
    plan: Plan
    invoice: Invoice
    lines: Sequence[InvoiceLine]
    at: datetime

    @property
    def is_over(self) -> bool:
        """The period has ended, and waits to be closed."""
        return self.period.ends_at <= self.at


@dataclass(frozen=True, slots=True)
class Preview:
    """What changing the plan now would come to: this period, and a whole month with what was used in this one so far.

    The months are in minor units.
    """

    stay: Projection
    change: Projection
    month_minor: int
    other_month_minor: int

    @property
    def difference(self) -> str:
        return signed(self.change.invoice.total_minor - self.stay.invoice.total_minor, self.stay.invoice.currency)

    @property
    def month(self) -> str:
        return shown(self.month_minor, self.stay.plan.currency)

    @property
    def other_month(self) -> str:
        return shown(self.other_month_minor, self.change.plan.currency)

    @property
    def month_difference(self) -> str:
        return signed(self.other_month_minor - self.month_minor, self.stay.plan.currency)


def signed(minor: int, currency: str) -> str:
    """With its sign, as a difference: "+€12.00"; "no difference" where there is none."""
    if not minor:
        return "no difference"
    return f"{'+' if minor > 0 else '−'}{shown(abs(minor), currency)}"


def period_at(tenant: Tenant, at: datetime) -> Period | None:
    """The period into which this moment falls; the last one there is, while nobody has begun the next. None where all
    are invoiced: the subscription has ended."""
    begun = Period.objects.filter(tenant=tenant, starts_at__lte=at, closed_at=None).select_related("tenant")
    return begun.order_by("-starts_at").first()


def projection(period: Period, at: datetime) -> Projection:
    return _of(period, list(period.segments.select_related("plan")), at)


def preview(period: Period, plan: Plan, at: datetime) -> Preview | None:
    """What changing to this plan now would come to. None for a period that has ended: the next has not begun."""
    if period.ends_at <= at:
        return None
    segments = list(period.segments.select_related("plan"))
    used = {usage.meter_id: usage for usage in Usage.objects.filter(period=period).select_related("meter")}
    return Preview(
        stay=_of(period, segments, at),
        change=_of(period, list(_divided(period, segments, plan, at)), at, goes_on=True),
        month_minor=_whole_month(segments[-1].plan, used),
        other_month_minor=_whole_month(plan, used),
    )


def preview_of(tenant: Tenant, plan: Plan) -> Preview:
    """The same of the tenant's current period, as far as the plan can be changed to. In the tenant's scope.

    Raises NoSubscription, and Refused between two periods and for a plan of another currency.
    """
    now = timezone.now()
    subscription = Subscription.objects.select_related("plan").filter(pk=tenant.pk, ended_at=None).first()
    period = period_at(tenant, now)
    if subscription is None or period is None:
        raise NoSubscription(tenant)
    check_offer(plan, subscription)
    found = preview(period, plan, now)
    if found is None:
        raise Refused("The period has just ended and the next begins in a moment. Nothing was changed: ask again then.")
    return found


def _of(period: Period, segments: Sequence[Segment], at: datetime, *, goes_on: bool = False) -> Projection:
    invoice, lines = invoicing.draft_of(period, segments, goes_on=goes_on)
    invoice.tenant = period.tenant
    return Projection(period, segments[-1].plan, invoice, lines, at)


def _divided(period: Period, segments: Sequence[Segment], plan: Plan, at: datetime) -> Iterator[Segment]:
    """The segments as `actions.change_plan` would leave them. Nothing is stored."""
    for segment in segments:
        since, until = segment.since, segment.until
        if segment.plan_id == plan.pk or until <= at:
            yield segment
            continue
        if since < at:
            yield Segment(period=period, tenant=period.tenant, plan=segment.plan, since=since, until=at)
        yield Segment(period=period, tenant=period.tenant, plan=plan, since=max(since, at), until=until)


def _whole_month(plan: Plan, used: dict[str, Usage]) -> int:
    levels = [slug for slug, usage in used.items() if usage.meter.is_level]
    quantities = {slug: usage.quantity for slug, usage in used.items()}
    return total(plan.price_list, quantities, Fraction(1), plan.currency, levels=levels)
