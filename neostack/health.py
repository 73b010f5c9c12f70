"""Is it alive, is it ready, and what does it count: for load balancers, supervisors and Prometheus."""

import hmac
from collections.abc import Iterator

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from events import log
from events.models import Cursor, DeadLetter
from portal.ops import health
from portal.ops.guides import guide_to

LOOPBACK = ("127.0.0.1", "::1")


# --- Liveness and readiness -------------------------------------------------------------------------------------------


@require_safe
def alive(request: HttpRequest) -> JsonResponse:
    """The process answers. Looks at nothing else: a restart would not mend a database."""
    return JsonResponse({"status": "ok"})


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Each part by name. 503 when pages can't be served: the database, or Redis where one is configured.

    Without the engine or the relay pages are served all the same, as stale ones: that is "degraded", with status 200,
    so that a load balancer doesn't take the pages away as well.
    """
    found = health.look()
    broken = {part.name for part in found.problems}
    needed = broken & {"database", "redis"}
    status = "failed" if needed else "degraded" if broken else "ok"
    parts = {part.name: _answer(part) for part in found.parts}
    return JsonResponse({"status": status, "parts": parts}, status=503 if needed else 200)


def _answer(part: health.Part) -> dict[str, str]:
    """Without `detail`: whoever asks need not know what the machines are called."""
    if part.is_well:
        return {"status": part.state}
    guide = guide_to(part.name)
    return {"status": part.state, "reason": f"{guide.title}: {part.reason}. {guide.remedy}"}


# --- Metrics ----------------------------------------------------------------------------------------------------------


class LogCollector(Collector):
    """The log and its cursors as the database has them: the same from whichever process is asked."""

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())  # else registering would query

    def collect(self) -> Iterator[GaugeMetricFamily]:
        newest = log.newest_seq()
        yield GaugeMetricFamily("neostack_log_seq", "The last sequence number given.", value=newest)
        lag = GaugeMetricFamily("neostack_cursor_lag", "Events a cursor has not dealt with.", labels=["cursor"])
        for name, position in Cursor.objects.values_list("name", "position"):
            lag.add_metric([name], newest - position)
        yield lag
        waiting = DeadLetter.objects.filter(resolution="").count()
        yield GaugeMetricFamily("neostack_dead_letters", "Dead letters that wait for a decision.", value=waiting)


REGISTRY.register(LogCollector())


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus: with METRICS_KEY as bearer token; without such a setting, to this machine only."""
    if not _may_scrape(request):
        return HttpResponse("Metrics are for the monitoring only: see METRICS_KEY.\n", status=403)
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


def _may_scrape(request: HttpRequest) -> bool:
    if settings.METRICS_KEY:
        given = request.headers.get("Authorization", "").encode()
        return hmac.compare_digest(given, f"Bearer {settings.METRICS_KEY}".encode())
    behind_proxy = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"))
    return request.META.get("REMOTE_ADDR") in LOOPBACK and not behind_proxy
