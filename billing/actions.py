"""What can be done with subscriptions and usage. Invoices are in `invoicing.py`.

Everything of one tenant happens under the lock of its subscription's row.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Max, OuterRef
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from accounts.actions import Refused
from billing import databases, periods
from billing.models import (
    Aggregation,
    CountedValue,
    Crossing,
    Meter,
    Period,
    Plan,
    Segment,
    Subscription,
    Threshold,
    Usage,
    UsageRecord,
)
from billing.prices import rounded
from billing.schedules import each
from billing.signals import subscription_changed, threshold_changed, usage_changed
from events.actors import HasActor
from tenants import idempotency
from tenants.models import Tenant

#: Everybody is told at these, in percent of what is included; a tenant may add its own.
LEVELS = (50, 80, 100)
#: How the keys begin that handlers make of what happened here. Nobody else may take one: the handler would come second,
#: find its key in use for something else, and what happened would not be billed.
OWN_KEYS = ("deployment:", "samples:")
#: Of one meter in one period: what its column holds.
LARGEST_USAGE = Decimal(9 * 10**12)


class NoSubscription(Refused):
    """The tenant is not billed, or it was deleted meanwhile."""

    code = "no_subscription"

    def __init__(self, tenant: Tenant) -> None:
        super().__init__(f"{tenant} has no subscription. Nothing was changed: ask the platform's staff for a plan.")


class StaleSubscription(Refused):
    code = "stale_version"

    def __init__(self, now: Subscription) -> None:
        super().__init__("The subscription was changed since you looked at it. Nothing was changed now: look again.")
        self.now = now


class TooMuch(Refused):
    code = "too_much"

    def __init__(self, meter: Meter) -> None:
        super().__init__(
            f"{meter} would be above {LARGEST_USAGE:,} in one period. Nothing was recorded: look for a mistake."
        )


class BadRecord(Refused):
    """One record of a batch can't be taken, so none was. `place` counts from 0; `field` is its field."""

    def __init__(self, place: int, field: str, code: str, problem: str) -> None:
        super().__init__(problem)
        self.place, self.field, self.code = place, field, code


