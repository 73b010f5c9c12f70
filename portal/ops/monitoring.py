"""Every tenant's alerts and the platform's own, live: what fires, who is being called, whose samples have stopped."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.models import User
from events import channels
from monitoring.alerting.models import OPEN, Alert, State
from monitoring.models import LatestMetrics
from portal import alert_acts, alerts, silences
from portal.alert_acts import PLATFORM
from portal.charts import SILENT_AFTER_SECONDS
from portal.models import PlatformHealth
from portal.ops import health
from portal.ops.tenant_filter import TenantFilter
from tenants.access import PlatformRequest, platform_page
from tenants.models import Tenant

TENANTS_SHOWN = 50
CALLS_SHOWN = 20
REREAD_TYPES = "alert alert_escalated health_update silence_updated"
#: Samples that stop are no event, so that an open page looks by itself.
SILENT_LOOKED_AT_SECONDS = 30
SILENT_AFTER = timedelta(seconds=SILENT_AFTER_SECONDS)


@dataclass(frozen=True, slots=True)
class TenantRow:
    """How many of a tenant's alerts are in each state, and when its newest sample was measured."""

    tenant: Tenant
    firing: int
    acknowledged: int
    silenced: int
    as_of: datetime | None

    @property
    def is_silent(self) -> bool:
        """Samples came, and have stopped."""
        return self.as_of is not None and timezone.now() - self.as_of >= SILENT_AFTER


@dataclass(frozen=True, slots=True)
class Call:
    """Somebody was called about an alert that fires still. `again_at`: when the next is, unless it is looked after."""

    alert: Alert
    people: str
    tenant: str

    @property
    def again_at(self) -> datetime | None:
        return self.alert.escalate_at


@require_GET
@platform_page
@never_cache
def ops_monitoring(request: PlatformRequest) -> HttpResponse:
    live = request.live.follow(
        channels.ADMIN_MONITORING, channels.SYSTEM_ALERTS, channels.SYSTEM_HEALTH, channels.ADMIN_TENANTS
    )
    tenants = TenantFilter.of(request.GET)
    if tenants.moved_to:
        return HttpResponseRedirect(tenants.moved_to)
    everyones = Alert.objects.select_related("silence", "tenant")
    wanted = everyones.filter(tenant=tenants.chosen) if tenants.chosen else everyones
    firing, tally = alerts.tally(wanted)
    listed = alerts.listed(wanted, request.GET)
    silent = LatestMetrics.objects.filter(as_of__lte=timezone.now() - SILENT_AFTER)
    rows, calls = _tenants(silent), _calls(everyones)
    tenants.saw([alert.tenant for alert in listed.found])
    context = {
        "section": "ops_monitoring",
        "live": live,
        "listed": listed,
        "alerts": [_row(alert) for alert in listed.found],
        "blank": alerts.Row(),
        "page_size": alerts.PAGE_SIZE,
        "firing": firing,
        "verdict": alerts.verdict(firing),
        "tally_json": json.dumps(tally),
        "tenants": tenants,
        "tenant_rows": rows,
        "silent": silent.count(),
        "silent_looked_at": SILENT_LOOKED_AT_SECONDS,
        "calls": calls,
        "health": health.with_history(health.look(), PlatformHealth.now()),
        "own": [alerts.row(one, PLATFORM.alert(one.pk)) for one in PLATFORM.alerts.filter(OPEN).order_by("-id")],
        "undo": alert_acts.undo_offered(request, PLATFORM),
        "undo_seconds": settings.UNDO_SHOWN_SECONDS,
        "reread_types": REREAD_TYPES,
    }
    return render(request, "portal/ops/monitoring.html", context | silences.listed(PLATFORM))


def _row(alert: Alert) -> alerts.Row:
    if alert.tenant is None:
        return alerts.row(alert, PLATFORM.alert(alert.pk), "The platform")
    return alerts.row(alert, tenant=alert.tenant.name)


def _tenants(silent: QuerySet[LatestMetrics]) -> list[TenantRow]:
    """Who needs help: those with most alerts firing, then those whose samples have stopped last."""
    alerted = {row["tenant"]: row for row in _alerted()}
    stopped = silent.order_by("-as_of").values_list("pk", flat=True)[:TENANTS_SHOWN]
    shown = list(dict.fromkeys([*alerted, *stopped]))[:TENANTS_SHOWN]
    samples = dict(LatestMetrics.objects.filter(pk__in=shown).values_list("pk", "as_of"))
    known = Tenant.objects.in_bulk(shown)
    none = {"firing": 0, "acknowledged": 0, "silenced": 0}
    return [_tenant_row(known[key], alerted.get(key, none), samples.get(key)) for key in shown if key in known]


def _tenant_row(tenant: Tenant, found: Mapping[str, Any], as_of: datetime | None) -> TenantRow:
    return TenantRow(tenant, found["firing"], found["acknowledged"], found["silenced"], as_of)


def _alerted() -> Iterable[dict[str, Any]]:
    states = {state.value: Count("pk", filter=Q(state=state)) for state in State if state != State.RESOLVED}
    of_tenants: QuerySet[Any, Any] = Alert.objects.filter(OPEN, tenant__isnull=False).order_by().values("tenant")
    return of_tenants.annotate(**states).order_by("-firing", "-acknowledged", "tenant")[:TENANTS_SHOWN]


def _calls(everyones: QuerySet[Alert]) -> list[Call]:
    firing = everyones.filter(OPEN, state=State.FIRING, called_at__isnull=False)
    called = list(firing.order_by("-called_at")[:CALLS_SHOWN])
    people = User.objects.filter(pk__in={key for alert in called for key in alert.called})
    names = {str(one.pk): str(one) for one in people}

    def who(alert: Alert) -> str:
        return ", ".join(names.get(key, "somebody") for key in alert.called)

    return [Call(alert, who(alert), _owner(alert)) for alert in called]


def _owner(alert: Alert) -> str:
    return alert.tenant.name if alert.tenant else "The platform"
