"""What one of each costs, a connection, a delivery, an event, a page: what `benchmarks.scale` reckons with.

    python -m benchmarks.costs [CLIENTS]     a minute or two; writes benchmarks/measured.json

All of them are CPU time and bytes. A busy machine makes CPU times up to twice as large.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from benchmarks import machine
from benchmarks.loading import crowd, until
from benchmarks.stage import Stage, stage
from tests import services

MEASURED = Path(__file__).parent / "measured.json"
CLIENTS = 4_000
PEOPLE_OF_A_TENANT = 10
PERSONS = 200_000
PUBLICATIONS = 20_000
EVENTS = 5_000
EVENTS_A_SECOND = 200
PAGES = 60
DELIVERED_EVENTS = 100
IDLE_SECONDS = 26.0


def measure(clients: int = CLIENTS) -> dict[str, float]:
    with services.postgres(waits_for_disk=True) as postgres, services.redis() as redis_url:
        os.environ["REDIS_URL"] = redis_url
        found = _in_redis(redis_url)
        with stage("PostgreSQL", "centrifugo", postgres) as it:
            for name in ("beat", "worker", "runner", "pulse"):
                it.platform.stop(name)
            database = _database(it)
            found |= _of_events(it, database)
            found |= _of_pages(it, database)
            found |= _of_connections(it, clients)
    return found


def _in_redis(url: str) -> dict[str, float]:
    """Bytes for each person's generation, and for each publication that a channel's history keeps."""
    from events.ids import new_id

    server = redis.Redis.from_url(url)

    def grown(commands: Callable[[Any, int], None], count: int) -> float:
        before = server.info("memory")["used_memory"]
        for start in range(0, count, 10_000):
            pipeline = server.pipeline(transaction=False)
            for number in range(start, min(start + 10_000, count)):
                commands(pipeline, number)
            pipeline.execute()
        used = (server.info("memory")["used_memory"] - before) / count
        server.flushall()
        return float(used)

    return {
        "redis_bytes_a_person": grown(lambda to, _: to.set(f"neostack:generation:{new_id()}", 1, ex=86_400), PERSONS),
        "redis_bytes_a_publication": grown(
            lambda to, number: to.xadd(f"centrifugo.stream.{number // 100}", {"d": os.urandom(450)}), PUBLICATIONS
        ),
    }


def _of_connections(it: Stage, clients: int) -> dict[str, float]:
    file = it.platform.home / "clients.jsonl"
    (tenant, *_) = it.settle(clients // PEOPLE_OF_A_TENANT, clients, file)
    engine, gate = (psutil.Process(it.platform.pid(name)) for name in ("engine", "gate"))
    before = engine.memory_info().rss
    with crowd(it.client_url, origin=it.platform.url, clients=file) as everybody:
        assert everybody.open().ready == clients
        memory = engine.memory_info().rss - before
        with _cpu(engine) as idle:
            time.sleep(IDLE_SECONDS)
    # Once more: Redis knows everybody now, as it does when they come back.
    with (
        _cpu(engine) as connecting,
        _cpu(gate) as answering,
        crowd(it.client_url, origin=it.platform.url, clients=file) as everybody,
    ):
        assert everybody.open().ready == clients
    one = it.platform.home / "one-tenant.jsonl"
    (tenant,) = it.settle(1, clients, one)
    with crowd(it.client_url, origin=it.platform.url, clients=one) as everybody:
        assert everybody.open().ready == clients
        everybody.zero()
        with _cpu(engine) as delivering:
            it.emit(tenant, "all", DELIVERED_EVENTS)
            assert until(lambda: everybody.count().received == clients * DELIVERED_EVENTS, seconds=120)
    return {
        "engine_bytes_a_connection": memory / clients,
        "engine_idle_cpu_us_a_connection_second": idle[0] / clients / IDLE_SECONDS * 1e6,
        "engine_cpu_us_a_connect": connecting[0] / clients * 1e6,
        "gate_cpu_us_a_connect": answering[0] / clients * 1e6,
        "engine_cpu_us_a_delivery": delivering[0] / clients / DELIVERED_EVENTS * 1e6,
    }


def _of_events(it: Stage, database: psutil.Process) -> dict[str, float]:
    """The database's CPU for each event at a steady pace, and its bytes, indexes included; the relay's with a backlog.

    The log has something in it, and the planner knows that. A relay with little to do looks often and pushes few at a
    time: only a backlog tells what it can do at most.
    """
    it.emit(it.acme.id, "all", EVENTS)
    _wait_pushed(it)
    it.analyze()
    size = _log_bytes(it)
    with _cpu(database) as storing:
        it.emit(it.acme.id, "at", EVENTS_A_SECOND, EVENTS / EVENTS_A_SECOND)
        _wait_pushed(it)
    kept = _log_bytes(it) - size
    with _cpu(psutil.Process(it.platform.pid("relay"))) as relaying:
        it.emit(it.acme.id, "all", EVENTS)
        _wait_pushed(it)
    return {
        "relay_cpu_us_an_event": relaying[0] / EVENTS * 1e6,
        "database_cpu_us_an_event": storing[0] / EVENTS * 1e6,
        "database_bytes_an_event": kept / EVENTS,
    }


def _wait_pushed(it: Stage) -> None:
    is_pushed = until(lambda: not {"numbering", "push"} & it.platform.inside.behind().keys(), seconds=60)
    assert is_pushed, "the relay has pushed them all"


def _of_pages(it: Stage, database: psutil.Process) -> dict[str, float]:
    web = psutil.Process(it.platform.pid("web"))
    it.alice.get("/t/acme/").raise_for_status()
    with _cpu(web) as rendering, _cpu(database) as reading:
        for _ in range(PAGES):
            it.alice.get("/t/acme/").raise_for_status()
    return {
        "web_cpu_ms_a_page": rendering[0] / PAGES * 1e3,
        "database_cpu_ms_a_page": reading[0] / PAGES * 1e3,
    }


def _log_bytes(it: Stage) -> int:
    tables = ("events_event", "events_entry", "events_push")
    with psycopg.connect(it.platform.database.url, autocommit=True) as connection:
        sizes = [connection.execute("SELECT pg_total_relation_size(%s)", [table]).fetchone() for table in tables]
    return sum(size for (size,) in sizes)


def _database(it: Stage) -> psutil.Process:
    """PostgreSQL's first process: the others are its children."""
    with psycopg.connect(it.platform.database.url) as connection:
        return psutil.Process(connection.info.backend_pid).parent()


@contextmanager
def _cpu(process: psutil.Process) -> Iterator[list[float]]:
    """The list's one number is the CPU seconds that the process and its children took meanwhile."""
    before, found = _cpu_seconds(process), [0.0]
    yield found
    found[0] = sum(max(0.0, now - before.get(pid, 0.0)) for pid, now in _cpu_seconds(process).items())


def _cpu_seconds(process: psutil.Process) -> dict[int, float]:
    seconds = {}
    for one in (process, *process.children(recursive=True)):
        try:
            seconds[one.pid] = sum(one.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return seconds


if __name__ == "__main__":
    found = measure(*map(int, sys.argv[1:]))
    about = {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "on": list(machine.lines())}
    MEASURED.write_text(json.dumps(about | {"costs": found}, indent=2) + "\n")
    print(MEASURED.read_text())
