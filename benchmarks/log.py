"""The log's path: how long from commit to subscriber, and how fast a backlog goes out."""

import asyncio
import json
import subprocess
from dataclasses import dataclass
from uuid import UUID

from benchmarks.listening import Listener
from benchmarks.stage import Stage
from events.channels import Topic, tenant

#: Events a second, and for how many seconds.
RATES = {100: 8.0, 500: 6.0, 2_000: 4.0}
BACKLOG = 20_000
#: The backlog is of so many tenants in turn; the listener hears those of the first.
TENANTS = 8
#: Each event goes to its tenant's channel and to the platform's.
PUBLICATIONS_AN_EVENT = 2
#: The first of a backlog are left out: the relay has only just begun.
WARM_UP = 2_000


@dataclass(frozen=True)
class Latency:
    """From the commit's return to the subscriber, in milliseconds."""

    p50: float
    p95: float
    p99: float
    #: So many events a second the writers really committed.
    rate: float


def warm_up(stage: Stage, how: str) -> None:
    """Some events that are not measured: after them every process has loaded what it needs, and the planner knows the
    tables, which PostgreSQL otherwise finds out within its first minute."""
    asyncio.run(latency(stage, 500, how))
    stage.analyze()


async def latency(stage: Stage, rate: int, how: str = "at") -> Latency:
    """`how`: "at" for ours, "outbox" for Centrifugo's own consumer (see `benchmarks.outbox`)."""
    seconds = RATES[rate]
    listener = await Listener().open(stage.alice, stage.acme, channel(stage))
    command, options = stage.python("benchmarks.emitting", stage.acme.id, how, rate, seconds)
    emitter = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, **options)
    reading = asyncio.create_task(listener.wait_for(int(rate * seconds)))
    output, _ = await emitter.communicate()
    await reading
    await listener.close()
    committed = json.loads(output)
    assert listener.arrivals.keys() == committed.keys(), "every event that was committed arrived, and nothing else"
    assert listener.is_in_order or how == "outbox"
    took = sorted((listener.arrivals[event] - at) * 1_000 for event, at in committed.items())
    reached = (len(committed) - 1) / (max(committed.values()) - min(committed.values()))
    return Latency(*(took[int(len(took) * part)] for part in (0.5, 0.95, 0.99)), rate=reached)


async def drained(stage: Stage) -> float:
    """Publications a second that the relay pushes out of a backlog."""
    # The worker pushes too where no relay does.
    for name in ("beat", "worker", "relay"):
        stage.platform.stop(name)
    command, options = stage.python("benchmarks.emitting", stage.acme.id, "spread", BACKLOG)
    await (await asyncio.create_subprocess_exec(*command, **options)).wait()
    listener = await Listener().open(stage.alice, stage.acme, channel(stage))
    stage.platform.start("relay")
    await listener.wait_for(BACKLOG // TENANTS)
    await listener.close()
    stage.platform.ensure_all()
    assert listener.is_in_order
    moments = sorted(listener.arrivals.values())
    events = (BACKLOG - WARM_UP) / (moments[-1] - moments[WARM_UP // TENANTS])
    return events * PUBLICATIONS_AN_EVENT


def channel(stage: Stage) -> str:
    return tenant(UUID(stage.acme.id), Topic.DASHBOARD).name
