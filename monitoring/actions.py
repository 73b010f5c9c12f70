"""What can be done with metrics: record samples, say what is due, forget what is old.

Everything of one tenant happens under the lock of its LatestMetrics row. What adds rows of its own to the tenant holds
the tenant's row before that.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from accounts.actions import Refused
from monitoring import counters
from monitoring.counters import Risen
from monitoring.models import (
    COUNT_INTERVAL,
    COUNTER,
    EMIT_INTERVAL,
    ROLLUPS,
    LatestMetrics,
    Measured,
    MinuteRollup,
    PlatformMinute,
    Rollup,
    Sample,
)
from monitoring.signals import metrics_due, samples_counted
from tenants.models import Tenant

PRUNE_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch: `known` samples were stored before, or stood in the batch twice."""

    stored: int
    known: int
    version: int


class BadSample(Refused):
    """One sample of a batch can't be taken, so none was. `place` counts from 0; `field` is "at" or "name"."""

    def __init__(self, place: int, field: str, code: str, problem: str) -> None:
        super().__init__(problem)
        self.place, self.field, self.code = place, field, code


# --- Recording --------------------------------------------------------------------------------------------------------


def record(tenant: Tenant, samples: Sequence[Measured]) -> Recorded:
    """Store samples with their roll-ups, bring the latest values up to date, and say so now or a moment later.

    All of them or none. In whatever order they come, and however often, the outcome is the same. Raises BadSample, and
    Tenant.DoesNotExist for one that was deleted.
    """
    _check_times(samples)
    with scope(tenant=tenant), transaction.atomic():
        latest = _locked(tenant)
        _check_series(latest, samples)
        new = _not_stored(tenant, samples)
        risen = counters.risen(latest, new)
        _store(tenant, new, risen)
        for rollup in ROLLUPS:
            _roll_up(rollup, tenant, new, risen)
        latest.uncounted += len(new)
        if _keep_newest(latest, new):
            _say_now_or_later(latest)
        if new:
            latest.save()
        return Recorded(stored=len(new), known=len(samples) - len(new), version=latest.version)


def _locked(tenant: Tenant) -> LatestMetrics:
    """The tenant's newest metrics, to change them. Raises Tenant.DoesNotExist.

    The tenant's row goes first, as it does for whoever deletes the tenant: samples refer to it, so storing them would
    wait for that one, who waits for the newest metrics.
    """
    Tenant.objects.select_for_update(no_key=True).only("pk").get(pk=tenant.pk)
    latest = LatestMetrics.objects.select_for_update().filter(pk=tenant.pk).first()
    return latest or LatestMetrics.objects.create(tenant=tenant)


def _check_times(samples: Sequence[Measured]) -> None:
    """Not too old: what is no longer stored could not be told from a repeat. And not from the future."""
    now = timezone.now()
    age = min(settings.METRICS_ACCEPTED_AGE_SECONDS, settings.METRIC_SAMPLES_KEPT_HOURS * 3600)
    ahead = settings.METRICS_ACCEPTED_AHEAD_SECONDS
    for place, sample in enumerate(samples):
        if sample.at < now - timedelta(seconds=age):
            raise BadSample(place, "at", "too_old", f"It is more than {age} s old. Send samples sooner.")
        if sample.at > now + timedelta(seconds=ahead):
            raise BadSample(place, "at", "in_the_future", f"It is more than {ahead} s ahead: look at your clock.")


def _check_series(latest: LatestMetrics, samples: Sequence[Measured]) -> None:
    """Each series costs a row a minute and room in every page: labels that never end must not make them without end."""
    names = set(latest.metrics)
    for place, sample in enumerate(samples):
        names.add(sample.name)
        if len(names) > settings.METRIC_SERIES_PER_TENANT:
            most = f"There are {settings.METRIC_SERIES_PER_TENANT} series of other names or labels, which is the most"
            advice = "Use one of those, or fewer labels"
            raise BadSample(place, "name", "too_many_series", f"{most}. {advice}.")


