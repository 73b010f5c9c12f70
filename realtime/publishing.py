"""Publishing over HTTP: an event that somebody else asks for, made by the action of the app that owns its type.

So row, log and page agree: nothing reaches a channel that is not in the log, and nothing is in the log that its app
did not make.
"""

import hashlib
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from copy import copy
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django_scopes import scope
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.alias_generators import to_camel

from accounts.models import User
from events.catalogue import EventType, UnknownType, get
from events.channels import Channel
from events.models import Event
from realtime.models import IdempotencyKey
from tenants.models import ApiKey, Tenant

#: What the action gets from us and not from the publisher's JSON.
_OURS = frozenset({"tenant", "tenant_id", "by"})
#: As JSON writes it. PostgreSQL takes it neither in text nor in JSON.
NUL = rb"\u0000"


class Refused(Exception):
    """The event can't be published so. `problems` are (code, where, what is wrong and what to do)."""

    def __init__(self, *problems: tuple[str, str, str]) -> None:
        super().__init__("; ".join(detail for _, _, detail in problems))
        self.problems = problems


class OtherBody(Exception):
    """The Idempotency-Key was used before, for another request."""


def publish(by: User | ApiKey, channel: Channel, body: dict[str, Any], idempotency_key: str = "") -> UUID:
    """Make the event and return its id; with a key still kept that was used for the same request, the id of then.

    Raises Refused, and OtherBody for a key used for another request. Authorise first.
    """
    digest = _digest(channel, body)
    action, fields = _reading(body)
    tenant = _tenant_of(channel)
    if (known := _published(by, idempotency_key, digest)) is not None:
        return known
    try:
        with transaction.atomic(), scope(tenant=tenant) if tenant else nullcontext():
            event = _act(action, tenant, by, fields)
            _require_on(channel, event)
            _remember(by, idempotency_key, digest, event)
    except IntegrityError:
        # The same request is served twice at once, and the other one was faster.
        if (known := _published(by, idempotency_key, digest)) is None:
            raise
        return known
    return event.uuid


def _digest(channel: Channel, body: dict[str, Any]) -> str:
    """What makes two requests the same. Raises Refused for what no database stores."""
    content = orjson.dumps([channel.name, body], option=orjson.OPT_SORT_KEYS)
    if NUL in content.replace(rb"\\", b""):
        raise Refused(("unstorable", "event", "It contains NUL, which can't be stored."))
    return hashlib.sha256(content).hexdigest()


def _reading(body: dict[str, Any]) -> tuple[Callable[..., Event], dict[str, Any]]:
    """The action of the event's type, and what it is to be called with. Raises Refused."""
    name = body.get("type")
    if not isinstance(name, str):
        raise Refused(("required", "event.type", "Say which type of event this is."))
    try:
        kind = get(name)
    except UnknownType as problem:
        raise Refused(("unknown_type", "event.type", str(problem))) from None
    if kind.publish is None:
        instead = f" Use {kind.endpoint} instead." if kind.endpoint else " It reports what the platform itself did."
        raise Refused(("not_publishable", "event.type", f"{name} is not published directly.{instead}"))
    try:
        fields = _input_of(kind).model_validate({key: value for key, value in body.items() if key != "type"})
    except ValidationError as problem:
        raise _refusal(problem) from None
    return kind.publish, fields.model_dump(exclude_unset=True)


@cache
def _input_of(kind: type[EventType]) -> type[BaseModel]:
    """What a publisher gives: the fields of the type that its action asks for. The rest is the platform's to say."""
    assert kind.publish is not None
    asked = set(inspect.signature(kind.publish).parameters) - _OURS
    fields: dict[str, Any] = {name: (f.annotation, copy(f)) for name, f in kind.model_fields.items() if name in asked}
    return create_model(
        f"{kind.__name__}Input",
        __config__=ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_alias=True, validate_by_name=False),
        **fields,
    )


def _refusal(problem: ValidationError) -> Refused:
    return Refused(
        *(
            (error["type"], ".".join(["event", *map(str, error["loc"])]), error["msg"])
            for error in problem.errors(include_url=False, include_context=False, include_input=False)
        )
    )


def _tenant_of(channel: Channel) -> Tenant | None:
    if channel.tenant_id is None:
        return None
    try:
        return Tenant.objects.get(pk=channel.tenant_id)
    except Tenant.DoesNotExist:
        raise Refused(("no_such_tenant", "channel", "No tenant has this id.")) from None


def _act(action: Callable[..., Event], tenant: Tenant | None, by: User | ApiKey, fields: dict[str, Any]) -> Event:
    if tenant is None and "tenant" in inspect.signature(action).parameters:
        raise Refused(("wrong_channel", "channel", "Events of this type belong to a tenant: name a tenant's channel."))
    try:
        return action(**({"tenant": tenant} if tenant else {}), by=by, **fields)
    except ValidationError as problem:
        raise _refusal(problem) from None


def _require_on(channel: Channel, event: Event) -> None:
    if channel.name not in event.channels:
        own = next(iter(event.channels), "no channel")
        raise Refused(("wrong_channel", "channel", f"{event.type} does not go to this channel but to {own}."))


# --- Asked for before -------------------------------------------------------------------------------------------------


def _principal(by: User | ApiKey) -> str:
    return f"{by.actor.kind}:{by.actor.id}"


def _published(by: User | ApiKey, key: str, digest: str) -> UUID | None:
    """The event that this key made before, if it did. Raises OtherBody."""
    if not key:
        return None
    found = IdempotencyKey.objects.filter(principal=_principal(by), key=key, created_at__gt=_kept_since()).first()
    if found and found.body_digest != digest:
        raise OtherBody
    return found.event_uuid if found else None


def _remember(by: User | ApiKey, key: str, digest: str, event: Event) -> None:
    if not key:
        return
    principal = _principal(by)
    IdempotencyKey.objects.filter(principal=principal, key=key, created_at__lte=_kept_since()).delete()
    IdempotencyKey.objects.create(principal=principal, key=key, body_digest=digest, event_uuid=event.uuid)


def _kept_since() -> datetime:
    return timezone.now() - timedelta(hours=settings.IDEMPOTENCY_KEYS_KEPT_HOURS)


def forget_old_keys() -> int:
    """Delete the keys that are no longer looked at; how many they were."""
    return IdempotencyKey.objects.filter(created_at__lte=_kept_since()).delete()[0]
