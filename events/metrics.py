"""What relay and handlers count, for Prometheus. Labels have few values: never a person, a channel or a tenant."""

from collections.abc import Iterable
from datetime import datetime

from django.utils import timezone
from prometheus_client import Counter, Gauge, Histogram

DELIVERY_SECONDS = Histogram(
    "neostack_delivery_seconds",
    "From emit() until the engine has taken the event for its channels.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0),
)


def delivered(emitted: Iterable[datetime]) -> None:
    """The engine has just taken events that were emitted at these moments. Costs the relay a microsecond an event."""
    now = timezone.now().timestamp()
    for moment in emitted:
        DELIVERY_SECONDS.observe(max(0.0, now - moment.timestamp()))  # clocks of two machines may differ


PUBLICATIONS = Counter(
    "neostack_pushed_publications", "Events given to the engine, each channel counted, by what it said.", ["outcome"]
)
PUSH_FAILURES = Counter("neostack_push_failures", "Batches to be tried again, by the part that was away.", ["part"])
RELAY_ACTIVE = Gauge("neostack_relay_active", "1 for the relay that numbers and pushes, 0 for one that stands by.")
HANDLER_SECONDS = Histogram(
    "neostack_handler_seconds",
    "Calls of handlers.",
    ["handler", "outcome"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0),
)

for _outcome in ("accepted", "repeat", "refused"):
    PUBLICATIONS.labels(_outcome)  # known from the start, so that a first one is seen as a rise
for _part in ("engine", "redis"):
    PUSH_FAILURES.labels(_part)
