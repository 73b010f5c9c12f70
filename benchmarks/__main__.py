"""Measure what the product costs and print one table.

    python -m benchmarks [--rounds 3] [--only latency drain emit pages usage closing alerts fanout audience ...]

Needs PostgreSQL, Redis, the real Centrifugo and Go for the whole table; says what it had to leave out.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks import alerting, audience, emit_cost, fanout, growth, invoices, load, log, machine, outbox, pages
from benchmarks.stage import Stage, stage
from tests import services

STAGED = ("latency", "drain", "emit", "pages", "usage", "closing", "alerts")
OF_EACH_ENGINE = {"latency", "drain"}
#: What measures the database, so that it is left alone with it.
ALONE = {"emit", "alerts", "closing"}
PARTS = (*STAGED, "fanout", *load.PARTS)
#: SQLite, with one writer at a time, is not asked for more.
FASTEST_ON_SQLITE = 500
CONSUMER = "Centrifugo's own PostgreSQL consumer"
WRITERS = (1, 8)


class Table:
    """Rows in the order they came up, each with one number a round."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str, str], list[float]] = defaultdict(list)

    def add(self, what: str, where: str, unit: str, number: float) -> None:
        self._numbers[what, where, unit].append(number)
        print(f"  {what} · {where}: {shown(number)} {unit}", flush=True)

    def median(self, what: str, where: str) -> float | None:
        found = [numbers for (a, b, _), numbers in self._numbers.items() if (a, b) == (what, where)]
        return median(found[0]) if found else None

    def lines(self) -> Iterator[str]:
        yield "| what | where | median | rounds |"
        yield "|---|---|---|---|"
        for (what, where, unit), numbers in self._numbers.items():
            rounds = ", ".join(shown(number) for number in numbers)
            yield f"| {what} | {where} | **{shown(median(numbers))}** {unit} | {rounds} |"

    def whats(self) -> list[str]:
        return list(dict.fromkeys(what for what, _, _ in self._numbers))


def shown(number: float) -> str:
    return f"{number:,.0f}" if number >= 1_000 else f"{number:.3g}"


def measure_stage(it: Stage, parts: set[str], table: Table) -> None:
    if "latency" in parts:
        measure_latency(it, table)
    if "drain" in parts:
        table.add("backlog drained", it.name, "publications/s", asyncio.run(log.drained(it)))
    if it.engine != "process":
        return  # what follows doesn't depend on the engine
    if "pages" in parts:
        for name, milliseconds in pages.times(it, pages.furnish(it)):
            table.add(f"page: {name}", it.database, "ms", milliseconds)
    if "usage" in parts:
        table.add("usage records accepted, in batches of 100", it.database, "records/s", invoices.accepted(it))
    if parts & ALONE:
        with it.only_the_database():
            measure_alone(it, parts, table)


def measure_alone(it: Stage, parts: set[str], table: Table) -> None:
    if "emit" in parts:
        for writers in WRITERS:
            ratio = asyncio.run(emit_cost.ratio(it, writers))
            table.add(f"action with emit() / without, {writers} at once", it.database, "x", ratio)
    if "alerts" in parts:
        found = alerting.rates(it)
        table.add("alert rules evaluated", it.database, "rules/s", found["evaluated"])
        table.add("alerts fired at once", it.database, "alerts/s", found["fired"])
    if "closing" in parts:
        table.add(f"closing a month of {invoices.TENANTS:,} tenants", it.database, "s", invoices.closing(it))


def measure_latency(it: Stage, table: Table) -> None:
    """Ours and, where there is one, Centrifugo's own consumer in turn, rate by rate."""
    hows = {"at": it.name}
    if it.name == "PostgreSQL, Centrifugo":
        outbox.consume(it)
        hows["outbox"] = CONSUMER
    for how in hows:
        log.warm_up(it, how)
    for rate in log.RATES:
        if rate > FASTEST_ON_SQLITE and it.database == "SQLite":
            continue
        for how, where in hows.items():
            took = asyncio.run(log.latency(it, rate, how))
            for name in ("p50", "p95", "p99"):
                table.add(f"commit to subscriber, {rate:,} events/s, {name}", where, "ms", getattr(took, name))
            if took.rate < 0.9 * rate:
                table.add(f"commit to subscriber, {rate:,} events/s, reached", where, "events/s", took.rate)


def measure_fan_out(redis_url: str, table: Table) -> None:
    with tempfile.TemporaryDirectory(prefix="neo-bench-") as home:
        for server in [*fanout.engines(Path(home)), *fanout.layers(redis_url)]:
            found = asyncio.run(fanout.fan_out(server))
            to = f"fan-out to {fanout.SUBSCRIBERS:,}"
            table.add(f"{to}, until the last has it", server.name, "ms", found.everybody_ms)
            table.add(f"{to}, the server's CPU a delivery", server.name, "µs", found.cpu_us)
            table.add(f"{to}, delivered of {fanout.BURST} at once", server.name, "%", found.burst_delivered * 100)


