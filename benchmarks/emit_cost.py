"""What `emit()` adds to an action: the same action with its signal's receiver connected and disconnected.

    python -m benchmarks.emit_cost WRITER START      one of several writers, which begin at START (Unix seconds)

The action is the cheapest there is, renaming a tenant: two statements and a commit. Whatever does more work adds less.
Phases with and without the receiver take turns, the same for all writers at once.
"""

import asyncio
import json
import subprocess
import sys
import time
from statistics import median

from benchmarks.stage import Stage

PHASES = 6
PHASE_SECONDS = 2.0
START_WITHIN_SECONDS = 6.0


async def ratio(stage: Stage, writers: int) -> float:
    """How much longer the action takes with its event: the median of three pairs of phases."""
    start = time.time() + START_WITHIN_SECONDS + writers
    counts = await asyncio.gather(*(_writer(stage, number, start) for number in range(writers)))
    done = [sum(of_writer[phase] for of_writer in counts) for phase in range(PHASES)]
    return median(without / with_event for with_event, without in zip(done[::2], done[1::2], strict=True))


async def _writer(stage: Stage, number: int, start: float) -> list[int]:
    command, options = stage.python("benchmarks.emit_cost", number, start)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, **options)
    output, _ = await process.communicate()
    done: list[int] = json.loads(output)
    return done


def write(number: int, start: float) -> list[int]:
    """How often the action was done in each phase; the event is emitted in the even ones."""
    import django

    django.setup()
    from events.models import Event
    from tenants import actions, signals

    tenant = actions.create_tenant(slug=f"writer-{number}-{int(start)}", name="Writer", by=None)
    assert time.time() < start, "the writers came too late: the machine is too busy"
    done, events = [], [Event.objects.with_scopes_disabled().filter(tenant_id=tenant.pk).count()]
    for phase in range(PHASES):
        ends = start + (phase + 1) * PHASE_SECONDS
        signals.tenant_changed.disconnect(signals.say_so)
        if phase % 2 == 0:
            signals.tenant_changed.connect(signals.say_so)
        time.sleep(max(0.0, start + phase * PHASE_SECONDS - time.time()))
        count = 0
        while time.time() < ends:
            actions.update_tenant(tenant, None, name=f"Writer {phase}-{count}")
            count += 1
        done.append(count)
        events.append(Event.objects.with_scopes_disabled().filter(tenant_id=tenant.pk).count() - sum(events))
    assert events[1:] == [count if phase % 2 == 0 else 0 for phase, count in enumerate(done)], (
        f"actions {done} made events {events[1:]}: the receiver was not connected in turn"
    )
    return done


if __name__ == "__main__":
    print(json.dumps(write(int(sys.argv[1]), float(sys.argv[2]))))
