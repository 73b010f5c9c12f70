"""Metrics: raw samples for a day, roll-ups of minutes and hours for a month, of days for a year; the newest of each."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from events.scoping import TenantManager
from tenants.models import Tenant

NAME_LENGTH = 64
NAME_PATTERN = re.compile(r"[a-z][a-z0-9_.]*")
#: Of a name with its labels: see `names`.
SERIES_LENGTH = 200
UNIT_LENGTH = 16
#: Beyond this even the sum of a minute could leave what a float holds.
LARGEST = 1e18
#: A gauge goes up and down; a counter only rises, or begins anew at 0.
GAUGE, COUNTER = "gauge", "counter"
#: So many series are told live in `metrics_update`, those without labels first.
TOLD_SERIES = 100
#: Two `metrics_update` of one tenant are at least this far apart.
EMIT_INTERVAL = timedelta(milliseconds=100)
#: Two `samples_stored` of one tenant are at least this far apart.
COUNT_INTERVAL = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Measured:
    """A value as it was measured; `at` knows its zone, `value` is finite, `name` is that of the series."""

    name: str
    value: float
    at: datetime
    unit: str = ""
    kind: str = GAUGE

    @property
    def identity(self) -> tuple[str, datetime, float]:
        return (self.name, self.at, self.value)


class Sample(models.Model):
    """One measured value. The same name, moment and value sent again is the same sample, so sending again is safe."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=SERIES_LENGTH)
    at = models.DateTimeField(db_index=True, help_text="When it was measured, by the sender's clock.")
    value = models.FloatField()
    unit = models.CharField(max_length=UNIT_LENGTH, blank=True)
    increase = models.FloatField(null=True, blank=True, help_text="Of a counter: over the sample before.")

    objects: ClassVar[TenantManager["Sample"]] = TenantManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name", "at", "value"], name="a_sample_is_stored_once")
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.value:g} {self.unit}".rstrip()


class Rollup(models.Model):
    """What the samples of one metric in one period come to. Written with the samples, under the lock of the latest.

    `PERIOD` names the field that counts periods of so many `SECONDS` since 1970 began, UTC; `KEPT_DAYS` the setting.
    """

    PERIOD: ClassVar[str]
    SECONDS: ClassVar[int]
    KEPT_DAYS: ClassVar[str] = "METRIC_ROLLUPS_KEPT_DAYS"

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=SERIES_LENGTH)
    count = models.PositiveBigIntegerField()
    sum = models.FloatField()
    min = models.FloatField()
    max = models.FloatField()
    increase = models.FloatField(null=True, blank=True, help_text="How much a counter rose. See `counters`.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%Y-%m-%d %H:%M} UTC"

    @classmethod
    def period_of(cls, at: datetime) -> int:
        """The period that a moment falls into."""
        return int((at - EPOCH) // timedelta(seconds=cls.SECONDS))

    @classmethod
    def kept(cls) -> timedelta:
        return timedelta(days=getattr(settings, cls.KEPT_DAYS))

    @property
    def period(self) -> int:
        number: int = getattr(self, self.PERIOD)
        return number

    @property
    def at(self) -> datetime:
        """When the period began."""
        return EPOCH + timedelta(seconds=self.period * self.SECONDS)

    @property
    def avg(self) -> float:
        return self.sum / self.count


class MinuteRollup(Rollup):
    PERIOD, SECONDS = "minute", 60

    minute = models.PositiveBigIntegerField(db_index=True, help_text="Minutes since 1970 began, UTC.")

    objects: ClassVar[TenantManager["MinuteRollup"]] = TenantManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name", "minute"], name="one_rollup_per_metric_and_minute"),
            models.CheckConstraint(condition=Q(count__gte=1), name="rollup_of_something"),
        ]


class HourRollup(Rollup):
    """The same, for charts that are too long for minutes."""

    PERIOD, SECONDS = "hour", 3600

    hour = models.PositiveBigIntegerField(db_index=True, help_text="Hours since 1970 began, UTC.")

    objects: ClassVar[TenantManager["HourRollup"]] = TenantManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name", "hour"], name="one_rollup_per_metric_and_hour"),
            models.CheckConstraint(condition=Q(count__gte=1), name="hour_of_something"),
        ]


