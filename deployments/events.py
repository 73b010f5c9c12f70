from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from deployments.models import Deployment, LogBlock, wire_time
from events import channels
from events.catalogue import EventType, register
from events.channels import Channel, Topic
from events.emit import NOBODY

DeploymentStatus = Literal["queued", "starting", "running", "completed", "failed", "cancelled", "lost"]
StepState = Literal["pending", "running", "completed", "failed", "cancelled", "skipped"]
Count = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class StepData(_Part):
    name: str
    status: StepState
    started_at: str | None = None
    ended_at: str | None = None
    exit_code: int | None = None


class DeploymentData(_Part):
    """A deployment as pages and the API show it. Times are UTC.

    `queue_position` is its place in its tenant's queue, None past QUEUE_PLACES_SHOWN; `requested_by_id` is the person's
    id, None where a service asked; `retry_of` and `rollback_of` are numbers of the tenant's deployments.
    """

    number: Count
    name: str
    title: str
    stack: str
    stack_version: Count = 1
    requested_by: str
    requested_by_id: UUID | None = None
    created_at: str
    started_at: str | None
    ended_at: str | None
    cancel_requested_at: str | None
    cancel_requested_by: str | None = None
    reason: str
    steps: list[StepData]
    queue_position: int | None = None
    digest: str
    retry_of: int | None = None
    rollback_of: int | None = None

    @classmethod
    def of(cls, deployment: Deployment, **more: Any) -> Self:
        """`more`: fields of a subclass, and `queue_position` where the caller has read the whole queue at once."""
        release = deployment.release
        if "queue_position" not in more:
            more["queue_position"] = deployment.queue_position
        return cls(
            number=deployment.number,
            name=deployment.name,
            title=deployment.title,
            stack=release.stack.slug,
            stack_version=release.stack_version,
            requested_by=deployment.requester_name,
            requested_by_id=deployment.requested_by_id,
            created_at=wire_time(deployment.created_at) or "",
            started_at=wire_time(deployment.started_at),
            ended_at=wire_time(deployment.ended_at),
            cancel_requested_at=wire_time(deployment.cancel_requested_at),
            cancel_requested_by=deployment.canceller_name or None,
            reason=deployment.reason,
            steps=[StepData.model_validate(step) for step in deployment.steps],
            digest=release.digest,
            retry_of=deployment.retry_of.number if deployment.retry_of else None,
            rollback_of=deployment.rollback_of.number if deployment.rollback_of else None,
            **more,
        )


