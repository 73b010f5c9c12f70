"""What Prometheus is told about the platform as a whole. Only `pulse` says it, so that each fact is said once.

`pulse` looks at the platform all the time anyway: a scrape gets what it saw last, with no query and no wait, also while
the database is away. How old that is, is a fact too. Labels are names that stand in the code: parts, cursors, states.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection
from django.db.models import Count, Max, Min, Q
from django.db.models.functions import Now
from django_scopes import scopes_disabled
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deployments.models import ACTIVE, Deployment, Status
from events import heartbeats, log
from portal.ops.health import PROCESSES, Health, State

STOCK_EVERY_SECONDS = 10.0
#: The greater, the worse.
LEVELS = {State.OK: 0, State.DEGRADED: 1, State.FAILED: 2}


@dataclass(frozen=True, slots=True)
class Stock:
    """What is counted less often than looked at. `processes`: those alive, by kind; `deployments`: unfinished ones."""

    processes: Mapping[str, int]
    deployments: Mapping[str, int]
    queued_seconds: float
    log_entries: int
    database_bytes: int


@dataclass(eq=False)
class Facts(Collector):
    """The platform as `pulse` saw it last; nothing before it has looked."""

    _health: Health | None = None
    _stock: Stock | None = None
    _looked_at: float = field(default_factory=time.monotonic)

    def saw(self, health: Health) -> None:
        self._health, self._looked_at = health, time.monotonic()

    def take_stock(self) -> None:
        self._stock = None  # while this can't be counted, nothing old is said
        self._stock = take_stock()

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        age = time.monotonic() - self._looked_at
        yield _gauge("neostack_looked_seconds_ago", "Since pulse looked at the platform, or was started.", age)
        if self._health:
            yield from _of_health(self._health)
        if self._stock:
            yield from _of_stock(self._stock)


FACTS = Facts()


@scopes_disabled()
def take_stock() -> Stock:
    """A handful of queries, each answered by an index or of few rows."""
    alive = [process.kind for process in heartbeats.all_processes() if process.is_alive]
    unfinished = Deployment.objects.filter(status__in=[Status.QUEUED, *ACTIVE]).order_by()
    counts = dict(unfinished.values_list("status").annotate(Count("pk")))
    oldest = unfinished.aggregate(now=Max(Now()), queued=Min("created_at", filter=Q(status=Status.QUEUED)))
    return Stock(
        processes={kind: alive.count(kind) for kind in PROCESSES},
        deployments={status: counts.get(status, 0) for status in (Status.QUEUED, *ACTIVE)},
        queued_seconds=_seconds(oldest["queued"], oldest["now"]),
        log_entries=log.newest_seq() - log.oldest_seq() + 1,
        database_bytes=_database_bytes(),
    )


def _database_bytes() -> int:
    pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    sql = "SELECT pg_database_size(current_database())" if connection.vendor == "postgresql" else pages
    with connection.cursor() as cursor:
        cursor.execute(sql)
        (found,) = cursor.fetchone()
    return int(found)


def _of_health(health: Health) -> Iterator[Metric]:
    """Without the database there are parts only: what is not known is not said."""
    states = {part.name: float(LEVELS[part.state]) for part in health.parts}
    yield _gauge("neostack_part_state", "0: well, 1: worth a look, 2: something stands still.", states, "part")
    if health.engine.connections is not None:
        yield _gauge("neostack_engine_connections", "Of all nodes, as the engine says.", health.engine.connections)
    if health.database_is_away:
        return
    yield _gauge("neostack_log_seq", "The last sequence number given.", health.newest_seq)
    cursors = {cursor.name: cursor for cursor in health.cursors}
    for name, help_text, value in (
        ("lag", "Events a cursor has not dealt with.", lambda cursor: cursor.lag),
        ("attempts", "How often the cursor's next event has failed.", lambda cursor: cursor.attempts),
        ("waiting_seconds", "How long the next event has waited.", lambda c: _seconds(c.waiting_since, health.at)),
        ("dead_letters", "What the cursor gave up, waiting for a decision.", lambda cursor: cursor.dead_letters),
    ):
        values = {one: float(value(cursor)) for one, cursor in cursors.items()}
        yield _gauge(f"neostack_cursor_{name}", help_text, values, "cursor")


def _of_stock(stock: Stock) -> Iterator[Metric]:
    yield _gauge("neostack_processes", "Processes that say they are alive.", stock.processes, "kind")
    yield _gauge("neostack_deployments", "Deployments that have not ended.", stock.deployments, "status")
    yield _gauge("neostack_deployment_queued_seconds", "How long the oldest has been queued.", stock.queued_seconds)
    yield _gauge("neostack_log_entries", "Events in the log, those gone early among them.", stock.log_entries)
    yield _gauge("neostack_database_bytes", "The size of the database.", stock.database_bytes)


def _gauge(name: str, help_text: str, value: float | Mapping[str, float], label: str = "") -> Metric:
    if not isinstance(value, Mapping):
        return GaugeMetricFamily(name, help_text, value=value)
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for key, number in value.items():
        family.add_metric([key], number)
    return family


def _seconds(since: datetime | None, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds()) if since else 0.0