def _not_stored(tenant: Tenant, samples: Sequence[Measured]) -> Collection[Measured]:
    wanted = {sample.identity: sample for sample in samples}
    stored = Sample.objects.filter(
        tenant=tenant, name__in={sample.name for sample in samples}, at__in={sample.at for sample in samples}
    )
    for identity in stored.values_list("name", "at", "value"):
        wanted.pop(identity, None)
    return wanted.values()


def _store(tenant: Tenant, samples: Iterable[Measured], risen: Risen) -> None:
    Sample.objects.bulk_create(
        [
            Sample(
                tenant=tenant,
                name=one.name,
                at=one.at,
                value=one.value,
                unit=one.unit,
                increase=risen.amounts.get(one.identity),
            )
            for one in samples
        ]
    )
    if risen.later:
        Sample.objects.bulk_update([row for row, _ in risen.later], ["increase"], batch_size=PRUNE_CHUNK)


@dataclass(slots=True)
class _Added:
    """What one period of one series gets: values of new samples, and how much its counter rose more."""

    values: list[float] = field(default_factory=list)
    increase: float | None = None


def _roll_up(model: type[Rollup], tenant: Tenant, samples: Iterable[Measured], risen: Risen) -> None:
    """Add samples, none of which was counted before, to the roll-ups of their periods."""
    added: dict[tuple[str, int], _Added] = defaultdict(_Added)
    for sample in samples:
        added[sample.name, model.period_of(sample.at)].values.append(sample.value)
    for name, at, amount in risen.changes():
        one = added[name, model.period_of(at)]
        one.increase = amount + (one.increase or 0.0)
    wanted = {"name__in": {name for name, _ in added}, f"{model.PERIOD}__in": {period for _, period in added}}
    known = model._default_manager.filter(tenant=tenant, **wanted)
    rollups = {(rollup.name, rollup.period): rollup for rollup in known}
    changed = [_with(rollups.get(key), model, tenant, key, found) for key, found in added.items()]
    model._default_manager.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["tenant", "name", model.PERIOD],
        update_fields=["count", "sum", "min", "max", "increase"],
    )


def _with(known: Rollup | None, model: type[Rollup], tenant: Tenant, key: tuple[str, int], added: _Added) -> Rollup:
    both = [*added.values, known.min, known.max] if known else added.values
    increases = [one.increase for one in (known, added) if one and one.increase is not None]
    name, period = key
    return model(
        tenant=tenant,
        name=name,
        count=len(added.values) + (known.count if known else 0),
        sum=sum(added.values) + (known.sum if known else 0.0),
        min=min(both),
        max=max(both),
        increase=sum(increases) if increases else None,
        **{model.PERIOD: period},
    )


def _keep_newest(latest: LatestMetrics, samples: Iterable[Measured]) -> bool:
    """Take over what is newer than what is known. Of two values of one moment the greater counts, in whatever order."""
    changed = False
    for sample in samples:
        known = latest.metrics.get(sample.name)
        if known and (sample.at, sample.value) <= (datetime.fromisoformat(known["at"]), known["value"]):
            continue
        at = sample.at.astimezone(UTC).isoformat()
        newest = {"value": sample.value, "unit": sample.unit, "at": at}
        latest.metrics[sample.name] = newest | ({"kind": COUNTER} if sample.kind == COUNTER else {})
        latest.as_of = max(sample.at, latest.as_of or sample.at)
        changed = True
    latest.version += changed
    return changed


# --- Saying so --------------------------------------------------------------------------------------------------------


def _say_now_or_later(latest: LatestMetrics) -> None:
    """The first of a burst is said at once, the last one when it is due, those between never. Does not save."""
    if latest.may_emit(timezone.now()):
        metrics_due.send(LatestMetrics, latest=latest)
        latest.emitted_at, latest.due_at = timezone.now(), None
    else:
        assert latest.emitted_at
        latest.due_at = latest.emitted_at + EMIT_INTERVAL


