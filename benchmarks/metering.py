"""Usage and invoices at scale, in processes of their own with the product's settings.

python -m benchmarks.metering keys COUNT                  new tenants with a plan; prints a key with usage:write of each
python -m benchmarks.metering post URL SECONDS            the keys come on stdin: batches over HTTP; prints records/s
python -m benchmarks.metering close COUNT                 closes a month of so many tenants; prints seconds
"""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

BATCH = 100
#: Records that each tenant's month has.
RECORDS = 20


def subscribed(count: int, began: datetime) -> list[Any]:
    """New tenants with a plan since then."""
    from billing import actions as billing
    from tenants.models import Tenant

    mark = uuid4().hex[:8]
    made = [Tenant(slug=f"metered-{mark}-{number}", name=f"Metered {number}") for number in range(count)]
    Tenant.objects.bulk_create(made)
    for tenant in made:
        billing.subscribe(tenant, billing.offered("team"), at=began)
    return made


def keys(count: int) -> list[str]:
    """One of each of so many new tenants."""
    from tenants.actions import create_api_key

    made = subscribed(count, datetime.now(UTC) - timedelta(minutes=1))
    return [create_api_key(tenant, "usage", ["usage:write"], by=None)[1] for tenant in made]


async def post(url: str, keys: list[str], seconds: float) -> float:
    """Records accepted a second: each key's service sends its next batch when the last one was answered."""
    until = time.monotonic() + seconds

    async def service(key: str) -> int:
        accepted = 0
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Api-Key {key}"}, timeout=30) as http:
            while time.monotonic() < until:
                response = await http.post("/api/billing/usage", json=batch())
                response.raise_for_status()
                accepted += response.json()["stored"]
        return accepted

    began = time.monotonic()
    accepted = sum(await asyncio.gather(*map(service, keys)))
    return accepted / (time.monotonic() - began)


def batch() -> dict[str, object]:
    at, mark = datetime.now(UTC).isoformat(), uuid4().hex
    meters = ("deployment_minutes", "samples_stored")
    records = [
        {"idempotency_key": f"{mark}-{n}", "meter": meters[n % 2], "quantity": f"{n}.5", "at": at} for n in range(BATCH)
    ]
    return {"records": records}


def close(count: int) -> float:
    """Seconds to invoice a month of so many tenants, records and all, in one process."""
    from decimal import Decimal

    from django.utils import timezone

    from billing import actions as billing
    from billing import invoicing
    from billing.actions import Used

    began = timezone.now() - timedelta(days=32)
    for tenant in subscribed(count, began):
        used = [Used(f"{n}", "deployment_minutes", Decimal(n * 10), began) for n in range(RECORDS)]
        billing.record(tenant, used)
    start = time.perf_counter()
    closed = invoicing.close_what_is_over()
    took = time.perf_counter() - start
    assert closed >= count, closed
    return took * count / closed


def main(what: str, *arguments: str) -> None:
    if what == "post":
        print(asyncio.run(post(arguments[0], json.loads(sys.stdin.read()), float(arguments[1]))))
        return
    import django

    django.setup()
    if what == "keys":
        print(json.dumps(keys(int(arguments[0]))))
    else:
        print(close(int(arguments[0])))


if __name__ == "__main__":
    main(*sys.argv[1:])
