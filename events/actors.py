from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, as the log keeps it: `kind` is "person" or "service"."""

    kind: str
    id: UUID
    name: str


class HasActor(Protocol):
    """A signed-in person or an API key: whatever may stand behind a change."""

    @property
    def actor(self) -> Actor: ...
