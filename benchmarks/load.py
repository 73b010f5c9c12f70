"""The parts of the table that take a crowd: each opens the stage it needs, on PostgreSQL and Redis as in production."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks import audience, connections, fanout, growth, loading, storm
from benchmarks.stage import stage

PARTS = ("audience", "connections", "storm", "growth")
MEMORY = "10,000 connections with 3 subscriptions, memory for 1,000"
IDLE = "5,000 idle connections, CPU"
BACK = f"{storm.CLIENTS:,} clients back after a restart"
PAGE_MEANWHILE = "the slowest page meanwhile / the median before"
GATE_CALLS = "gate calls a client meanwhile"
GATE_QUERIES = "queries of the gate's meanwhile"
AGAINST = f", against {growth.SIZES[0]} tenants"

#: what is measured, where, unit, number
Add = Callable[[str, str, str, float], None]


def measure(parts: set[str], postgres: str, redis: str, add: Add) -> None:
    """One round. Raises NotHere without Go."""
    with _with_redis(redis):
        if parts & {"audience", "connections", "storm"}:
            loading.built()
        if "audience" in parts:
            _audience(postgres, redis, add)
        if "connections" in parts:
            with stage("PostgreSQL", "centrifugo", postgres) as it:
                held = connections.measure(it)
            add(MEMORY, "Centrifugo", "MB", held.megabytes)
            add(IDLE, "Centrifugo", "% of a core", held.idle_cpu * 100)
        if "storm" in parts:
            with stage("PostgreSQL", "centrifugo", postgres) as it:
                _storm(storm.measure(it), add)
        if "growth" in parts:
            _growth(postgres, add)


@contextmanager
def _with_redis(url: str) -> Iterator[None]:
    """Where the stage's platform makes a Redis database of its own."""
    before = os.environ.get("REDIS_URL")
    os.environ["REDIS_URL"] = url
    try:
        yield
    finally:
        os.environ.pop("REDIS_URL")
        if before is not None:
            os.environ["REDIS_URL"] = before


def _audience(postgres: str, redis: str, add: Add) -> None:
    with stage("PostgreSQL", "centrifugo", postgres) as it:
        for pace in (audience.THOUSAND, audience.TEN_THOUSAND):
            _heard(pace, "product on Centrifugo", audience.product(it, pace), add)
    with stage("PostgreSQL", "process", postgres) as it:
        _heard(audience.THOUSAND, "product on the embedded engine", audience.product(it, audience.THOUSAND), add)
    with_redis = fanout.layers(redis)[-1]
    _heard(audience.THOUSAND, with_redis.name, audience.channels(with_redis, audience.THOUSAND), add)


def speed(pace: audience.Pace) -> str:
    return f"{pace.people:,} open pages, {pace.burst} events at once, delivered"


def _heard(pace: audience.Pace, where: str, heard: audience.Heard, add: Add) -> None:
    steady = f"{pace.people:,} open pages, {pace.rate:g} events/s"
    add(f"{steady}, p50", where, "ms", heard.p50)
    add(f"{steady}, p95", where, "ms", heard.p95)
    add(f"{steady}, undelivered", where, "%", heard.undelivered * 100)
    add(speed(pace), where, "/s", heard.burst_delivered_per_second)
    add(
        f"{pace.people:,} open pages, {pace.burst} events at once, undelivered",
        where,
        "%",
        heard.burst_undelivered * 100,
    )


def _storm(found: storm.Storm, add: Add) -> None:
    add(f"{BACK}, through the gate", "Centrifugo", "s", found.with_gate)
    add(f"{BACK}, without a gate", "Centrifugo", "s", found.without_gate)
    add(f"{BACK}, through the gate / without", "Centrifugo", "x", found.with_gate / found.without_gate)
    add(PAGE_MEANWHILE, "PostgreSQL", "x", found.page_slower)
    add(GATE_CALLS, "Centrifugo", "", found.gate_calls)
    add(GATE_QUERIES, "PostgreSQL", "", found.database_reads)


def _growth(postgres: str, add: Add) -> None:
    """Each cost, and with the most tenants against the fewest."""
    os.environ["DATABASE_URL"] = postgres
    least: dict[str, float] = {}
    for what, tenants, milliseconds in growth.measure():
        add(what, f"{tenants:,} tenants", "ms", milliseconds)
        least.setdefault(what, milliseconds)
        if tenants == growth.SIZES[-1]:
            add(what + AGAINST, f"{tenants:,} tenants", "x", milliseconds / least[what])


def is_growth(what: str) -> bool:
    return what.endswith(AGAINST)
