"""Billing reads what the other apps really emit: it knows their events by name only."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from django_scopes import scope

from billing import actions, handlers
from billing.models import Usage
from events import catalogue
from events.models import Event

pytestmark = pytest.mark.django_db


def events_of(kind: str, tenant) -> list[Event]:
    """One of each sample that the type's own app gives."""
    samples = catalogue.get(kind).samples()
    return [Event(type=kind, tenant=tenant, payload=one.payload(), occurred_at=timezone.now()) for one in samples]


def test_a_deployment_that_ran_for_ten_seconds_and_samples_that_were_stored_are_metered(acme, monkeypatch):
    now = datetime.fromisoformat("2026-11-23T16:00:00+00:00")
    monkeypatch.setattr(timezone, "now", lambda: now)
    actions.ensure_subscribed(acme, at=now - timedelta(days=2))
    for event in events_of("deployment_update", acme):
        handlers.meter_deployment(event, 1)
    stored = events_of("samples_stored", acme)
    for event in stored:
        handlers.meter_samples(event, 1)
    with scope(tenant=acme):
        used = dict(Usage.objects.values_list("meter", "quantity"))
    began, ended = timedelta(seconds=5, milliseconds=123), timedelta(seconds=15)
    assert used["deployment_minutes"] == round(Decimal((ended - began) / timedelta(minutes=1)), 6)
    assert used["samples_stored"] == sum(event.payload["count"] for event in stored) > 0