class DayRollup(Rollup):
    """The same, for what hours are not kept for. Days are those of UTC."""

    PERIOD, SECONDS, KEPT_DAYS = "day", 86_400, "METRIC_DAYS_KEPT_DAYS"

    day = models.PositiveBigIntegerField(db_index=True, help_text="Days since 1970 began, UTC.")

    objects: ClassVar[TenantManager["DayRollup"]] = TenantManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name", "day"], name="one_rollup_per_metric_and_day"),
            models.CheckConstraint(condition=Q(count__gte=1), name="day_of_something"),
        ]


ROLLUPS: tuple[type[Rollup], ...] = (MinuteRollup, HourRollup, DayRollup)


class PlatformMinute(Rollup):
    """The same of the platform's own figures, which belong to no tenant: see `monitoring.alerting.platform`."""

    PERIOD, SECONDS = "minute", 60

    # How Django takes a field of an abstract model away. There are no counters among the figures.
    tenant = None  # type: ignore[assignment]
    increase = None  # type: ignore[assignment]
    minute = models.PositiveBigIntegerField(db_index=True, help_text="Minutes since 1970 began, UTC.")

    objects: ClassVar[models.Manager["PlatformMinute"]] = models.Manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name", "minute"], name="one_platform_rollup_per_minute"),
            models.CheckConstraint(condition=Q(count__gte=1), name="platform_rollup_of_something"),
        ]


class LatestMetrics(models.Model):
    """A tenant's metrics as they are now, and what has been said of them. Its lock makes a tenant's writers take turns.

    `metrics` is {series: {"value", "unit", "at"}}, with "kind": "counter" for one. `version` rises when it changes.
    What is not said yet is due: the process `pulse` says it, unless the next samples do so first.
    """

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    metrics = models.JSONField(default=dict)
    version = models.PositiveBigIntegerField(default=0)
    as_of = models.DateTimeField(null=True, blank=True, help_text="When the newest sample was measured.")
    emitted_at = models.DateTimeField(null=True, blank=True, help_text="When the last metrics_update was emitted.")
    due_at = models.DateTimeField(null=True, blank=True, help_text="When the next one is due; empty: all is said.")
    uncounted = models.PositiveBigIntegerField(default=0, help_text="Samples stored since the last samples_stored.")
    counted_at = models.DateTimeField(null=True, blank=True, help_text="When the last samples_stored was emitted.")

    objects: ClassVar[TenantManager["LatestMetrics"]] = TenantManager()

    class Meta:
        verbose_name_plural = "latest metrics"
        indexes = [models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="metrics_due")]

    def __str__(self) -> str:
        return f"{len(self.metrics)} metrics of {self.tenant}"

    @property
    def told(self) -> dict[str, dict[str, Any]]:
        """What events carry of `metrics`: they go to every open page, so they have an end."""
        if len(self.metrics) <= TOLD_SERIES:
            return self.metrics
        order = sorted(self.metrics, key=lambda name: ("{" in name, name))
        return {name: self.metrics[name] for name in order[:TOLD_SERIES]}

    def may_emit(self, now: datetime) -> bool:
        """Whether the last emit is long enough ago. One that lies far ahead was made before a clock was put back."""
        return self.emitted_at is None or abs(now - self.emitted_at) >= EMIT_INTERVAL


def wire_time(at: datetime | str) -> str:
    """A moment as API and events write it: UTC, milliseconds, Z. `at` may be as `LatestMetrics.metrics` keeps it."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# Where Django looks for an app's models. At the end: what is above stands by itself.
from monitoring.alerting.models import Alert, AlertRule, EscalationPolicy, Silence  # noqa: E402, F401
