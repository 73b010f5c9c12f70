"""Event types: declared once, in the `events.py` of the app that owns them, and registered here.

From a declaration come validation, the wire format, JSON Schema and the samples the tests read.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from events.channels import Channel
from events.wire import ENVELOPE


class UnknownType(LookupError):
    """No app declares an event type of this name."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A person whose access generation has been raised: connections of an older one must end."""

    user_id: UUID
    generation: int


class EventType(BaseModel):
    """One kind of event. Fields are its facts, in absolute values; on the wire their names are camelCase.

    `tenant_id` is None for the platform's own events.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    type: ClassVar[str]
    #: Log lines and metrics: kept for weeks instead of a year, and not shown on the platform's own channel.
    high_volume: ClassVar[bool] = False
    #: What POST /api/events/publish calls for this type; None refuses it and names `endpoint`.
    publish: ClassVar[Callable[..., Any] | None] = None
    #: Where a caller makes such an event happen instead of publishing it.
    endpoint: ClassVar[str | None] = None

    tenant_id: UUID | None = None

    def channels(self) -> Sequence[Channel]:
        """Where this event goes, besides the channels every event goes to (see `events.emit.destinations`)."""
        raise NotImplementedError

    def describe(self, who: str) -> str:
        """One line that says what happened; `who` is the actor's name, or "NEO_STACK" where nobody acted."""
        raise NotImplementedError

    def revocations(self) -> Sequence[Revocation]:
        """Whose older connections the relay ends before it pushes anything later."""
        return ()

    @classmethod
    def samples(cls) -> Iterable["EventType"]:
        """Valid events of this type, for tests and for the documentation."""
        raise NotImplementedError

    def payload(self) -> dict[str, Any]:
        """The fields as they go on the wire, without the envelope."""
        return self.model_dump(mode="json", by_alias=True, exclude={"tenant_id"})


_TYPES: dict[str, type[EventType]] = {}
T = TypeVar("T", bound=EventType)


def register(cls: type[T]) -> type[T]:
    """Class decorator that makes an event type known. A name is declared once, and no field hides the envelope."""
    hidden = ENVELOPE & {to_camel(name) for name in cls.model_fields if name != "tenant_id"}
    if hidden:
        raise TypeError(f"{cls.__name__}: {', '.join(sorted(hidden))} belong to the envelope.")
    if cls.type in _TYPES and _TYPES[cls.type].__qualname__ != cls.__qualname__:
        raise TypeError(f"{cls.__name__}: {cls.type!r} is already declared by {_TYPES[cls.type].__qualname__}.")
    _TYPES[cls.type] = cls
    return cls


def get(name: str) -> type[EventType]:
    """The type of this name. Raises UnknownType."""
    try:
        return _TYPES[name]
    except KeyError:
        raise UnknownType(f"{name[:100]!r} is not a known event type.") from None


def all_types() -> list[type[EventType]]:
    return [_TYPES[name] for name in sorted(_TYPES)]


def high_volume_types() -> list[str]:
    return [kind.type for kind in all_types() if kind.high_volume]