@dataclass(frozen=True, slots=True)
class Used:
    """Something that was used. `at` knows its zone; `key` is the caller's own and names this record for ever."""

    key: str
    meter: str
    quantity: Decimal
    at: datetime
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        said = [self.meter, str(self.quantity.normalize()), self.at.timestamp(), self.properties]
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch: `known` records were there before, `late` ones belong to a period that is closed."""

    stored: int
    known: int
    late: int


@contextmanager
def locked(tenant: Tenant) -> Iterator[Subscription]:
    """One transaction in the tenant's scope, with its subscription locked, also one that ended. Raises NoSubscription.

    The tenant's row goes first, as it does for whoever deletes the tenant: what is stored refers to it. Nothing is
    joined to the subscription: its plan may be another one by the time the lock is had.
    """
    with scope(tenant=tenant), transaction.atomic():
        now = Tenant.objects.select_for_update(no_key=True).filter(pk=tenant.pk).first()
        subscription = Subscription.objects.select_for_update().filter(pk=tenant.pk).first() if now else None
        if now is None or subscription is None:
            raise NoSubscription(tenant)
        subscription.tenant = now
        yield subscription


@contextmanager
def billing_of(tenant: Tenant) -> Iterator[Subscription]:
    """The same for a subscription that has not ended."""
    with locked(tenant) as subscription:
        if subscription.ended_at:
            raise NoSubscription(tenant)
        yield subscription


# --- Plans ------------------------------------------------------------------------------------------------------------


def published() -> list[Plan]:
    """What can be chosen: of each offer the newest version that is published, the cheapest fee first."""
    newest: dict[str, Plan] = {}
    for plan in Plan.objects.filter(published_at__isnull=False).order_by("version"):
        newest[plan.slug] = plan
    return sorted(newest.values(), key=lambda plan: (plan.price_list.fee, plan.slug))


def offered(slug: str) -> Plan:
    """The version of an offer that can be chosen now. Raises Plan.DoesNotExist."""
    plan = Plan.objects.filter(slug=slug, published_at__isnull=False).order_by("-version").first()
    if plan is None:
        raise Plan.DoesNotExist(slug)
    return plan


@transaction.atomic
def publish(plan: Plan) -> Plan:
    """Offer a draft to every tenant, and freeze it. Raises Refused if a price is for a meter that there is not."""
    plan = Plan.objects.select_for_update().get(pk=plan.pk)
    if plan.is_published:
        raise Refused(f"{plan} is published already.")
    plan.full_clean()
    wanted = set(plan.price_list.meters)
    if missing := wanted - set(Meter.objects.filter(slug__in=wanted).values_list("slug", flat=True)):
        raise Refused(f"There is no meter {min(missing)!r}. {plan} was not published: make the meter first.")
    plan.published_at = timezone.now()
    # Past save(), which guards what is published: nothing else turns a draft into that.
    Plan.objects.filter(pk=plan.pk).update(published_at=plan.published_at)
    return plan


@transaction.atomic
def new_version(plan: Plan) -> Plan:
    """The next version of an offer, as a draft with the same prices."""
    newest = Plan.objects.select_for_update().filter(slug=plan.slug).latest("version")
    copied = {field: getattr(plan, field) for field in ("slug", "name", "description", "currency", "prices")}
    return Plan.objects.create(version=newest.version + 1, **copied)


# --- Subscriptions ----------------------------------------------------------------------------------------------------


def subscribe(tenant: Tenant, plan: Plan, at: datetime | None = None, by: HasActor | None = None) -> Subscription:
    """Begin to bill a tenant, or begin again. Its first period ends with the month and costs as much of one.

    It begins with a whole second: whoever gives times without fractions may record something at once. Raises Refused if
    it has a subscription, and for a plan that is not offered or of another currency than before.
    """
    at = (at or timezone.now()).replace(microsecond=0)
    with scope(tenant=tenant), transaction.atomic():
        tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        known = Subscription.objects.select_for_update().filter(pk=tenant.pk).first()
        if known and not known.ended_at:
            raise Refused(f"{tenant} has a subscription already. Nothing was changed: change its plan instead.")
        check_offer(plan, known)
        subscription = known or Subscription(tenant=tenant, version=0)
        at = max(at, subscription.ended_at or at)
        subscription.tenant, subscription.plan, subscription.started_at = tenant, plan, at
        subscription.cancelled_at = subscription.ended_at = None
        month_starts_at = periods.month_start(at, tenant.time_zone)
        _begin_period(tenant, plan, at, periods.next_start(month_starts_at, tenant.time_zone), month_starts_at)
        return _changed(subscription, "started", by)


def restart(tenant: Tenant, plan: Plan, by: HasActor | None = None) -> Subscription:
    """Begin again after a subscription that has ended. Raises as `subscribe`; NoSubscription for who never had one."""
    with scope(tenant=tenant):
        if not Subscription.objects.filter(pk=tenant.pk).exists():
            raise NoSubscription(tenant)
    return subscribe(tenant, plan, by=by)


def ensure_subscribed(tenant: Tenant, at: datetime | None = None) -> None:
    """Subscribe a tenant that never was to the plan everybody begins with, if there is one. To be repeated at will."""
    with scope(tenant=tenant):
        if Subscription.objects.filter(pk=tenant.pk).exists():
            return
    with suppress(Plan.DoesNotExist, Tenant.DoesNotExist, Refused):  # gone, or somebody was faster
        subscribe(tenant, offered(settings.FIRST_PLAN), at)


def subscribe_everybody() -> None:
    """For tenants that were there before billing was, and whatever a handler may have missed."""
    with scopes_disabled():
        tenants = list(Tenant.objects.filter(subscription=None))
    each(tenants, ensure_subscribed)


def check_offer(plan: Plan, known: Subscription | None) -> None:
    """Raises Refused for a plan that is not offered or of another currency than the one before."""
    if not plan.is_published or (known and known.plan.currency != plan.currency):
        after = f" after {known.plan}" if known else ""
        raise Refused(f"{plan} cannot be had{after}. Nothing was changed: choose another plan.")


def _changed(subscription: Subscription, change: str, by: HasActor | None) -> Subscription:
    subscription.version += 1
    subscription.save()
    subscription_changed.send(Subscription, subscription=subscription, change=change, by=by)
    return subscription


def _begin_period(
    tenant: Tenant, plan: Plan, starts_at: datetime, ends_at: datetime, month_starts_at: datetime | None = None
) -> Period:
    period = Period.objects.create(
        tenant=tenant,
        month_starts_at=month_starts_at or starts_at,
        starts_at=starts_at,
        ends_at=ends_at,
        zone=tenant.time_zone,
    )
    Segment.objects.create(period=period, tenant=tenant, plan=plan, since=starts_at, until=ends_at)
    return period


def change_plan(
    tenant: Tenant,
    plan: Plan,
    at: datetime | None = None,
    by: HasActor | None = None,
    *,
    expected_version: int | None = None,
) -> Subscription:
    """From now on the tenant pays by another plan; what it had of the period before is billed by the old one.

    It also takes a cancellation back. Raises NoSubscription, StaleSubscription if the subscription is no longer as the
    caller saw it, and Refused for a plan that is not offered or of another currency.
    """
    at = at or timezone.now()
    with billing_of(tenant) as subscription:
        _check_version(subscription, expected_version)
        if current_period(subscription, at) is None:
            raise NoSubscription(tenant)
        check_offer(plan, subscription)
        if plan.pk == subscription.plan_id and subscription.cancelled_at is None:
            return subscription  # nobody changed anything, so there is nothing to say
        _divide(tenant, plan, at)
        subscription.plan, subscription.cancelled_at = plan, None
        _changed(subscription, "changed", by)
        _say_again(tenant, at)
        return subscription


def _check_version(subscription: Subscription, expected: int | None) -> None:
    if expected not in (None, subscription.version):
        raise StaleSubscription(subscription)


def _divide(tenant: Tenant, plan: Plan, at: datetime) -> None:
    """Let every segment end at this moment, and another begin there. What lies ahead already is under the new plan."""
    for segment in Segment.objects.filter(tenant=tenant, until__gt=at).select_related("period"):
        if segment.since >= at:
            segment.plan = plan
            segment.save(update_fields=["plan"])
        elif segment.plan_id != plan.pk:
            until, segment.until = segment.until, at
            segment.save(update_fields=["until"])
            Segment.objects.create(period=segment.period, tenant=tenant, plan=plan, since=at, until=until)


def _say_again(tenant: Tenant, at: datetime) -> None:
    """What is included is another amount now."""
    now = Usage.objects.filter(tenant=tenant, period__starts_at__lte=at, period__ends_at__gt=at)
    usages = list(now.select_related("period", "meter").order_by("meter"))
    for usage in usages:
        usage.version += 1
        usage.save(update_fields=["version"])
    say_usage(*usages)


def cancel(tenant: Tenant, by: HasActor | None = None, *, expected_version: int | None = None) -> Subscription:
    """Let the subscription end with its current period. Changing the plan before then takes it back.

    Raises NoSubscription, and StaleSubscription if the subscription is no longer as the caller saw it.
    """
    with billing_of(tenant) as subscription:
        _check_version(subscription, expected_version)
        if subscription.cancelled_at:
            return subscription
        now = timezone.now()
        current_period(subscription, now)  # begun before it is cancelled: else it would end with the one that is over
        subscription.cancelled_at = now
        return _changed(subscription, "cancelled", by)


def current_period(subscription: Subscription, at: datetime) -> Period | None:
    """The period into which this moment falls, begun now if it is time. To be called under the subscription's lock.

    None if the subscription has ended by then: one that was cancelled ends instead of beginning another period.
    """
    tenant = subscription.tenant
    newest = Period.objects.filter(tenant=tenant).latest("starts_at")
    while newest.ends_at <= at:
        if subscription.cancelled_at:
            if not subscription.ended_at:
                subscription.ended_at = newest.ends_at
                _changed(subscription, "ended", None)
            return None
        newest = _begin_next(subscription, newest)
    if newest.starts_at <= at:
        return newest
    return Period.objects.filter(tenant=tenant, starts_at__lte=at, ends_at__gt=at).first()


def _begin_next(subscription: Subscription, last: Period) -> Period:
    """Another month: what was used begins at nothing, and whoever looks on is told so."""
    tenant = subscription.tenant
    period = _begin_period(tenant, subscription.plan, last.ends_at, periods.next_start(last.ends_at, tenant.time_zone))
    usages = Usage.objects.bulk_create(
        Usage(tenant=tenant, period=period, meter=before.meter, version=before.version + 1)
        for before in Usage.objects.filter(period=last).select_related("meter").order_by("meter")
    )
    say_usage(*usages)
    return period


@scopes_disabled()
def begin_what_is_due() -> int:
    """Begin the periods whose time has come, for the tenants of which nobody has used anything since. Of how many."""
    now = timezone.now()
    over = Period.objects.filter(closed_at=None, ends_at__lte=now, tenant__subscription__ended_at=None)
    followed = Period.objects.filter(tenant=OuterRef("tenant"), starts_at__gte=OuterRef("ends_at"))
    tenants = Tenant.objects.filter(pk__in=over.filter(~Exists(followed)).values("tenant"))
    return each(tenants, _begin_current)


def _begin_current(tenant: Tenant) -> None:
    with suppress(NoSubscription), billing_of(tenant) as subscription:
        current_period(subscription, timezone.now())


# --- Usage ------------------------------------------------------------------------------------------------------------


def record(tenant: Tenant, batch: Sequence[Used]) -> Recorded:
    """Store what was used, all of it or nothing, and say how much it is by now: by nobody, whoever reports it.

    Raises NoSubscription, and BadRecord: for an unknown meter, for a time before the subscription or ahead of our
    clock, and for a key that came before with another content.
    """
    with locked(tenant) as subscription:
        new = _not_known(tenant, batch)
        meters = Meter.objects.in_bulk({used.meter for _, used in new})
        latest = timezone.now() + timedelta(seconds=settings.USAGE_ACCEPTED_AHEAD_SECONDS)
        for place, used in new:
            _check(place, used, meters.get(used.meter), latest)
        found = _periods_of(subscription, [used.at for _, used in new])
        placed = [(_period_of(subscription, place, used, found), used) for place, used in new]
        databases.insert_records(tenant, placed)
        _count(placed, meters)
        return Recorded(len(placed), len(batch) - len(placed), sum(period.is_closed for period, _ in placed))


def _not_known(tenant: Tenant, batch: Sequence[Used]) -> list[tuple[int, Used]]:
    """What of the batch is new, with its place. A record that is repeated within the batch is one."""
    known = dict(
        UsageRecord.objects.filter(tenant=tenant, key__in={used.key for used in batch}).values_list("key", "digest")
    )
    new = []
    for place, used in enumerate(batch):
        if used.key not in known:
            known[used.key] = used.digest
            new.append((place, used))
        elif known[used.key] != used.digest:
            problem = f"The key {used.key!r} came before with another content. Use a key of its own for each record."
            raise BadRecord(place, "idempotency_key", idempotency.CONFLICT, problem)
    return new


def _check(place: int, used: Used, meter: Meter | None, latest: datetime) -> None:
    if meter is None:
        raise BadRecord(place, "meter", "unknown_meter", f"There is no meter {used.meter!r}. See /api/billing/meters.")
    if meter.counted_property and not used.properties.get(meter.counted_property):
        problem = f"{meter.slug} counts different values of {meter.counted_property!r}: give it one."
        raise BadRecord(place, f"properties.{meter.counted_property}", "required", problem)
    if used.at > latest:
        problem = f"It is more than {settings.USAGE_ACCEPTED_AHEAD_SECONDS:g} s ahead: look at your clock."
        raise BadRecord(place, "at", "in_the_future", problem)


def _periods_of(subscription: Subscription, moments: list[datetime]) -> list[Period]:
    """Every period that one of these moments may fall into."""
    if not moments:
        return []
    wanted = Period.objects.filter(tenant=subscription.tenant, ends_at__gt=min(moments)).order_by("-starts_at")
    found = list(wanted)
    if found and max(moments) < found[0].ends_at:
        return found
    current_period(subscription, max(moments))  # begins what is to begin
    return list(wanted.all())


def _period_of(subscription: Subscription, place: int, used: Used, found: list[Period]) -> Period:
    """The period that the record belongs to."""
    period = next((one for one in found if one.starts_at <= used.at < one.ends_at), None)
    if period is None:
        problem = "It is before the subscription began, or in none of its periods. Nothing is billed there."
        raise BadRecord(place, "at", "not_subscribed", problem)
    if period.is_closed and subscription.ended_at and all(one.is_closed for one in found):
        problem = "Its period was invoiced, and the subscription has ended: no other invoice will come."
        raise BadRecord(place, "at", "not_subscribed", problem)
    return period


def _count(placed: Sequence[tuple[Period, Used]], meters: Mapping[str, Meter]) -> None:
    """Let each meter of each period come to what it does with these. Raises TooMuch."""
    periods = {period.pk: period for period, _ in placed}
    groups: dict[tuple[int, str], list[Used]] = defaultdict(list)
    for period, used in placed:
        groups[period.pk, used.meter].append(used)
    known = {
        (usage.period_id, usage.meter_id): usage
        for usage in Usage.objects.filter(period__in=periods, meter__in={meter for _, meter in groups})
    }
    changed = []
    for (period_id, slug), records in groups.items():
        period, meter = periods[period_id], meters[slug]
        usage = known.get((period_id, slug)) or _first_usage(period, meter)
        usage.period, usage.meter = period, meter  # read already
        if _add(usage, records):
            changed.append(usage)
    say_usage(*changed)


def _add(usage: Usage, records: list[Used]) -> bool:
    """Whether the meter comes to something else now. Raises TooMuch."""
    before = usage.quantity
    usage.quantity = _together(usage, usage.meter, records)
    if usage.quantity > LARGEST_USAGE:
        raise TooMuch(usage.meter)
    usage.records += len(records)
    usage.version += 1
    usage.save()
    return usage.quantity != before


def say_usage(*usages: Usage) -> None:
    """Note what thresholds a tenant's meters reach, and say how much of the current period's is used by now.

    Of a period that is over nothing is said: pages show the current one, and its invoice is about to come.
    """
    now = timezone.now()
    current = {usage.meter_id: usage for usage in usages if usage.period.starts_at <= now < usage.period.ends_at}
    limits = {slug: limit_of(usage.period, usage.meter) for slug, usage in current.items()}
    reached = _reached(current, {slug: limit for slug, limit in limits.items() if limit is not None})
    for slug, usage in current.items():
        usage_changed.send(Usage, usage=usage, limit=limits[slug], reached=reached[slug])


def usage_of(period: Period, meter: Meter) -> Usage:
    """The period's, or a new one, not saved."""
    usage = Usage.objects.filter(period=period, meter=meter).first() or _first_usage(period, meter)
    usage.period, usage.meter = period, meter  # read already
    return usage