@register
class DeploymentUpdate(EventType):
    """A deployment changed: all of it as it is now."""

    type: ClassVar[str] = "deployment_update"
    endpoint: ClassVar[str | None] = "/api/deployments"

    tenant_id: UUID
    deployment_id: UUID
    version: Count
    status: DeploymentStatus
    data: DeploymentData

    @classmethod
    def of(cls, deployment: Deployment, **known: Any) -> "DeploymentUpdate":
        """`known`: fields of its data that the caller has read already."""
        return cls.model_validate(
            {
                "tenant_id": deployment.tenant_id,
                "deployment_id": deployment.id,
                "version": deployment.version,
                "status": deployment.status,
                "data": DeploymentData.of(deployment, **known),
            }
        )

    def channels(self) -> Sequence[Channel]:
        return [
            channels.tenant(self.tenant_id, Topic.DEPLOYMENTS),
            channels.tenant(self.tenant_id, Topic.DASHBOARD),
            channels.ADMIN_DEPLOYMENTS,
        ]

    def describe(self, who: str) -> str:
        title = self.data.title
        if self.status == "queued" and self.version == 1:
            if self.data.rollback_of:
                return f"{who} rolled {self.data.name} back to #{self.data.rollback_of}"
            again = f", trying #{self.data.retry_of} again" if self.data.retry_of else ""
            return f"{who} deployed {title}{again}"
        if self.status in ("queued", "starting"):
            return f"{title} waits in the queue" if self.status == "queued" else f"{title} is starting"
        if self.status == "running":
            return self._describe_running(who)
        if self.status == "cancelled" and who != NOBODY:
            return f"{who} cancelled {title}"
        reason = f": {self.data.reason}" if self.data.reason else ""
        return f"{title} {'is lost' if self.status == 'lost' else self.status}{reason}"

    def _describe_running(self, who: str) -> str:
        if self.data.cancel_requested_at and who != NOBODY:
            return f"{who} asked to cancel {self.data.title}"
        running = [step.name for step in self.data.steps if step.status == "running"]
        return f"{self.data.title} is running{f': {running[0]}' if running else ''}"

    @classmethod
    def samples(cls) -> Iterable["DeploymentUpdate"]:
        base = {"tenant_id": UUID(int=1), "deployment_id": UUID(int=2)}
        yield cls.model_validate(base | {"version": 1, "status": "queued", "data": _sample(queue_position=2)})
        back = _sample(rollback_of=102, requested_by_id=UUID(int=3), queue_position=1)
        yield cls.model_validate(base | {"version": 1, "status": "queued", "data": back})
        started = {"started_at": "2026-11-23T15:04:05.123Z"}
        step = StepData(name="build", status="running", started_at="2026-11-23T15:04:05.200Z")
        yield cls.model_validate(
            base | {"version": 3, "status": "running", "data": _sample(**started, steps=[step])},
        )
        failed = StepData(name="build", status="failed", started_at=step.started_at, exit_code=3)
        yield cls.model_validate(
            base
            | {
                "version": 5,
                "status": "failed",
                "data": _sample(
                    **started,
                    ended_at="2026-11-23T15:04:15.000Z",
                    reason="Step build ended with exit code 3.",
                    steps=[failed],
                ),
            }
        )


def _sample(**changed: object) -> DeploymentData:
    return DeploymentData.model_validate(
        {
            "number": 104,
            "name": "web",
            "title": "web #104",
            "stack": "web",
            "stack_version": 3,
            "requested_by": "Alice",
            "created_at": "2026-11-23T15:04:04.000Z",
            "started_at": None,
            "ended_at": None,
            "cancel_requested_at": None,
            "reason": "",
            "steps": [StepData(name="build", status="pending")],
            "digest": f"sha256:{'0' * 64}",
        }
        | changed
    )


@register
class DeploymentLog(EventType):
    """Lines a deployment wrote, all of one level. `line` is the number of the first; `log` holds no line's newline."""

    type: ClassVar[str] = "deployment_log"
    high_volume: ClassVar[bool] = True
    endpoint: ClassVar[str | None] = "/api/deployments"

    tenant_id: UUID
    deployment_id: UUID
    line: Count
    log: str
    level: Literal["info", "warning", "error"]

    @classmethod
    def of(cls, block: LogBlock) -> "DeploymentLog":
        return cls.model_validate(
            {
                "tenant_id": block.tenant_id,
                "deployment_id": block.deployment_id,
                "line": block.first_line,
                "log": block.text,
                "level": block.level,
            }
        )

    def channels(self) -> Sequence[Channel]:
        own = channels.deployment(self.tenant_id, self.deployment_id)
        return [own] if self.level == "info" else [own, channels.tenant(self.tenant_id, Topic.DEPLOYMENTS)]

    def describe(self, who: str) -> str:
        count = self.log.count("\n") + 1
        return f"{count} log lines from {self.line}" if count > 1 else f"Log line {self.line}"

    @classmethod
    def samples(cls) -> Iterable["DeploymentLog"]:
        base = {"tenant_id": UUID(int=1), "deployment_id": UUID(int=2)}
        yield cls.model_validate(base | {"line": 1, "log": "Building 3 pages\n\x1b[32mok\x1b[0m", "level": "info"})
        yield cls.model_validate(base | {"line": 3, "log": "warning: no favicon", "level": "warning"})
        yield cls.model_validate(base | {"line": 4, "log": "Step build ended with exit code 3.", "level": "error"})
