from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from events import channels
from events.catalogue import EventType, register
from events.channels import Channel, Topic
from monitoring.alerting.models import Alert, AlertRule, EscalationPolicy, Silence
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


# --- Alerts -----------------------------------------------------------------------------------------------------------

SeverityName = Literal["info", "warning", "error", "critical"]
StateName = Literal["firing", "acknowledged", "silenced", "resolved"]
Count = Annotated[int, Field(ge=1)]
Change = Literal["created", "updated", "deleted"]


def alert_channels(tenant_id: UUID | None) -> list[Channel]:
    """Where alerts of this owner are followed; the platform's own where there is no tenant."""
    own = channels.tenant(tenant_id, Topic.MONITORING) if tenant_id else channels.SYSTEM_ALERTS
    return [own, channels.ADMIN_MONITORING]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class SilenceFacts(_Part):
    """What silences an alert, as its row says it."""

    id: UUID
    by: str
    reason: str
    until: str
    ends_on_resolve: bool


class AlertMetadata(_Part):
    """An alert as pages and the API show it, besides its state. Times are UTC.

    `previous` is the state that it was in before this event: "" for one that is new, the same where only severity or
    message changed; it is `louder` if that made it worse. `rule` is null where no rule raised it, `until` where it is
    acknowledged until it is over; `value` is that of when it began to fire. `escalation`: how many times people were
    called, `called` their ids.
    """

    name: str
    rule: UUID | None = None
    source: Literal["rule", "alertmanager", "api", "platform"]
    key: str
    value: float | None = None
    labels: dict[str, str]
    link: str = ""
    previous: StateName | Literal[""] = ""
    louder: bool = False
    started_at: str
    resolved_at: str | None = None
    ended_why: str = ""
    acknowledged_by: str | None = None
    acknowledged_by_id: UUID | None = None
    acknowledged_at: str | None = None
    note: str = ""
    until: str | None = None
    silence: SilenceFacts | None = None
    escalation: int = 0
    called: list[str] = Field(default_factory=list)

    @classmethod
    def of(cls, alert: Alert, previous: str = "") -> "AlertMetadata":
        return cls.model_validate(
            {
                "name": alert.name,
                "rule": alert.rule_id,
                "source": alert.source,
                "key": alert.key,
                "value": alert.value,
                "labels": alert.labels,
                "link": alert.link,
                "previous": previous,
                "louder": alert.is_louder,
                "started_at": wire_time(alert.started_at),
                "resolved_at": _time(alert.resolved_at),
                "ended_why": alert.ended_why,
                "acknowledged_by": alert.acknowledged_by_name or None,
                "acknowledged_by_id": alert.acknowledged_by_id,
                "acknowledged_at": _time(alert.acknowledged_at),
                "note": alert.note,
                "until": _time(alert.acknowledged_until),
                "silence": _silence_of(alert),
                "escalation": alert.escalation_step,
                "called": alert.called,
            }
        )


def _time(at: Any) -> str | None:
    return wire_time(at) if at else None


def _silence_of(alert: Alert) -> dict[str, Any] | None:
    silence = alert.silence
    if silence is None:
        return None
    return {
        "id": silence.pk,
        "by": silence.created_by_name,
        "reason": silence.reason,
        "until": wire_time(silence.expires_at),
        "ends_on_resolve": silence.ends_on_resolve,
    }


