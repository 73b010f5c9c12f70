"""What the apps really emit is what the handlers of notifications read: they agree on nothing but the events."""

from collections.abc import Iterator
from enum import EnumType
from typing import Any, get_args
from uuid import UUID

import pytest
from django.db import transaction

from events import catalogue, handling
from events.catalogue import EventType
from events.emit import emit
from notifications import handlers
from notifications.kinds import KINDS
from notifications.models import Notification

OURS = [handler for handler in handling.all_handlers() if handler.name.startswith("notify_of_")]
SAMPLES = [
    pytest.param(handler, sample, id=f"{handler.name}-{sample.type}-{number}")
    for handler in OURS
    for name in sorted(handler.types)
    for number, sample in enumerate(catalogue.get(name).samples())
]


@pytest.mark.parametrize(("handler", "sample"), SAMPLES)
def test_a_handler_takes_every_sample_of_its_types(acme, alice, platform_admin, handler, sample: EventType):
    with transaction.atomic():
        event = emit(sample.model_copy(update={"tenant_id": acme.pk}) if sample.tenant_id else sample)
    handler.function(event, 1)
    for told in Notification.objects.all():
        assert told.user in (alice.user, platform_admin.user)
        assert told.title
        assert "{" not in told.title


def in_every_state(sample: EventType) -> Iterator[EventType]:
    """As it is, and as whatever else its type knows."""
    yield sample
    for name in ("status", "event", "state", "reason"):
        if field := type(sample).model_fields.get(name):
            known: Any = field.annotation
            values = get_args(known) or (known if isinstance(known, EnumType) else ())
            yield from (sample.model_copy(update={name: value}) for value in values)


def test_the_kinds_that_the_handlers_send_are_those_that_people_choose_from(acme, alice, monkeypatch):
    sent = set()
    monkeypatch.setattr(handlers, "notify", lambda people, message: sent.add(message.kind))
    for handler in OURS:
        for name in handler.types:
            for sample in [found for one in catalogue.get(name).samples() for found in in_every_state(one)]:
                here = {"tenant_id": acme.pk} | (
                    {"user_id": alice.user.pk} if "user_id" in type(sample).model_fields else {}
                )
                with transaction.atomic():
                    event = emit(sample.model_copy(update=here))
                handler.function(event, 1)
    assert sent == {kind.name for kind in KINDS}


@pytest.mark.parametrize(
    ("name", "is_loud"),
    [
        ("invoice_event", lambda sample: sample.event in ("created", "paid", "failed", "refunded")),
        ("usage_update", lambda sample: sample.threshold),
        ("alert", lambda sample: sample.state == "firing"),
    ],
)
def test_what_is_news_reaches_the_tenants_admin(acme, alice, bob, name, is_loud):
    loud = [sample for sample in catalogue.get(name).samples() if is_loud(sample)]
    assert loud
    for sample in loud:
        with transaction.atomic():
            event = emit(sample.model_copy(update={"tenant_id": acme.pk}))
        for handler in OURS:
            if name in handler.types:
                handler.function(event, 1)
        assert Notification.objects.filter(user=alice.user, source=event.uuid).exists()
    assert not Notification.objects.filter(user=bob.user).exists()


def test_an_escalation_finds_its_people(acme, alice, bob):
    sample = next(iter(catalogue.get("alert_escalated").samples()))
    called = {"tenant_id": acme.pk, "people": [alice.user.pk, UUID(int=5)], "ways": ["in_app"]}
    with transaction.atomic():
        event = emit(sample.model_copy(update=called))
    handling.get("notify_of_escalations").function(event, 1)
    assert Notification.objects.get(source=event.uuid).user == alice.user
