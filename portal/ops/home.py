"""How the platform is, in three seconds."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from events import channels
from tenants.access import PlatformRequest, platform_page


@require_GET
@platform_page
@never_cache
def ops_home(request: PlatformRequest) -> HttpResponse:
    live = request.live.follow(channels.SYSTEM_HEALTH, channels.SYSTEM_METRICS)
    return render(request, "portal/ops/home.html", {"section": "ops_home", "live": live})
