"""What tests of metrics share: measuring, and looking at what came of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_scopes import scopes_disabled

from events.models import Event
from monitoring.actions import Measured
from monitoring.alerting.actions import Raised
from monitoring.alerting.models import Alert, Source
from monitoring.models import LatestMetrics, wire_time
from tenants.models import Tenant

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def measured(name: str, value: float, at: datetime | None = None, unit: str = "") -> Measured:
    return Measured(name=name, value=value, at=at or timezone.now(), unit=unit)


def updates(tenant: Tenant) -> list[dict[str, Any]]:
    """The payloads of the tenant's metrics_update events, in order."""
    with scopes_disabled():
        return list(Event.objects.filter(tenant=tenant, type="metrics_update").values_list("payload", flat=True))


def facts(**metrics: float) -> dict[str, Any]:
    """What an event says of metrics that were all sampled at NOON."""
    return {"metrics": metrics, "sampledAt": dict.fromkeys(metrics, wire_time(NOON))}


def update_times(tenant: Tenant) -> list[datetime]:
    with scopes_disabled():
        return list(Event.objects.filter(tenant=tenant, type="metrics_update").values_list("occurred_at", flat=True))


def latest_of(tenant: Tenant) -> LatestMetrics:
    with scopes_disabled():
        return LatestMetrics.objects.get(pk=tenant.pk)


def newest(tenant: Tenant) -> dict[str, float]:
    """The newest value of each metric."""
    return {name: one["value"] for name, one in latest_of(tenant).metrics.items()}


class Clock:
    """The time, standing still until it is moved."""

    def __init__(self, traveller: Any) -> None:
        self._traveller = traveller
        self.now = NOON

    def move(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        self._traveller.move_to(self.now)
        return self.now


@pytest.fixture
def clock(time_machine: Any) -> Clock:
    time_machine.move_to(NOON, tick=False)
    return Clock(time_machine)


# --- Alerts -----------------------------------------------------------------------------------------------------------


def said_of_alerts(tenant: Tenant | None) -> list[dict[str, Any]]:
    """The payloads of the owner's alert events, in order."""
    with scopes_disabled():
        return list(Event.objects.filter(tenant=tenant, type="alert").order_by("id").values_list("payload", flat=True))


def states_said(tenant: Tenant | None) -> list[str]:
    return [payload["state"] for payload in said_of_alerts(tenant)]


def calls(tenant: Tenant | None) -> list[dict[str, Any]]:
    """The payloads of the owner's alert_escalated events, in order."""
    with scopes_disabled():
        found = Event.objects.filter(tenant=tenant, type="alert_escalated").order_by("id")
        return list(found.values_list("payload", flat=True))


def raised(key: str = "backup", **changed: Any) -> Raised:
    facts: dict[str, Any] = {
        "source": Source.API,
        "key": key,
        "name": "Backup failed",
        "severity": "error",
        "message": "No space left.",
        "started_at": timezone.now(),
        "labels": {"instance": "db-1"},
    }
    return Raised(**facts | changed)


def fresh_alert(alert: Alert) -> Alert:
    with scopes_disabled():
        return Alert.objects.select_related("silence", "policy", "tenant").get(pk=alert.pk)
