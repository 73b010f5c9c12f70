from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from events import channels
from events.catalogue import EventType, register
from events.channels import Channel, Topic
from monitoring.models import LatestMetrics

Finite = Annotated[float, Field(allow_inf_nan=False)]


@register
class MetricsUpdate(EventType):
    """The newest value of each metric of a tenant, or of the platform itself where there is no tenant."""

    type: ClassVar[str] = "metrics_update"
    high_volume: ClassVar[bool] = True
    endpoint: ClassVar[str | None] = "/api/monitoring/metrics"

    metrics: dict[str, Finite]
    version: Annotated[int, Field(ge=1)]

    @classmethod
    def of(cls, latest: LatestMetrics) -> "MetricsUpdate":
        return cls(
            tenant_id=latest.tenant_id,
            metrics={name: newest["value"] for name, newest in latest.metrics.items()},
            version=latest.version,
        )

    def channels(self) -> Sequence[Channel]:
        return [channels.tenant(self.tenant_id, Topic.DASHBOARD) if self.tenant_id else channels.SYSTEM_METRICS]

    def describe(self, who: str) -> str:
        shown = ", ".join(f"{name} {value:g}" for name, value in sorted(self.metrics.items())[:3])
        more = len(self.metrics) - 3
        return f"Metrics: {shown}{f' and {more} more' if more > 0 else ''}" if shown else "There are no metrics"

    @classmethod
    def samples(cls) -> Iterable["MetricsUpdate"]:
        yield cls(tenant_id=UUID(int=1), metrics={"cpu_percent": 12.5, "load_1m": 0.42}, version=7)
        yield cls(metrics={"events_per_second": 103.0, "connections": 42.0}, version=1)
