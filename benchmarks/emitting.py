"""Emits events as the product's own processes do, and prints when each was committed.

python -m benchmarks.emitting TENANT at RATE SECONDS     at random moments, so many a second on average
python -m benchmarks.emitting TENANT all COUNT           as fast as it goes, a thousand in a transaction
"""

import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import django

django.setup()

from django.db import connection, transaction  # noqa: E402

from events.catalogue import EventType, register  # noqa: E402
from events.channels import Channel, Topic, tenant  # noqa: E402
from events.emit import emit  # noqa: E402

WRITERS = 8
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


def emit_at(tenant_id: UUID, rate: float, seconds: float) -> dict[str, float]:
    """The moment of each commit (`time.monotonic`), by the event's id. Arrivals are those of a Poisson process."""
    committed: dict[str, float] = {}

    def one(number: int) -> None:
        with transaction.atomic():
            # The first callback of the commit: what rings for the relay comes after it.
            transaction.on_commit(lambda: committed.update({str(event.uuid): time.monotonic()}))
            event = emit(Measured(tenant_id=tenant_id, number=number))

    with ThreadPoolExecutor(WRITERS) as writers:
        warm = list(writers.map(lambda _: connection.ensure_connection(), range(WRITERS)))
        due = time.monotonic()
        for number in range(int(rate * seconds)):
            due += random.expovariate(rate)
            time.sleep(max(0.0, due - time.monotonic()))
            writers.submit(one, number)
    assert len(warm) == WRITERS
    return committed


def emit_all(tenant_id: UUID, count: int) -> None:
    for start in range(0, count, IN_ONE_TRANSACTION):
        with transaction.atomic():
            for number in range(start, min(start + IN_ONE_TRANSACTION, count)):
                emit(Measured(tenant_id=tenant_id, number=number))


if __name__ == "__main__":
    tenant_id, mode, *numbers = sys.argv[1:]
    if mode == "at":
        print(json.dumps(emit_at(UUID(tenant_id), float(numbers[0]), float(numbers[1]))))
    else:
        emit_all(UUID(tenant_id), int(numbers[0]))