def _first_usage(period: Period, meter: Meter) -> Usage:
    """A meter's versions go on rising from period to period: pages know it by its name."""
    before = Usage.objects.filter(tenant=period.tenant_id, meter=meter).aggregate(found=Max("version"))["found"]
    return Usage(tenant_id=period.tenant_id, period=period, meter=meter, version=before or 0)


def _together(usage: Usage, meter: Meter, records: list[Used]) -> Decimal:
    """What the meter comes to with these records. In whatever order they come, the outcome is the same."""
    match meter.aggregation:
        case Aggregation.SUM:
            return sum((one.quantity for one in records), usage.quantity)
        case Aggregation.MAX:
            return max(usage.quantity, *(one.quantity for one in records))
        case Aggregation.LAST:
            newest = max(records, key=lambda one: (one.at, one.quantity))
            if usage.last_at and (usage.last_at, usage.quantity) > (newest.at, newest.quantity):
                return usage.quantity
            usage.last_at = newest.at
            return newest.quantity
        case _:
            return usage.quantity + _newly_counted(usage, meter, records)


def _newly_counted(usage: Usage, meter: Meter, records: list[Used]) -> int:
    values = {one.properties[meter.counted_property] for one in records}
    counted = CountedValue.objects.filter(period=usage.period, meter=meter, value__in=values)
    new = values - set(counted.values_list("value", flat=True))
    CountedValue.objects.bulk_create(
        [
            CountedValue(tenant_id=usage.tenant_id, period=usage.period, meter=meter, value=value)
            for value in sorted(new)
        ]
    )
    return len(new)


