"""Too many wrong passwords for one person from one address: what axes counts, and what it answers."""

from typing import Any

from axes.helpers import get_client_ip_address
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone


def username(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """Whom a sign-in names: allauth says "email", axes itself "login". One address counts once, however it is typed."""
    given = credentials or {}
    name = given.get("email") or given.get("username") or given.get("login") or request.POST.get("login", "")
    return str(name).strip().lower()


def response(
    request: HttpRequest, original: HttpResponse | None = None, credentials: dict[str, Any] | None = None
) -> HttpResponse:
    """429, and until when. Tries during the lockout don't lengthen it."""
    latest = AccessAttempt.objects.filter(
        username=username(request, credentials), ip_address=get_client_ip_address(request)
    ).aggregate(at=Max("attempt_time"))["at"]
    until = (latest or timezone.now()) + settings.AXES_COOLOFF_TIME
    answer = render(request, "account/lockout.html", {"locked_until": until}, status=429)
    answer["Retry-After"] = str(max(1, int((until - timezone.now()).total_seconds())))
    return answer
