"""An event comes to be in the transaction of the change it reports, or not at all."""

import uuid

import pytest
from django.db import transaction
from django_scopes import scopes_disabled

from events import catalogue, channels
from events.catalogue import EventType, UnknownType
from events.channels import Topic
from events.emit import NotInTransaction, emit
from events.models import Event
from events.tests.conftest import Happened


@pytest.fixture(autouse=True)
def _platform_wide():
    with scopes_disabled():
        yield


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_nothing_is_emitted(acme):
    with pytest.raises(NotInTransaction):
        emit(Happened(tenant_id=acme.id, thing=1))
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_rolled_back_leaves_no_event(acme):
    with transaction.atomic():
        acme.name = "Acme & Sons"
        acme.save()
        emit(Happened(tenant_id=acme.id, thing=1))
        transaction.set_rollback(True)
    assert not Event.objects.exists()


@pytest.mark.django_db
def test_a_type_that_no_app_registered_is_refused(acme):
    class Unheard(Happened):
        type = "test_unheard"

    with pytest.raises(UnknownType):
        emit(Unheard(tenant_id=acme.id, thing=1))


@pytest.mark.parametrize("fields", [{}, {"thing": 1, "colour": "red"}, {"thing": "many"}])
def test_a_missing_field_an_extra_one_and_a_wrong_one_are_refused(fields):
    with pytest.raises(ValueError):
        Happened(tenant_id=uuid.uuid4(), **fields)


@pytest.mark.django_db
def test_what_json_cannot_carry_does_not_get_into_the_log(acme):
    with pytest.raises(TypeError):
        emit(Happened(tenant_id=acme.id, thing=2**64))
    assert not Event.objects.exists()


@pytest.mark.django_db
def test_what_alice_does_is_also_her_tenants_activity(alice, acme):
    event = emit(Happened(tenant_id=acme.id, thing=1), by=alice.user)
    assert event.channels == [
        channels.tenant(acme.id, Topic.DASHBOARD).name,
        channels.tenant(acme.id, Topic.ACTIVITY).name,
    ]
    assert (event.actor_kind, event.actor_id, event.actor_name) == ("person", alice.user.id, "Alice")


@pytest.mark.django_db
def test_the_wire_format_is_the_envelope_and_flat_beside_it_the_fields(alice, acme):
    event = emit(Happened(tenant_id=acme.id, thing=7, version=3), by=alice.user)
    assert event.wire(seq=1042) == {
        "id": str(event.uuid),
        "seq": 1042,
        "v": 1,
        "type": "test_happened",
        "tenantId": str(acme.id),
        "timestamp": event.occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "actor": {"kind": "person", "id": str(alice.user.id), "name": "Alice"},
        "summary": "Alice saw 7 happen",
        "thing": 7,
        "version": 3,
        "note": "",
    }
    assert uuid.UUID(event.wire(seq=1)["id"]).version == 7


@pytest.mark.django_db
def test_where_nobody_acted_the_actor_is_null(acme):
    event = emit(Happened(tenant_id=acme.id, thing=1))
    assert event.wire(seq=1)["actor"] is None
    assert event.summary == "NEO_STACK saw 1 happen"


@pytest.mark.parametrize("kind", catalogue.all_types(), ids=lambda kind: kind.type)
def test_every_type_has_samples_that_fit_its_schema(kind: type[EventType]):
    samples = list(kind.samples())
    assert samples
    for sample in samples:
        assert kind(**sample.model_dump()) == sample
        assert not catalogue.ENVELOPE & sample.payload().keys()
        assert sample.describe("Alice")
    assert kind.model_json_schema()["additionalProperties"] is False


def test_no_field_may_hide_the_envelope():
    with pytest.raises(TypeError, match="summary"):

        @catalogue.register
        class Hiding(EventType):
            type = "test_hiding"
            summary: str
