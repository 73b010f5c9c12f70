"""Is it alive, is it ready, and what does it count: for load balancers, supervisors and Prometheus."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from events import scraping
from portal.ops import health
from portal.ops.guides import guide_to

PROXY_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP")


# --- Liveness and readiness -------------------------------------------------------------------------------------------


@require_safe
def alive(request: HttpRequest) -> JsonResponse:
    """The process answers. Looks at nothing else: a restart would not mend a database."""
    return JsonResponse({"status": "ok"})


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Each part by name. 503 when pages can't be served: without the database.

    Without Redis, the engine or the relay pages are served all the same: that is "degraded", with status 200, so that
    a load balancer doesn't take the pages, and the gate, away as well.
    """
    found = health.look()
    broken = {part.name for part in found.problems}
    is_needed = "database" in broken
    status = "failed" if is_needed else "degraded" if broken else "ok"
    parts = {part.name: _answer(part) for part in found.parts}
    return JsonResponse({"status": status, "parts": parts}, status=503 if is_needed else 200)


def _answer(part: health.Part) -> dict[str, str]:
    """Without `detail`: whoever asks need not know what the machines are called."""
    if part.is_well:
        return {"status": part.state}
    guide = guide_to(part.name)
    return {"status": part.state, "reason": f"{guide.title}: {part.reason}. {guide.remedy}"}


# --- Metrics ----------------------------------------------------------------------------------------------------------


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """What this web process counts; what the platform is like says `pulse`. See `events.scraping` for who may read."""
    authorization, address = request.headers.get("Authorization", ""), request.META.get("REMOTE_ADDR", "")
    through_proxy = any(name in request.headers for name in PROXY_HEADERS)
    if not scraping.may_read(authorization, address, through_proxy=through_proxy):
        return HttpResponse(scraping.REFUSED, status=403)
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
