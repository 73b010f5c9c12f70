"""What relay and handlers count, for Prometheus. Labels have few values: never a person, a channel or a tenant."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import accumulate

from django.utils import timezone
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

#: Seconds, the upper ends of the buckets of a delivery.
DELIVERY_BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class DeliveryTimes(Collector):
    """A histogram that takes a batch at a time: the client's own costs the relay ten times as much for each event."""

    def __init__(self) -> None:
        self._counts = [0] * (len(DELIVERY_BOUNDS) + 1)
        self._sum = 0.0

    def note(self, emitted: Iterable[datetime]) -> None:
        """The engine has just taken events that were emitted at these moments. For one thread."""
        now = timezone.now().timestamp()
        for moment in emitted:
            seconds = max(0.0, now - moment.timestamp())  # clocks of two machines may differ
            self._counts[bisect_left(DELIVERY_BOUNDS, seconds)] += 1
            self._sum += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        ends = [*(str(bound) for bound in DELIVERY_BOUNDS), "+Inf"]
        buckets = list(zip(ends, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(
            "neostack_delivery_seconds",
            "From emit() until the engine has taken the event for its channels.",
            buckets=buckets,
            sum_value=self._sum,
        )


DELIVERY = DeliveryTimes()
REGISTRY.register(DELIVERY)
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
