"""Ten thousand open pages on one Centrifugo: what they hold of its memory, and what they cost while nothing happens."""

import time
from dataclasses import dataclass

import psutil

from benchmarks.loading import crowd
from benchmarks.stage import Stage

CONNECTIONS = 10_000
#: As a company of ours: its people share two channels, and each has an inbox.
PEOPLE_OF_A_TENANT = 10
#: Longer than the 25 s between two pings, so that each connection's is in it.
IDLE_SECONDS = 26.0


@dataclass(frozen=True)
class Connections:
    """`megabytes`: of memory (RSS) for a thousand. `idle_cpu`: of one core, in parts, with half of them connected."""

    megabytes: float
    idle_cpu: float


def measure(stage: Stage, count: int = CONNECTIONS) -> Connections:
    halves = [stage.platform.home / f"half-{number}.jsonl" for number in (1, 2)]
    for file in halves:
        stage.settle(count // 2 // PEOPLE_OF_A_TENANT, count // 2, file)
    engine = psutil.Process(stage.platform.pid("engine"))
    before = engine.memory_info().rss
    first, second = (crowd(stage.client_url, origin=stage.platform.url, clients=file) for file in halves)
    with first as one, second as other:
        assert one.open().ready == count // 2
        idle = _cpu_of(engine, IDLE_SECONDS)
        assert other.open().ready == count // 2
        megabytes = (engine.memory_info().rss - before) / 2**20
    return Connections(megabytes / count * 1_000, idle)


def _cpu_of(process: psutil.Process, seconds: float) -> float:
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
