"""The one module that knows channel names: builds them from typed values and parses them back to the same values.

The part before the first ":" is the engine's namespace. Names are a contract with every client.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID


class InvalidChannel(ValueError):
    """The text is not the name of any channel of this platform."""


class Topic(StrEnum):
    """What a tenant's own channels carry."""

    DASHBOARD = "dashboard"
    NOTIFICATIONS = "notifications"
    BILLING = "billing"
    DEPLOYMENTS = "deployments"
    MONITORING = "monitoring"
    ACTIVITY = "activity"


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel by what it is; `name` is its text on the wire.

    At most one of the ids is set, except for one deployment's lines, which have `tenant_id` and `object_id`.
    """

    kind: str
    tenant_id: UUID | None = None
    user_id: UUID | None = None
    object_id: UUID | None = None

    @property
    def name(self) -> str:
        return _TEMPLATES[self.kind].format(tenant_id=self.tenant_id, user_id=self.user_id, object_id=self.object_id)

    @property
    def namespace(self) -> str:
        return self.name.partition(":")[0]

    def __str__(self) -> str:
        return self.name


_TEMPLATES: dict[str, str] = {
    **{f"tenant_{topic}": f"tenant:{{tenant_id}}:{topic}" for topic in Topic},
    "deployment": "tenant:{tenant_id}:deployments:{object_id}",
    "inbox": "user:{user_id}:inbox",
    "admin_events": "admin:platform:events",
    "admin_deployments": "admin:deployments:status",
    "admin_billing": "admin:billing:alerts",
    "admin_monitoring": "admin:monitoring:alerts",
    "admin_tenants": "admin:tenants:activity",
    "exam": "certification:exam:{object_id}",
    "exam_timer": "certification:timer:{user_id}",
    "exam_results": "certification:results:{user_id}",
    "system_health": "system:health",
    "system_metrics": "system:metrics",
    "system_alerts": "system:alerts",
}

#: Nobody's, for trying whether the engine takes publications. In a namespace that it has, so that it goes the way of
#: every event; ids there are UUIDs, which this is not, so that it never parses as a channel.
TRIAL_CHANNEL = "user:trial:publication"

_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PATTERNS = {
    kind: re.compile(re.sub(r"\\\{(\w+)\\\}", rf"(?P<\1>{_ID})", re.escape(template)))
    for kind, template in _TEMPLATES.items()
}

ADMIN_EVENTS = Channel("admin_events")
ADMIN_DEPLOYMENTS = Channel("admin_deployments")
ADMIN_BILLING = Channel("admin_billing")
ADMIN_MONITORING = Channel("admin_monitoring")
ADMIN_TENANTS = Channel("admin_tenants")
SYSTEM_HEALTH = Channel("system_health")
SYSTEM_METRICS = Channel("system_metrics")
SYSTEM_ALERTS = Channel("system_alerts")


def tenant(tenant_id: UUID, topic: Topic) -> Channel:
    return Channel(f"tenant_{topic}", tenant_id=tenant_id)


def deployment(tenant_id: UUID, deployment_id: UUID) -> Channel:
    """Every log line of one deployment."""
    return Channel("deployment", tenant_id=tenant_id, object_id=deployment_id)


def inbox(user_id: UUID) -> Channel:
    return Channel("inbox", user_id=user_id)


def exam(exam_id: UUID) -> Channel:
    return Channel("exam", object_id=exam_id)


def exam_timer(user_id: UUID) -> Channel:
    return Channel("exam_timer", user_id=user_id)


def exam_results(user_id: UUID) -> Channel:
    return Channel("exam_results", user_id=user_id)


def templates() -> Mapping[str, str]:
    """By kind of channel, how its name is made: `{tenant_id}`, `{user_id}` and `{object_id}` stand in place of ids."""
    return MappingProxyType(_TEMPLATES)


def parse(name: str) -> Channel:
    """The channel that has exactly this name.

    Raises InvalidChannel for anything else, an upper-case id included: one channel has one name.
    """
    for kind, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(name):
            return Channel(kind, **{key: UUID(value) for key, value in match.groupdict().items()})
    raise InvalidChannel(f"{name[:100]!r} is not a channel of this platform.")
