"""Emits events as the product's own processes do, and prints when each was committed.

python -m benchmarks.emitting TENANT at RATE SECONDS     at random moments, so many a second on average
python -m benchmarks.emitting TENANT outbox RATE SECONDS the same into the table of Centrifugo's own consumer
python -m benchmarks.emitting TENANT spread COUNT        as fast as it goes, for this and seven other tenants in turn
python -m benchmarks.emitting TENANT all COUNT           as fast as it goes, a thousand in a transaction
"""

import json
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from uuid import UUID, uuid5

import django

django.setup()

from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from events.catalogue import EventType, register  # noqa: E402
from events.channels import Channel, Topic, tenant  # noqa: E402
from events.emit import NOBODY, destinations, emit  # noqa: E402
from events.ids import new_id  # noqa: E402
from events.wire import wire  # noqa: E402

WRITERS = 8
#: Among so many a backlog is spread, so that its events don't all go to the same channels.
TENANTS = 8
IN_ONE_TRANSACTION = 1_000


@register
class Measured(EventType):
    """Goes to the tenant's dashboard and, as most events do, to the platform's own channel: two publications."""

    type = "measured"
    number: int
    version: int = 1

    def channels(self) -> list[Channel]:
        assert self.tenant_id
        return [tenant(self.tenant_id, Topic.DASHBOARD)]

    def describe(self, who: str) -> str:
        return f"{who} measured {self.number}"


def ours(tenant_id: UUID, number: int) -> str:
    """Emit an event. Returns its id."""
    return str(emit(Measured(tenant_id=tenant_id, number=number)).uuid)


def into_outbox(tenant_id: UUID, number: int) -> str:
    """Write the same event as one row for Centrifugo's own consumer, to the same two channels. Returns its id."""
    event = Measured(tenant_id=tenant_id, number=number)
    uuid = new_id()
    data = wire(
        number,
        **{"uuid": uuid, "type": event.type, "tenant_id": tenant_id, "occurred_at": timezone.now()},
        **{"actor_kind": "", "actor_id": None, "actor_name": "", "summary": event.describe(NOBODY)},
        payload=event.payload(),
    )
    names = [channel.name for channel in destinations(event, has_actor=False)]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO centrifugo_outbox (method, payload) VALUES ('broadcast', %s)",
            [json.dumps({"channels": names, "data": data})],
        )
    return str(uuid)


def write_at(tenant_id: UUID, rate: float, seconds: float, write: Callable[[UUID, int], str]) -> dict[str, float]:
    """The moment of each commit (`time.monotonic`), by the event's id. Arrivals are those of a Poisson process."""
    committed: dict[str, float] = {}

    def one(number: int) -> None:
        with transaction.atomic():
            # The first callback of the commit: what rings for the relay comes after it.
            transaction.on_commit(lambda: committed.update({uuid: time.monotonic()}))
            uuid = write(tenant_id, number)

    with ThreadPoolExecutor(WRITERS) as writers:
        warm = list(writers.map(lambda _: connection.ensure_connection(), range(WRITERS)))
        due = time.monotonic()
        for number in range(int(rate * seconds)):
            due += random.expovariate(rate)
            time.sleep(max(0.0, due - time.monotonic()))
            writers.submit(one, number)
    assert len(warm) == WRITERS
    return committed


def emit_spread(tenant_id: UUID, count: int) -> None:
    """In turn for this tenant and for others, that need not exist: the log holds tenants by their ids alone."""
    tenants = [tenant_id, *map(uuid5, repeat(tenant_id), map(str, range(1, TENANTS)))]
    for start in range(0, count, IN_ONE_TRANSACTION):
        with transaction.atomic():
            for number in range(start, min(start + IN_ONE_TRANSACTION, count)):
                emit(Measured(tenant_id=tenants[number % TENANTS], number=number))


def emit_all(tenant_id: UUID, count: int) -> None:
    for start in range(0, count, IN_ONE_TRANSACTION):
        with transaction.atomic():
            for number in range(start, min(start + IN_ONE_TRANSACTION, count)):
                emit(Measured(tenant_id=tenant_id, number=number))


if __name__ == "__main__":
    tenant_id, mode, *numbers = sys.argv[1:]
    if mode in ("at", "outbox"):
        write = into_outbox if mode == "outbox" else ours
        print(json.dumps(write_at(UUID(tenant_id), float(numbers[0]), float(numbers[1]), write)))
    elif mode == "spread":
        emit_spread(UUID(tenant_id), int(numbers[0]))
    else:
        emit_all(UUID(tenant_id), int(numbers[0]))
