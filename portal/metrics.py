"""What a web process and `pulse` count. Labels have few values: never a person, a channel or a tenant."""

import time
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Histogram

REQUEST_SECONDS = Histogram(
    "neostack_request_seconds",
    "Requests that Django answered, by the name of their address.",
    ["view"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
REQUESTS = Counter("neostack_requests", "The same, by method and kind of answer.", ["method", "status"])
BEAT_SECONDS = Histogram(
    "neostack_beat_seconds", "What pulse does again and again.", ["beat"], buckets=(0.005, 0.02, 0.1, 0.5, 1.0, 5.0)
)
BEAT_FAILURES = Counter("neostack_beat_failures", "What pulse could not do, and tried again.", ["beat"])

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetricsMiddleware:
    """Stands outermost, so that it sees what the others answer by themselves."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        response = self._get_response(request)
        REQUEST_SECONDS.labels(view_of(request)).observe(time.perf_counter() - begun)
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(method, f"{response.status_code // 100}xx").inc()
        return response


def view_of(request: HttpRequest) -> str:
    """The name of the address: one of those in the code, whatever somebody asks for. The admin counts as one."""
    match = request.resolver_match
    if match is None:
        return "none"
    return "admin" if "admin" in match.app_names else match.url_name or "unnamed"