@register
class AlertEvent(EventType):
    """An alert changed: all of it as it is now."""

    type: ClassVar[str] = "alert"
    endpoint: ClassVar[str | None] = "/api/monitoring/alerts"

    alert_id: UUID
    version: Count
    severity: SeverityName
    message: str
    metadata: AlertMetadata
    state: StateName

    @classmethod
    def of(cls, alert: Alert, previous: str = "") -> "AlertEvent":
        return cls.model_validate(
            {
                "tenant_id": alert.tenant_id,
                "alert_id": alert.pk,
                "version": alert.version,
                "severity": alert.severity,
                "message": alert.message,
                "metadata": AlertMetadata.of(alert, previous),
                "state": alert.state,
            }
        )

    def channels(self) -> Sequence[Channel]:
        return alert_channels(self.tenant_id)

    def describe(self, who: str) -> str:
        name, previous = self.metadata.name, self.metadata.previous
        if self.state == "acknowledged" and previous != "silenced":
            return f"{self.metadata.acknowledged_by} acknowledged {name}"
        if self.state == "silenced" and self.metadata.silence:
            return f"{name} is silenced by {self.metadata.silence.by}"
        if self.state == "resolved":
            return f"{name} is resolved"
        return f"{name} is {'still ' if previous == self.state else ''}{self.state}: {self.message}"

    @classmethod
    def samples(cls) -> Iterable["AlertEvent"]:
        base = {
            "tenant_id": UUID(int=1),
            "alert_id": UUID(int=2),
            "severity": "error",
            "message": "cpu_percent is 97 %",
        }
        facts = {
            "name": "CPU is busy",
            "rule": UUID(int=3),
            "source": "rule",
            "key": f"rule:{UUID(int=3)}",
            "value": 97.0,
            "labels": {"metric": "cpu_percent"},
            "started_at": "2026-11-23T15:04:05.123Z",
        }
        yield cls.model_validate(base | {"version": 1, "state": "firing", "metadata": facts})
        taken = {
            "previous": "firing",
            "acknowledged_by": "Alice",
            "acknowledged_by_id": UUID(int=4),
            "acknowledged_at": "2026-11-23T15:05:00.000Z",
            "note": "Looking",
            "until": "2026-11-23T16:05:00.000Z",
        }
        yield cls.model_validate(base | {"version": 2, "state": "acknowledged", "metadata": facts | taken})
        silence = {
            "id": UUID(int=5),
            "by": "Alice",
            "reason": "Maintenance",
            "until": "2026-11-23T18:00:00.000Z",
            "ends_on_resolve": True,
        }
        silenced = facts | {"previous": "firing", "silence": silence}
        yield cls.model_validate(base | {"version": 2, "state": "silenced", "metadata": silenced})
        over = facts | {"previous": "acknowledged", "resolved_at": "2026-11-23T15:09:00.000Z"}
        yield cls.model_validate(base | {"version": 3, "state": "resolved", "metadata": over})
        own: dict[str, Any] = {
            "name": "Engine",
            "source": "platform",
            "key": "part:engine",
            "labels": {"part": "engine"},
        }
        own |= {"rule": None, "value": None}
        yield cls.model_validate(
            base | {"tenant_id": None, "version": 1, "state": "firing", "metadata": facts | own, "severity": "critical"}
        )


@register
class AlertEscalated(EventType):
    """People are called about an alert that nobody has acknowledged. `step` counts from 1, repeats too.

    `people` are ids of those who may see the alert at this moment.
    """

    type: ClassVar[str] = "alert_escalated"
    endpoint: ClassVar[str | None] = "/api/monitoring/alerts"

    alert_id: UUID
    version: Count
    severity: SeverityName
    name: str
    message: str
    people: list[UUID]
    names: list[str]
    ways: list[Literal["in_app", "email"]]
    step: Count

    def channels(self) -> Sequence[Channel]:
        return alert_channels(self.tenant_id)

    def describe(self, who: str) -> str:
        return f"{self.name} still waits: {', '.join(self.names) or 'nobody'} called"

    @classmethod
    def samples(cls) -> Iterable["AlertEscalated"]:
        base = {"alert_id": UUID(int=2), "version": 2, "severity": "error", "name": "CPU is busy", "step": 1}
        called = {"people": [UUID(int=4)], "names": ["Alice"], "ways": ["in_app", "email"]}
        yield cls.model_validate(base | called | {"tenant_id": UUID(int=1), "message": "cpu_percent is 97 %"})