def goals(table: Table) -> Iterator[str]:
    """What is aimed at, on PostgreSQL, beside what was measured."""
    for engine in ("embedded engine", "Centrifugo"):
        where = f"PostgreSQL, {engine}"
        yield _goal(table, "commit to subscriber, 100 events/s, p95", where, 8, at_most=True)
        yield _goal(table, "backlog drained", where, 20_000 if engine == "Centrifugo" else 10_000)
    yield _goal(table, "backlog drained", "PostgreSQL, Centrifugo on Redis", 10_000)
    what = "commit to subscriber, 500 events/s, p95"
    ours, theirs = table.median(what, "PostgreSQL, Centrifugo"), table.median(what, CONSUMER)
    if ours and theirs:
        yield _judged(f"{what}, ours against {CONSUMER}", ours / theirs, 1.5, True)
    yield _goal(table, "usage records accepted, in batches of 100", "PostgreSQL", 2_000)
    for writers in WRITERS:
        yield _goal(table, f"action with emit() / without, {writers} at once", "PostgreSQL", 1.3, at_most=True)
    what = f"fan-out to {fanout.SUBSCRIBERS:,}, the server's CPU a delivery"
    ours, theirs = table.median(what, "embedded engine"), table.median(what, "Channels, in-memory layer")
    if ours and theirs:
        yield _judged("embedded engine against Channels' in-memory layer, CPU a delivery", theirs / ours, 5, False)
    what = f"fan-out to {fanout.SUBSCRIBERS:,}, until the last has it"
    ours, theirs = table.median(what, "embedded engine"), table.median(what, "Channels, in-memory layer")
    if ours and theirs:
        yield _judged(
            "embedded engine against Channels' in-memory layer, until the last has it", theirs / ours, 5, False
        )

    yield from _goals_under_load(table)


def _goals_under_load(table: Table) -> Iterator[str]:
    what = load.speed(audience.THOUSAND)
    ours, theirs = table.median(what, "product on Centrifugo"), table.median(what, "Channels, channels_redis")
    if ours and theirs:
        yield _judged("product on Centrifugo against channels_redis, delivered/s", ours / theirs, 20, False)
    yield _goal(table, load.MEMORY, "Centrifugo", 40, at_most=True)
    yield _goal(table, load.IDLE, "Centrifugo", 10, at_most=True)
    yield _goal(table, f"{load.BACK}, through the gate / without", "Centrifugo", 2.5, at_most=True)
    yield _goal(table, load.PAGE_MEANWHILE, "PostgreSQL", 5, at_most=True)
    yield _goal(table, load.GATE_CALLS, "Centrifugo", 1, at_most=True)
    yield _goal(table, load.GATE_QUERIES, "PostgreSQL", 0, at_most=True)
    for what in filter(load.is_growth, table.whats()):
        yield _goal(table, what, f"{growth.SIZES[-1]:,} tenants", 1.1, at_most=True)


def _goal(table: Table, what: str, where: str, goal: float, *, at_most: bool = False) -> str:
    number = table.median(what, where)
    return "" if number is None else _judged(f"{what}, {where}", number, goal, at_most)


def _judged(what: str, number: float, goal: float, at_most: bool) -> str:
    is_met = number <= goal if at_most else number >= goal
    side = "at most" if at_most else "at least"
    return f"{'met   ' if is_met else 'MISSED'} {what}: {shown(number)} ({side} {shown(goal)})"


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    given = arguments.parse_args()
    parts, table, about, left_out = set(given.only), Table(), list(machine.lines()), []
    print("\n".join(about), flush=True)
    with ExitStack() as stack:
        addresses = {"SQLite": ""}
        try:
            addresses["PostgreSQL"] = stack.enter_context(services.postgres(waits_for_disk=True))
        except services.NotHere as reason:
            left_out.append(str(reason))
        try:
            redis_url = stack.enter_context(services.redis())
        except services.NotHere as reason:
            redis_url = ""
            left_out.append(str(reason))
        engines = ["process", *(["centrifugo"] if services.has_centrifugo() else [])]
        if len(engines) == 1:
            left_out.append("Centrifugo is not built (make centrifugo)")
        for number in range(given.rounds):
            print(f"\nRound {number + 1} of {given.rounds}", flush=True)
            if parts & set(STAGED):
                for database, url in addresses.items():
                    for engine in engines if parts & OF_EACH_ENGINE else engines[:1]:
                        with stage(database, engine, url) as it:
                            measure_stage(it, parts, table)
                if "drain" in parts and redis_url and "PostgreSQL" in addresses and "centrifugo" in engines:
                    with stage("PostgreSQL", "redis", addresses["PostgreSQL"], redis_url) as it:
                        measure_stage(it, {"drain"}, table)
            if "fanout" in parts:
                measure_fan_out(redis_url, table)
            if parts & set(load.PARTS):
                try:
                    load.measure(parts, addresses.get("PostgreSQL", ""), redis_url, table.add)
                except services.NotHere as reason:
                    left_out.append(str(reason))
    print("\n" + "\n".join([*about, "", *table.lines(), "", *filter(None, goals(table))]))
    for reason in left_out:
        print(f"Left out: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
