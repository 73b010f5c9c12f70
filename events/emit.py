import orjson
from django.db import transaction
from django.utils import timezone

from events import channels, databases
from events.actors import HasActor
from events.catalogue import EventType, get
from events.channels import Channel, Topic
from events.models import Event

NOBODY = "NEO_STACK"


class NotInTransaction(RuntimeError):
    """emit() was called where the change it reports could be lost without it, or it without the change."""


def emit(event: EventType, *, by: HasActor | None = None) -> Event:
    """Write an event into the log, inside the transaction of the change it reports. The only way one comes to be.

    Raises NotInTransaction outside `transaction.atomic`, UnknownType for a type that no app registered, and TypeError
    for a value that JSON can't carry (an integer of more than 64 bits).
    """
    get(event.type)
    if not transaction.get_connection().in_atomic_block:
        raise NotInTransaction(f"{event.type} was emitted outside a transaction: put transaction.atomic on the action.")
    transaction.on_commit(databases.ring, robust=True)
    payload = event.payload()
    # What can't be put on the wire must not get into the log: the relay could not get past it.
    orjson.dumps(payload)
    actor = by.actor if by else None
    return Event.objects.create(
        type=event.type,
        tenant_id=event.tenant_id,
        occurred_at=timezone.now(),
        actor_kind=actor.kind if actor else "",
        actor_id=actor.id if actor else None,
        actor_name=actor.name if actor else "",
        summary=event.describe(actor.name if actor else NOBODY)[:500],
        payload=payload,
        channels=[channel.name for channel in destinations(event, has_actor=actor is not None)],
        revokes=[[str(revoked.user_id), revoked.generation] for revoked in event.revocations()],
    )


def destinations(event: EventType, *, has_actor: bool) -> list[Channel]:
    """The channels an event goes to: its type's own, the platform's, and its tenant's activity where somebody acted."""
    found = list(event.channels())
    if not event.high_volume:
        found.append(channels.ADMIN_EVENTS)
    if event.tenant_id and has_actor:
        found.append(channels.tenant(event.tenant_id, Topic.ACTIVITY))
    return list(dict.fromkeys(found))