def limit_of(period: Period, meter: Meter) -> Decimal | None:
    """What is included of it in this period; None: nothing, or the plan in force at its end does not price it.

    Of what adds up, each plan includes as much as it had of the month. A level is as high in any part of it.
    """
    included = [(segment, _included(segment.plan, meter)) for segment in period.in_force]
    at_the_end = included[-1][1]
    if meter.is_level or not at_the_end:
        return at_the_end or None
    parts = (period.share(segment.since, segment.until) * Fraction(units) for segment, units in included)
    return rounded(sum(parts, Fraction(0)))


def _included(plan: Plan, meter: Meter) -> Decimal:
    price = plan.price_list.meters.get(meter.slug)
    return price.included if price else Decimal(0)


def _reached(usages: Mapping[str, Usage], limits: Mapping[str, Decimal]) -> dict[str, list[int]]:
    """Note the thresholds that are reached now for the first time in this period. Returns each meter's, in percent."""
    own: dict[str, list[int]] = defaultdict(list)
    if limits:
        for slug, level in Threshold.objects.filter(meter__in=limits).order_by().values_list("meter_id", "percent"):
            own[slug].append(level)
    there = {
        (slug, level)
        for slug, limit in limits.items()
        for level in (*LEVELS, *own[slug])
        if usages[slug].quantity * 100 >= limit * level
    }
    new: dict[str, list[int]] = {slug: [] for slug in usages}
    if not there:
        return new
    period, now = next(iter(usages.values())).period, timezone.now()
    known = Crossing.objects.filter(period=period, meter__in=limits).order_by().values_list("meter_id", "percent")
    crossed = sorted(there.difference(known))
    Crossing.objects.bulk_create(
        [
            Crossing(tenant_id=period.tenant_id, period=period, meter_id=slug, percent=level, at=now)
            for slug, level in crossed
        ]
    )
    for slug, level in crossed:
        new[slug].append(level)
    return new


