"""What the platform looks for in its own figures. A tenant's rules are few, and stand on its page of monitoring."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from monitoring.alerting.models import OPEN
from portal import alerts, rules
from portal.alert_acts import PLATFORM
from tenants.access import PlatformRequest, platform_page


@require_GET
@platform_page
@never_cache
def ops_alert_rules(request: PlatformRequest) -> HttpResponse:
    live = request.live.follow()
    firing = PLATFORM.alerts.filter(OPEN, rule__isnull=False).values_list("rule", flat=True)
    context = {
        "section": PLATFORM.section,
        "live": live,
        "rules": alerts.rule_rows(PLATFORM.rules, PLATFORM.rule, firing, {}),
        "undo": rules.deleted_lately(request, PLATFORM),
        "undo_seconds": settings.UNDO_SHOWN_SECONDS,
    }
    return render(request, "portal/ops/rules.html", context)
