"""The platform's own alerts, and the figures its rules look at. The operations portal, which knows both, calls this."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django_scopes import scopes_disabled

from events import databases
from monitoring.alerting.actions import Raised, raise_alert, resolve_alert
from monitoring.alerting.models import OPEN, Alert, Severity, Source
from monitoring.models import PlatformMinute


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the platform that is not well: what is wrong with it, in words, and since when.

    `is_explained`: another part that is not well is why.
    """

    name: str
    severity: Severity
    reason: str
    since: datetime
    is_explained: bool = False

    @property
    def key(self) -> str:
        return f"part:{self.name}"


@scopes_disabled()
def observe(unwell: Iterable[Part], now: datetime) -> None:
    """Raise an alert for each part that is unwell for long enough, resolve those of parts that are well again.

    Of one that another explains none is raised; one that is open already stays until the part is well. Where nothing
    has changed it is one read.
    """
    ripe = now - timedelta(seconds=settings.PLATFORM_ALERT_AFTER_SECONDS)
    found = {part.key: part for part in unwell}
    rows = Alert.objects.filter(OPEN, tenant=None, source=Source.PLATFORM)
    known = {alert.key: alert for alert in rows}
    for key, part in found.items():
        alert = known.get(key)
        if alert is None and (part.is_explained or part.since > ripe):
            continue
        if alert is None or alert.resolve_due_at or alert.severity != part.severity:
            raise_alert(None, _raised(part))
    for key in known.keys() - found.keys():
        if known[key].resolve_due_at is None:
            resolve_alert(None, key, at=now)


def _raised(part: Part) -> Raised:
    name = part.name.removeprefix("handler:").replace("_", " ").capitalize()
    return Raised(
        source=Source.PLATFORM,
        key=part.key,
        name=name,
        severity=part.severity,
        message=f"{name}: {part.reason}",
        started_at=part.since,
        labels={"part": part.name},
    )


@transaction.atomic
def record(figures: Mapping[str, float], at: datetime) -> None:
    """Add figures to the minute they were measured in. Two processes that measure count twice: averages stay right."""
    databases.take_turns("figures of the platform")
    minute = PlatformMinute.period_of(at)
    known = {row.name: row for row in PlatformMinute.objects.filter(minute=minute, name__in=figures)}
    rows = [
        PlatformMinute(
            name=name,
            minute=minute,
            count=1 + (row.count if row else 0),
            sum=value + (row.sum if row else 0.0),
            min=min(value, row.min) if row else value,
            max=max(value, row.max) if row else value,
        )
        for name, value in figures.items()
        for row in [known.get(name)]
    ]
    PlatformMinute.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["name", "minute"],
        update_fields=["count", "sum", "min", "max"],
    )