# --- A tenant's own thresholds ----------------------------------------------------------------------------------------


def add_threshold(tenant: Tenant, meter: Meter, percent: int, by: HasActor | None = None) -> Threshold:
    """Tell the tenant at this level too, in percent of what is included: at once, if there is as much by now.

    Raises NoSubscription, and Refused where there are as many as a tenant may have.
    """
    with billing_of(tenant) as subscription:
        known = Threshold.objects.filter(tenant=tenant)
        threshold = known.filter(meter=meter, percent=percent).first()
        if threshold:
            return threshold
        if known.count() >= settings.USAGE_THRESHOLDS_PER_TENANT:
            raise Refused(f"There are {settings.USAGE_THRESHOLDS_PER_TENANT} thresholds, the most. Remove one first.")
        threshold = Threshold(tenant=tenant, meter=meter, percent=percent)
        threshold.full_clean()
        threshold.save()
        _threshold_changed(subscription, threshold, "added", by)
        _say_again(tenant, timezone.now())
        return threshold


def remove_threshold(tenant: Tenant, meter: Meter, percent: int, by: HasActor | None = None) -> None:
    """Does nothing where there is none. That it was reached in this period stays known: added again it says nothing."""
    with billing_of(tenant) as subscription:
        threshold = Threshold.objects.filter(tenant=tenant, meter=meter, percent=percent).first()
        if threshold:
            threshold.delete()
            _threshold_changed(subscription, threshold, "removed", by)


def _threshold_changed(subscription: Subscription, threshold: Threshold, change: str, by: HasActor | None) -> None:
    threshold.tenant = subscription.tenant
    subscription.thresholds_version += 1
    subscription.save(update_fields=["thresholds_version"])
    threshold_changed.send(
        Threshold, threshold=threshold, version=subscription.thresholds_version, change=change, by=by
    )
