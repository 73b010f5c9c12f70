from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from events import channels
from events.catalogue import EventType, register
from events.channels import Channel, Topic
from monitoring.models import LatestMetrics, wire_time

Finite = Annotated[float, Field(allow_inf_nan=False)]


@register
class MetricsUpdate(EventType):
    """The newest value of each metric of a tenant, or of the platform itself where there is no tenant.

    Every metric stands in every event, so that the newest event replaces all before it: of very many, the same hundred
    (`LatestMetrics.told`). `sampled_at` says when each was measured, on the sender's clock. Empty: all of them with the
    event.
    """

    type: ClassVar[str] = "metrics_update"
    high_volume: ClassVar[bool] = True
    endpoint: ClassVar[str | None] = "/api/monitoring/metrics"

    metrics: dict[str, Finite]
    version: Annotated[int, Field(ge=1)]
    sampled_at: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, latest: LatestMetrics) -> "MetricsUpdate":
        return cls(
            tenant_id=latest.tenant_id,
            metrics={name: newest["value"] for name, newest in latest.told.items()},
            version=latest.version,
            sampled_at={name: wire_time(newest["at"]) for name, newest in latest.told.items()},
        )

    def channels(self) -> Sequence[Channel]:
        return [channels.tenant(self.tenant_id, Topic.DASHBOARD) if self.tenant_id else channels.SYSTEM_METRICS]

    def describe(self, who: str) -> str:
        shown = ", ".join(f"{name} {value:g}" for name, value in sorted(self.metrics.items())[:3])
        more = len(self.metrics) - 3
        return f"Metrics: {shown}{f' and {more} more' if more > 0 else ''}" if shown else "There are no metrics"

    @classmethod
    def samples(cls) -> Iterable["MetricsUpdate"]:
        yield cls(
            tenant_id=UUID(int=1),
            metrics={"cpu_percent": 12.5, "load_1m": 0.42},
            version=7,
            sampled_at={"cpu_percent": "2026-11-23T15:04:05.123Z", "load_1m": "2026-11-23T14:58:00.000Z"},
        )
        yield cls(metrics={"events_per_second": 103.0, "connections": 42.0}, version=1)


@register
class SamplesStored(EventType):
    """How many samples of a tenant were stored since the last event of this type: what storing them is billed by.

    For other apps, on no channel; at most once a minute a tenant. Every stored sample is counted in exactly one.
    """

    type: ClassVar[str] = "samples_stored"
    high_volume: ClassVar[bool] = True
    endpoint: ClassVar[str | None] = "/api/monitoring/metrics"

    tenant_id: UUID
    count: Annotated[int, Field(ge=1)]

    def channels(self) -> Sequence[Channel]:
        return []

    def describe(self, who: str) -> str:
        return f"{self.count:,} {'sample was' if self.count == 1 else 'samples were'} stored"

    @classmethod
    def samples(cls) -> Iterable["SamplesStored"]:
        yield cls(tenant_id=UUID(int=1), count=1)
        yield cls(tenant_id=UUID(int=1), count=4320)
