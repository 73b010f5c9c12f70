"""Acme's billing: meters of every kind, a plan, a subscription since the first of November 2026 in Lisbon."""

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from billing import actions
from billing.actions import Used
from billing.models import Meter, Plan, Subscription

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
PRICES = {
    "fee": "49.00",
    "meters": {
        "minutes": {"included": "500", "tiers": [{"up_to": "1000", "unit": "0.02"}, {"unit": "0.015"}]},
        "disk": {"tiers": [{"unit": "0.10"}]},
        "seats": {"included": "3", "tiers": [{"unit": "9.00"}]},
        "people": {"included": "2", "tiers": [{"unit": "1.50"}]},
    },
}


@pytest.fixture(autouse=True)
def now(monkeypatch) -> datetime:
    """It is the middle of November."""
    now = datetime(2026, 11, 15, 12, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: now)
    return now


@pytest.fixture(autouse=True)
def keys_sign_by_the_real_clock(monkeypatch) -> None:
    """They were made when these tests began, not in that November."""
    monkeypatch.setattr("realtime.keys.timezone", SimpleNamespace(now=lambda: datetime.now(UTC)))


@pytest.fixture
def meters(db) -> dict[str, Meter]:
    kinds = {"minutes": "sum", "disk": "max", "seats": "last", "people": "unique"}
    found = [Meter(slug=slug, name=slug.capitalize(), unit=slug[:-1], aggregation=kind) for slug, kind in kinds.items()]
    found[-1].counted_property = "person"
    return {meter.slug: meter for meter in Meter.objects.bulk_create(found)}


@pytest.fixture
def plan(db) -> Plan:
    return Plan.objects.create(slug="standard", name="Team", currency="EUR", prices=PRICES, published_at=NOVEMBER)


@pytest.fixture
def subscription(acme, meters, plan) -> Subscription:
    acme.time_zone = "Europe/Lisbon"
    acme.save()
    return actions.subscribe(acme, plan, at=NOVEMBER)


def used(key: str, meter: str = "minutes", quantity: Any = 1, day: float = 14, **properties: str) -> Used:
    at = datetime.fromtimestamp(NOVEMBER.timestamp() + (day - 1) * 86_400, UTC)
    return Used(key, meter, Decimal(quantity), at, properties)
