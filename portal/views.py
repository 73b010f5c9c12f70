"""The pages round every tenant's: where a person lands, the theme, the jump dialog."""

from typing import cast

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import User
from portal.context import THEMES
from portal.jump import targets
from tenants.access import TenantRequest, memberships_of, tenant_page

THEME_MAX_AGE_SECONDS = 365 * 86_400


@require_GET
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Where signing in leads: the only tenant's home, a choice of several, or what the person has instead."""
    user = cast(User, request.user)
    every = [membership.tenant for membership in memberships_of(user)]
    tenants = [tenant for tenant in every if not tenant.is_suspended]
    if not tenants and user.is_platform_admin:
        return redirect("ops_home")
    if len(only := tenants or every) == 1:
        return redirect("tenant_home", only[0].slug)  # of a suspended one it says why
    return render(request, "portal/tenants.html", {"tenants": every})


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie, so that the server renders it; works without JavaScript."""
    theme, back = request.POST.get("theme"), request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = "/"
    response = HttpResponseRedirect(back)  # an address, never the name of a view
    if theme in THEMES:
        response.set_cookie(
            "theme", theme, max_age=THEME_MAX_AGE_SECONDS, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
        )
    return response


@require_GET
@tenant_page()
@never_cache
def jump(request: TenantRequest) -> HttpResponse:
    """Find a page, a stack or a deployment by name: what Ctrl K asks, and a page of its own without JavaScript."""
    query = request.GET.get("q", "")[:100]
    found = targets(request.tenant, request.membership.role, query)
    return render(request, "portal/jump.html", {"section": "", "query": query, "targets": found})
