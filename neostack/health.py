"""Is it alive, is it ready, and what does it count: for load balancers, supervisors and Prometheus."""

import hmac
from collections.abc import Callable, Iterator

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from events import engine_client, log
from events.cursors import PUSH
from events.models import Cursor, DeadLetter

LOOPBACK = ("127.0.0.1", "::1")


class NotReady(Exception):
    """A part does not work now; the message says what was seen."""


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
    parts = {name: _state(check) for name, check in _checks().items()}
    broken = {name for name, part in parts.items() if part["status"] != "ok"}
    needed = broken & {"database", "redis"}
    status = "failed" if needed else "degraded" if broken else "ok"
    return JsonResponse({"status": status, "parts": parts}, status=503 if needed else 200)


def _checks() -> dict[str, Callable[[], None]]:
    checks = {"database": _database, "engine": _engine, "relay": _relay}
    return checks | ({"redis": _redis} if settings.REDIS_URL else {})


def _state(check: Callable[[], None]) -> dict[str, str]:
    try:
        check()
    except NotReady as problem:
        return {"status": "failed", "reason": str(problem)}
    except DatabaseError:
        return {"status": "failed", "reason": "The database does not answer."}
    return {"status": "ok"}


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _engine() -> None:
    try:
        engine_client.push([{"info": {}}], timeout=0.5)
    except (engine_client.EngineAway, engine_client.EngineRefused) as problem:
        raise NotReady(str(problem)) from None


def _relay() -> None:
    lease_ends = Cursor.objects.filter(name=PUSH).values_list("lease_expires_at", flat=True).first()
    if lease_ends is None or lease_ends < timezone.now():
        raise NotReady("No relay holds the lease: start `manage.py relay`.")


def _redis() -> None:
    try:
        redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5).ping()
    except redis.RedisError:
        raise NotReady("Redis does not answer.") from None


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
