"""A tenant's monitoring: who must act, how it went, what is looked for, and what is quiet."""

import json
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from deployments.views import PageRequest, may_change
from events import channels
from events.channels import Topic
from monitoring.alerting.models import OPEN, State
from portal import alert_acts, alerts, silences
from portal.alert_acts import Place
from portal.charts import SILENT_AFTER_SECONDS, Charts, Now, View, metrics_now
from portal.rules import deleted_lately
from tenants.access import tenant_page

OVER_SHOWN = 8
#: At these the page reads its lists anew: few people have it open, and they change seldom.
REREAD_TYPES = "alert alert_escalated alert_rule_updated silence_updated"
NO_ID = UUID(int=0)


@require_GET
@tenant_page()
@never_cache
def monitoring(request: PageRequest) -> HttpResponse:
    """Each part is shown to whoever may listen to what feeds it: charts to members, alerts to admins."""
    tenant = request.tenant
    dashboard, updates = channels.tenant(tenant.id, Topic.DASHBOARD), channels.tenant(tenant.id, Topic.MONITORING)
    followed = [channel for channel in (dashboard, updates) if request.live.may_listen(channel)]
    context: dict[str, Any] = {"section": "monitoring", "live": request.live.follow(*followed)}
    now = metrics_now(tenant)
    if dashboard in followed:
        context |= {"dashboard": dashboard, "metrics": now, "silent_after": SILENT_AFTER_SECONDS}
        context |= {"charts": Charts(tenant, now, View.of(request.GET))} if now.figures else {}
    if updates in followed:
        offered = alert_acts.undo_offered(request, Place(tenant)) or deleted_lately(request, Place(tenant))
        context |= {"updates": updates, "may_act": may_change(request)} | _alerts(request, now)
        context |= {"undo": offered, "undo_seconds": settings.UNDO_SHOWN_SECONDS}
    return render(request, "portal/monitoring/page.html", context)


def _alerts(request: PageRequest, now: Now) -> dict[str, Any]:
    place = Place(request.tenant)
    listed = alerts.listed(place.alerts, request.GET)
    over = place.alerts.filter(state=State.RESOLVED).order_by("-id")[:OVER_SHOWN]
    firing, tally = alerts.tally(place.alerts)
    units = {figure.name: figure.chart_unit for figure in now.figures}
    of_rules = place.alerts.filter(OPEN, rule__isnull=False).values_list("rule", flat=True)
    return {
        "listed": listed,
        "alerts": [alerts.row(alert, place.alert(alert.pk)) for alert in listed.found],
        "over": [alerts.row(alert, place.alert(alert.pk)) for alert in over],
        "blank": alerts.Row(url=place.alert(NO_ID)),
        "page_size": alerts.PAGE_SIZE,
        "firing": firing,
        "verdict": alerts.verdict(firing),
        "tally_json": json.dumps(tally),
        "rules": alerts.rule_rows(place.rules, place.rule, of_rules, units),
        "reread_types": REREAD_TYPES,
    } | silences.listed(place)
