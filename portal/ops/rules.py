"""What the platform looks for in its own figures, and who is called about its own alerts."""

from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from monitoring.alerting.models import OPEN
from portal import alerts, policies, rules
from portal.alert_acts import Place
from tenants.access import PlatformRequest, platform_page

PLATFORM = Place(None)


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


@require_http_methods(["GET", "HEAD", "POST"])
@platform_page
@never_cache
def ops_new_rule(request: PlatformRequest) -> HttpResponse:
    return rules.rule_page(request, PLATFORM, None)


@require_http_methods(["GET", "HEAD", "POST"])
@platform_page
@never_cache
def ops_alert_rule(request: PlatformRequest, rule_id: UUID) -> HttpResponse:
    return rules.rule_page(request, PLATFORM, rule_id)


@require_POST
@platform_page
def ops_delete_rule(request: PlatformRequest, rule_id: UUID) -> HttpResponse:
    return rules.delete(request, PLATFORM, rule_id)


@require_POST
@platform_page
def ops_undo_delete_rule(request: PlatformRequest) -> HttpResponse:
    return rules.bring_back(request, PLATFORM)


@require_GET
@platform_page
@never_cache
def ops_alert_policies(request: PlatformRequest) -> HttpResponse:
    return policies.list_page(request, PLATFORM)


@require_http_methods(["GET", "HEAD", "POST"])
@platform_page
@never_cache
def ops_new_policy(request: PlatformRequest) -> HttpResponse:
    return policies.policy_page(request, PLATFORM, None)


@require_http_methods(["GET", "HEAD", "POST"])
@platform_page
@never_cache
def ops_alert_policy(request: PlatformRequest, policy_id: UUID) -> HttpResponse:
    return policies.policy_page(request, PLATFORM, policy_id)


@require_POST
@platform_page
def ops_delete_policy(request: PlatformRequest, policy_id: UUID) -> HttpResponse:
    return policies.delete(request, PLATFORM, policy_id)
