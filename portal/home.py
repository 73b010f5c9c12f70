"""A tenant's home: whether anything is wrong, how it is now, how it went, what was deployed and by whom."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from deployments.models import ACTIVE, ENDED, Deployment, Stack, Status
from deployments.rows import GROUPS, PAGE_SIZE, Row, rows
from deployments.views import PageRequest, may_change, shown_deployments, updates_channel
from events import channels, log
from events.channels import Channel, Topic
from events.log import Asked
from events.models import Event
from portal import alerts
from portal.alert_acts import Place
from portal.charts import SILENT_AFTER_SECONDS, Charts, View, metrics_now
from tenants.access import tenant_page
from tenants.models import Tenant

#: How many ended deployments a tenant's home shows.
ENDED_SHOWN = 8
#: How long a failure that nobody dealt with is said.
ATTENTION_DAYS = 7
ATTENTION_SHOWN = 10
ACTS_SHOWN = 10


@require_GET
@tenant_page()
@never_cache
def tenant_home(request: PageRequest) -> HttpResponse:
    """Each panel is shown to whoever may listen to what feeds it; the first answers: is anything wrong?"""
    tenant = request.tenant
    dashboard = channels.tenant(tenant.id, Topic.DASHBOARD)
    sees_metrics = request.live.may_listen(dashboard)
    # The dashboard brings deployments too: one channel says everything once.
    updates = dashboard if sees_metrics else updates_channel(request)
    acts = channels.tenant(tenant.id, Topic.ACTIVITY)
    sees_acts = request.live.may_listen(acts)
    alerting = channels.tenant(tenant.id, Topic.MONITORING)
    sees_alerts = request.live.may_listen(alerting)
    context: dict[str, Any] = {
        "section": "home",
        "live": request.live.follow(updates, *([acts] if sees_acts else []), *([alerting] if sees_alerts else [])),
        "updates": updates,
        "may_change": may_change(request),
        "blank": Row(),
    }
    context |= _deployments(tenant) | _attention(tenant)
    if sees_metrics:
        now = metrics_now(tenant)
        context |= {"dashboard": dashboard, "metrics": now, "silent_after": SILENT_AFTER_SECONDS}
        context |= {"charts": Charts(tenant, now, View.of(request.GET))} if now.figures else {}
    if sees_acts:
        context["activity"] = _activity(tenant, acts)
    if sees_alerts:
        context["alerts"] = _alerts(tenant, alerting)
    context["needs"] = _needs(context)
    return render(request, "portal/home.html", context)


def _needs(context: dict[str, Any]) -> int:
    """How many things need somebody: the checks that stand below it, in one number."""
    firing = context["alerts"]["firing"] if "alerts" in context else 0
    return len(context["attention"]) + firing + ("metrics" in context and context["metrics"].is_silent)


def _alerts(tenant: Tenant, channel: Channel) -> dict[str, Any]:
    firing, tally = alerts.tally(Place(tenant).alerts)
    return {"channel": channel.name, "firing": firing, "tally_json": json.dumps(tally)}


def _deployments(tenant: Tenant) -> dict[str, Any]:
    """What runs and waits, and how the last ones ended; for a tenant that is new, what it could deploy."""
    shown = shown_deployments(tenant)
    active = list(shown.filter(status__in=GROUPS["active"]).order_by("-number")[:PAGE_SIZE])
    ended = list(shown.filter(status__in=ENDED).order_by("-number")[:ENDED_SHOWN])
    tally = Deployment.objects.filter(tenant=tenant, status__in=GROUPS["active"]).values_list("id", "version", "status")
    found = {str(key): [version, status] for key, version, status in tally}
    return {
        "active": rows(active, tenant),
        "active_statuses": GROUPS["active"],
        "ended": rows(ended, tenant),
        "ended_statuses": ENDED,
        "ended_low": ended[-1].number if len(ended) == ENDED_SHOWN else None,
        "ended_size": ENDED_SHOWN,
        "page_size": PAGE_SIZE,
        "tally_json": json.dumps(found),
        "running": sum(status in ACTIVE for _, status in found.values()),
        "waiting": sum(status == Status.QUEUED for _, status in found.values()),
        "stacks": [] if active or ended else Stack.objects.offered().order_by("name"),
    }


def _activity(tenant: Tenant, channel: Channel) -> dict[str, Any]:
    """Who did what last. A row leads to its deployment, where it speaks of one."""
    page = log.activity(Asked(tenant.id), limit=ACTS_SHOWN)
    unknown = UUID(int=0)
    place = reverse("deployment_by_id", args=[tenant.slug, unknown]).replace(str(unknown), "{deploymentId}")
    return {
        "channel": channel.name,
        "acts": [(seq, event, _place_of(event, place)) for seq, event in page.rows],
        "place": place,
        "size": ACTS_SHOWN,
        "low": page.rows[-1][0] if page.has_older else None,
    }


def _place_of(event: Event, place: str) -> str:
    return place.format(**event.payload) if "deploymentId" in event.payload else ""


def _attention(tenant: Tenant) -> dict[str, Any]:
    found = list(not_dealt_with(tenant).order_by("-number")[:ATTENTION_SHOWN])
    return {
        "attention": rows(found, tenant),
        "attention_statuses": GROUPS["failed"],
        "attention_low": found[-1].number if len(found) == ATTENTION_SHOWN else None,
        "attention_size": ATTENTION_SHOWN,
        "attention_days": ATTENTION_DAYS,
    }


def not_dealt_with(tenant: Tenant) -> QuerySet[Deployment]:
    """Deployments that failed or were lost lately, and after which nothing of the same name was tried."""
    later = Deployment.objects.filter(tenant=tenant, name=OuterRef("name"), number__gt=OuterRef("number"))
    since = timezone.now() - timedelta(days=ATTENTION_DAYS)
    lately = shown_deployments(tenant).filter(status__in=GROUPS["failed"], ended_at__gte=since)
    found: QuerySet[Deployment] = lately.exclude(Exists(later))
    return found
