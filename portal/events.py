from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from events import channels
from events.catalogue import EventType, register
from events.channels import Channel

if TYPE_CHECKING:
    from portal.models import PlatformHealth

HealthState = Literal["ok", "degraded", "failed"]


@register
class HealthUpdate(EventType):
    """A part of the platform is in another state. All parts as they are now, by name.

    `reasons` has those that are not ok; `since` says when each part got into its state (UTC).
    """

    type: ClassVar[str] = "health_update"

    parts: dict[str, HealthState]
    reasons: dict[str, str]
    since: dict[str, str]
    version: int

    @classmethod
    def of(cls, health: "PlatformHealth") -> "HealthUpdate":
        return cls.model_validate(
            {
                "parts": health.states,
                "reasons": {name: part["reason"] for name, part in health.parts.items() if part["reason"]},
                "since": {name: part["since"] for name, part in health.parts.items()},
                "version": health.version,
            }
        )

    def channels(self) -> Sequence[Channel]:
        return [channels.SYSTEM_HEALTH]

    def describe(self, who: str) -> str:
        words = [
            f"{state}: {', '.join(sorted(names))}"
            for state in ("failed", "degraded")
            if (names := [name for name, found in self.parts.items() if found == state])
        ]
        return f"The platform has parts {'; '.join(words)}" if words else "Every part of the platform is well"

    @classmethod
    def samples(cls) -> Iterable["HealthUpdate"]:
        since = {"database": "2026-11-23T15:00:00.000Z", "relay": "2026-11-23T15:04:05.000Z"}
        well = {"database": "ok", "relay": "ok"}
        yield cls.model_validate({"parts": well, "reasons": {}, "since": since, "version": 1})
        reasons = {"relay": "silent since 15:04:05 UTC"}
        yield cls.model_validate(
            {"parts": well | {"relay": "failed"}, "reasons": reasons, "since": since, "version": 2}
        )