@register
class AlertRuleUpdated(EventType):
    """A rule came, changed or went: what it is now, or was last."""

    type: ClassVar[str] = "alert_rule_updated"
    endpoint: ClassVar[str | None] = "/api/monitoring/rules"

    rule_id: UUID
    version: Count
    change: Change
    name: str
    enabled: bool
    severity: SeverityName

    @classmethod
    def of(cls, rule: AlertRule, change: str) -> "AlertRuleUpdated":
        facts = {name: getattr(rule, name) for name in ("tenant_id", "version", "name", "enabled", "severity")}
        return cls.model_validate(facts | {"rule_id": rule.pk, "change": change})

    def channels(self) -> Sequence[Channel]:
        return alert_channels(self.tenant_id)

    def describe(self, who: str) -> str:
        off = "" if self.enabled or self.change == "deleted" else ", which is off"
        return f"{who} {self.change} the alert rule {self.name}{off}"

    @classmethod
    def samples(cls) -> Iterable["AlertRuleUpdated"]:
        facts = {"rule_id": UUID(int=3), "version": 1, "name": "CPU is busy", "enabled": True, "severity": "error"}
        yield cls.model_validate(facts | {"tenant_id": UUID(int=1), "change": "created"})


@register
class EscalationPolicyUpdated(EventType):
    """An escalation policy came, changed or went."""

    type: ClassVar[str] = "escalation_policy_updated"
    endpoint: ClassVar[str | None] = "/api/monitoring/escalation-policies"

    policy_id: UUID
    version: Count
    change: Change
    name: str

    @classmethod
    def of(cls, policy: EscalationPolicy, change: str) -> "EscalationPolicyUpdated":
        return cls.model_validate(
            {
                "tenant_id": policy.tenant_id,
                "policy_id": policy.pk,
                "version": policy.version,
                "change": change,
                "name": policy.name,
            }
        )

    def channels(self) -> Sequence[Channel]:
        return alert_channels(self.tenant_id)

    def describe(self, who: str) -> str:
        return f"{who} {self.change} the escalation policy {self.name}"

    @classmethod
    def samples(cls) -> Iterable["EscalationPolicyUpdated"]:
        facts = {"policy_id": UUID(int=6), "version": 1, "name": "On call"}
        yield cls.model_validate(facts | {"tenant_id": UUID(int=1), "change": "created"})


@register
class SilenceUpdated(EventType):
    """A silence began, or has ended. `matchers` as the API writes them, in words; `by` who silenced."""

    type: ClassVar[str] = "silence_updated"
    endpoint: ClassVar[str | None] = "/api/monitoring/silences"

    silence_id: UUID
    version: Count
    state: Literal["active", "ended"]
    matchers: str
    by: str
    reason: str
    until: str
    ends_on_resolve: bool

    @classmethod
    def of(cls, silence: Silence) -> "SilenceUpdated":
        return cls.model_validate(
            {
                "tenant_id": silence.tenant_id,
                "silence_id": silence.pk,
                "version": silence.version,
                "state": "active" if silence.is_active else "ended",
                "matchers": str(silence),
                "by": silence.created_by_name,
                "reason": silence.reason,
                "until": wire_time(silence.expires_at),
                "ends_on_resolve": silence.ends_on_resolve,
            }
        )

    def channels(self) -> Sequence[Channel]:
        return alert_channels(self.tenant_id)

    def describe(self, who: str) -> str:
        if self.state == "active":
            return f"{who} silenced {self.matchers}: {self.reason}"
        return f"{who} ended the silence of {self.matchers}"

    @classmethod
    def samples(cls) -> Iterable["SilenceUpdated"]:
        facts = {
            "tenant_id": UUID(int=1),
            "silence_id": UUID(int=5),
            "matchers": "instance=db-1",
            "by": "Alice",
            "reason": "Maintenance",
            "until": "2026-11-23T18:00:00.000Z",
            "ends_on_resolve": False,
        }
        yield cls.model_validate(facts | {"version": 1, "state": "active"})
        yield cls.model_validate(facts | {"version": 2, "state": "ended"})