@scopes_disabled()
def say_what_is_due() -> int:
    """Emit what waited for its turn: the process `pulse` calls this all the time. Returns for how many tenants."""
    now = timezone.now()
    due = [latest.pk for latest in _due().defer("metrics") if latest.may_emit(now)]
    return sum(_say_if_due(tenant_id) for tenant_id in due)


@transaction.atomic
def _say_if_due(tenant_id: UUID) -> bool:
    latest = _due().select_for_update().filter(pk=tenant_id).first()
    if latest is None:  # samples that came meanwhile have said it, or the tenant is gone
        return False
    _say_now_or_later(latest)
    latest.save(update_fields=["emitted_at", "due_at"])
    return latest.due_at is None


def _due() -> QuerySet[LatestMetrics]:
    return LatestMetrics.objects.filter(due_at__isnull=False)


@scopes_disabled()
def say_how_many_were_stored() -> int:
    """Emit `samples_stored` for every tenant whose turn it is: `pulse` calls this. Returns for how many tenants.

    The count stands in the row that the samples were stored under the lock of, so none is told twice or not at all.
    """
    due = [latest.pk for latest in _uncounted(timezone.now()).only("pk")]
    return sum(_say_how_many(tenant_id) for tenant_id in due)


@transaction.atomic
def _say_how_many(tenant_id: UUID) -> bool:
    latest = _uncounted(timezone.now()).select_for_update().filter(pk=tenant_id).first()
    if latest is None:  # another pulse has said it, or the tenant is gone
        return False
    samples_counted.send(LatestMetrics, latest=latest, count=latest.uncounted)
    latest.uncounted, latest.counted_at = 0, timezone.now()
    latest.save(update_fields=["uncounted", "counted_at"])
    return True


def _uncounted(now: datetime) -> QuerySet[LatestMetrics]:
    """Where samples came since, and a minute has passed; a time that lies ahead is of a clock that was put back."""
    its_turn = Q(counted_at=None) | Q(counted_at__lte=now - COUNT_INTERVAL) | Q(counted_at__gt=now)
    return LatestMetrics.objects.filter(its_turn, uncounted__gt=0)


# --- Forgetting -------------------------------------------------------------------------------------------------------


@scopes_disabled()
def prune() -> int:
    """Delete samples and roll-ups past their retention, a chunk a transaction. Returns how many rows."""
    now = timezone.now()
    oldest_sample = now - timedelta(hours=settings.METRIC_SAMPLES_KEPT_HOURS)
    deleted = _delete(Sample.objects.filter(at__lt=oldest_sample))
    kept: tuple[type[Rollup], ...] = (*ROLLUPS, PlatformMinute)
    for rollup in kept:
        oldest = {f"{rollup.PERIOD}__lt": rollup.period_of(now - rollup.kept())}
        deleted += _delete(rollup._default_manager.filter(**oldest))
    for latest in LatestMetrics.objects.filter(as_of__isnull=False):
        _forget_metrics(latest.pk, before=now - MinuteRollup.kept())
    return deleted


def _delete(old: QuerySet[Any]) -> int:
    deleted = 0
    while ids := list(old.values_list("pk", flat=True)[:PRUNE_CHUNK]):
        old.model._default_manager.filter(pk__in=ids).delete()
        deleted += len(ids)
    return deleted


@transaction.atomic
def _forget_metrics(tenant_id: UUID, before: datetime) -> None:
    """Series that had no sample for so long make room for others. What days tell of them stays as long as days do."""
    latest = LatestMetrics.objects.select_for_update().filter(pk=tenant_id).first()
    if latest is None:
        return
    kept = {name: one for name, one in latest.metrics.items() if datetime.fromisoformat(one["at"]) >= before}
    if len(kept) == len(latest.metrics):
        return
    latest.metrics = kept
    latest.version += 1
    _say_now_or_later(latest)
    latest.save()
