from __future__ import annotations

import re
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from deployments import sealing, stacks
from events.ids import new_id
from events.scoping import TenantManager
from tenants.models import Tenant


class Frozen(RuntimeError):
    """An approved stack version or a release was about to be changed."""


class IllegalTransition(RuntimeError):
    """A deployment cannot go from its status to that one."""


class Status(models.TextChoices):
    QUEUED = "queued", "Queued"
    STARTING = "starting", "Starting"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    LOST = "lost", "Lost"


class StepStatus(models.TextChoices):
    PENDING = "pending", "Pending"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    SKIPPED = "skipped", "Skipped"


class Level(models.TextChoices):
    """Who wrote a line: standard output, standard error, or the runner about what went wrong."""

    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    ERROR = "error", "Error"


#: A runner holds these by a lease.
ACTIVE = (Status.STARTING, Status.RUNNING)
ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.LOST)
RETRYABLE = (Status.FAILED, Status.LOST)
#: Who waits further behind has no place to show: a place is told anew each time the queue moves.
QUEUE_PLACES_SHOWN = 50
#: The state machine. "Running" may follow itself: that is a step beginning or ending.
TRANSITIONS: dict[str, frozenset[str]] = {
    Status.QUEUED: frozenset({Status.QUEUED, Status.STARTING, Status.CANCELLED}),
    Status.STARTING: frozenset({Status.STARTING, Status.RUNNING, Status.FAILED, Status.CANCELLED, Status.LOST}),
    Status.RUNNING: frozenset({Status.RUNNING, *ENDED}),
    **{status: frozenset() for status in ENDED},
}


def validate_steps(raw: Any) -> None:
    try:
        stacks.parse_steps(raw)
    except ValueError as error:
        raise ValidationError(str(error).splitlines()) from None


def validate_parameters(raw: Any) -> None:
    try:
        stacks.parse_parameters(raw)
    except ValueError as error:
        raise ValidationError(str(error).splitlines()) from None


class StackQuerySet(models.QuerySet["Stack"]):
    def offered(self) -> StackQuerySet:
        """What may be deployed: of each stack the newest version that was approved."""
        newest = Stack.objects.filter(slug=models.OuterRef("slug"), approved_at__isnull=False).order_by("-version")
        return self.filter(pk=models.Subquery(newest.values("pk")[:1]))


class Stack(models.Model):
    """One version of a template for deployments. Approving it freezes it: a later change is a new version."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.SlugField(
        max_length=50,
        validators=[
            RegexValidator(r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$", "Use lower-case letters, digits and hyphens.")
        ],
    )
    version = models.PositiveIntegerField(default=1, editable=False)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    steps = models.JSONField(
        validators=[validate_steps],
        help_text='A list of {"name": ..., "command": [program, argument, ...], "time_limit_seconds": ...}. No shell.',
    )
    parameters = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_parameters],
        help_text='A list of {"name": "SITE_TITLE", "type": "string", "required": true, "default": ..., "max": ...}.',
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    approved_at = models.DateTimeField(null=True, blank=True, editable=False)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )

    objects: ClassVar[models.Manager[Stack]] = StackQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["name", "-version"]
        constraints = [models.UniqueConstraint(fields=["slug", "version"], name="one_row_per_stack_version")]

    def __str__(self) -> str:
        return f"{self.name} (version {self.version})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding and Stack.objects.filter(pk=self.pk, approved_at__isnull=False).exists():
            raise Frozen(f"{self} is approved and stays as it is. Make a new version.")
        super().save(*args, **kwargs)

    @property
    def is_approved(self) -> bool:
        return self.approved_at is not None

    @property
    def step_list(self) -> list[stacks.Step]:
        return stacks.parse_steps(self.steps)

    @property
    def parameter_list(self) -> list[stacks.Parameter]:
        return stacks.parse_parameters(self.parameters)


class Release(models.Model):
    """Exactly what a deployment runs, never changed: a stack version's steps with the values of its parameters.

    `parameters` holds a keyed hash in the place of each secret; the secrets themselves are in `sealed`, encrypted.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="releases")
    stack = models.ForeignKey(Stack, on_delete=models.PROTECT, related_name="releases")
    stack_version = models.PositiveIntegerField()
    steps = models.JSONField()
    parameters = models.JSONField()
    sealed = models.TextField(blank=True)
    digest = models.CharField(max_length=71, help_text="sha256: over the stack's slug, version, steps and parameters.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[TenantManager[Release]] = TenantManager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["tenant", "digest"], name="one_release_per_tenant_and_digest")]

    def __str__(self) -> str:
        return f"{self.stack.slug} {self.short_digest}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise Frozen("A release is never changed. Make another.")
        super().save(*args, **kwargs)

    @property
    def short_digest(self) -> str:
        return self.digest.removeprefix("sha256:")[:12]

    @property
    def step_list(self) -> list[stacks.Step]:
        return stacks.parse_steps(self.steps)

    @property
    def is_intact(self) -> bool:
        """Whether it still is what its digest was made of. Raises sealing.CannotUnseal."""
        shown = {name: value for name, value in self.parameters.items() if not isinstance(value, dict)}
        shown |= hashes_of(self.tenant_id, self.secrets())
        return self.digest == digest_of(self.stack.slug, self.stack_version, self.steps, shown)

    def secrets(self) -> dict[str, str]:
        """Secret values by parameter name, in clear: for the runner only. Raises sealing.CannotUnseal."""
        return sealing.unseal(self.sealed)

    def environment(self) -> dict[str, str]:
        """What the steps get as environment variables, secrets in clear. Raises sealing.CannotUnseal."""
        plain = {name: value for name, value in self.parameters.items() if not isinstance(value, dict)}
        return stacks.as_environment(plain | self.secrets())


def digest_of(slug: str, version: int, steps: list[Any], parameters: dict[str, Any]) -> str:
    """What identifies a release; `parameters` holds hashes in the place of secrets."""
    return sealing.digest({"stack": slug, "version": version, "steps": steps, "parameters": parameters})


def hashes_of(tenant_id: UUID, secrets: dict[str, str]) -> dict[str, dict[str, str]]:
    """What stands for each secret in a release: keyed by tenant too, or equal hashes would tell of a shared secret."""
    return {name: {"secret": sealing.keyed_hash([str(tenant_id), name, value])} for name, value in secrets.items()}


def _is(*statuses: str) -> Q:
    return Q(status__in=[str(status) for status in statuses])


class Deployment(models.Model):
    """One run of a release for a tenant. Its steps really run, under the runner that holds its lease.

    `version` rises with each change that pages and events show; heartbeats and log lines leave it alone.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="deployments")
    number = models.PositiveIntegerField(help_text="1, 2, 3, ... within the tenant.")
    name = models.CharField(max_length=50)
    # RESTRICT: a release goes together with its deployments, when their tenant does, and never by itself.
    release = models.ForeignKey(Release, on_delete=models.RESTRICT, related_name="deployments")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    version = models.PositiveBigIntegerField(default=1)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it failed, was cancelled or is lost.")
    steps = models.JSONField(help_text="How far each step is: name, status, startedAt, endedAt, exitCode.")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    requester_id = models.UUIDField(help_text="The person or the API key that asked for it.")
    requester_name = models.CharField(max_length=200)
    retry_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="retries")
    rollback_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="rollbacks")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    canceller_name = models.CharField(max_length=200, blank=True, help_text="Who asked first to cancel it.")
    # Written no more: notifications mail. The version before this one still reads it; a later migration drops it.
    failure_mailed_to = models.JSONField(default=list, blank=True, help_text="Ids of the people mailed that it failed.")

    idempotency_key = models.CharField(max_length=255, blank=True)
    request_hash = models.CharField(max_length=64, blank=True, help_text="Keyed hash of what was asked for.")

    line_count = models.PositiveIntegerField(default=0, help_text="Number of the last log line stored.")

    runner = models.CharField(max_length=200, blank=True)
    fence = models.PositiveIntegerField(default=0, help_text="Rises with each claim; a runner writes under its own.")
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[TenantManager[Deployment]] = TenantManager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "number"], name="one_deployment_per_tenant_and_number"),
            models.UniqueConstraint(
                fields=["tenant", "requester_id", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="one_deployment_per_idempotency_key",
            ),
            models.CheckConstraint(condition=_is(*Status.values), name="deployment_status_known"),
            models.CheckConstraint(condition=Q(version__gte=1, number__gte=1), name="deployment_counts_from_one"),
            models.CheckConstraint(
                condition=(_is(*ENDED) & Q(ended_at__isnull=False)) | (~_is(*ENDED) & Q(ended_at__isnull=True)),
                name="deployment_ended_when_it_ended",
            ),
            models.CheckConstraint(
                condition=(_is(Status.QUEUED) & Q(started_at__isnull=True))
                | (_is(*ACTIVE, Status.COMPLETED, Status.FAILED, Status.LOST) & Q(started_at__isnull=False))
                | _is(Status.CANCELLED),
                name="deployment_started_when_it_started",
            ),
            models.CheckConstraint(
                condition=(_is(*ACTIVE) & Q(lease_expires_at__isnull=False, heartbeat_at__isnull=False) & ~Q(runner=""))
                | (~_is(*ACTIVE) & Q(lease_expires_at__isnull=True)),
                name="deployment_leased_while_active",
            ),
            models.CheckConstraint(
                condition=~_is(Status.FAILED, Status.LOST) | ~Q(reason=""), name="deployment_failure_has_a_reason"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "status", "number"]),
            models.Index(fields=["tenant", "-started_at"], name="deployment_last_started"),
            models.Index(
                fields=["created_at"],
                condition=_is(Status.QUEUED, *ACTIVE),
                name="deployment_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def title(self) -> str:
        return f"{self.name} #{self.number}"

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def can_cancel(self) -> bool:
        return not self.has_ended and self.cancel_requested_at is None

    @property
    def can_retry(self) -> bool:
        return self.status in RETRYABLE

    @property
    def can_roll_back(self) -> bool:
        return self.status == Status.COMPLETED

    @property
    def queue_position(self) -> int | None:
        """Its place among its tenant's waiting deployments, 1 for the next.

        None when it does not wait, or further behind than QUEUE_PLACES_SHOWN.
        """
        if self.status != Status.QUEUED:
            return None
        waiting = Deployment.objects.filter(tenant=self.tenant_id, status=Status.QUEUED)
        place = waiting.filter(number__lt=self.number).count() + 1
        return place if place <= QUEUE_PLACES_SHOWN else None

    def move_to(self, status: str, *, reason: str = "", at: datetime | None = None) -> None:
        """Change the status as the state machine allows, and everything the constraints tie to it. Does not save.

        Raises IllegalTransition.
        """
        if status not in TRANSITIONS[self.status]:
            raise IllegalTransition(f"{self.title} is {self.status}: it cannot become {status}.")
        at = at or timezone.now()
        if self.status == Status.QUEUED and status == Status.STARTING:
            self.started_at = at
        self.status = status
        self.reason = reason[:500]
        if status in ENDED:
            self.ended_at = at
            self.lease_expires_at = None
            self._settle_steps(at)
        self.version += 1

    def _settle_steps(self, at: datetime) -> None:
        """No step stays pending or running in a deployment that has ended."""
        stopped = StepStatus.CANCELLED if self.status == Status.CANCELLED else StepStatus.FAILED
        for step in self.steps:
            if step["status"] == StepStatus.RUNNING:
                step.update(status=str(stopped), endedAt=wire_time(at))
            elif step["status"] == StepStatus.PENDING:
                step["status"] = str(StepStatus.SKIPPED)


def wire_time(at: datetime | None) -> str | None:
    """A moment as events and the API write it: UTC, milliseconds, Z."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def steps_to_come(release: Release) -> list[dict[str, Any]]:
    """The step states of a deployment that has not begun."""
    return [
        {"name": step["name"], "status": str(StepStatus.PENDING), "startedAt": None, "endedAt": None, "exitCode": None}
        for step in release.steps
    ]


NAME_PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]*[A-Za-z0-9])?")


class LogBlock(models.Model):
    """Consecutive lines of one deployment's output, all of one level. Lines count from 1; blocks leave no gap."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="log_blocks")
    first_line = models.PositiveIntegerField()
    line_count = models.PositiveIntegerField()
    at = models.DateTimeField()
    level = models.CharField(max_length=8, choices=Level.choices)
    text = models.TextField(help_text="The lines joined by newlines, secrets already redacted.")

    objects: ClassVar[TenantManager[LogBlock]] = TenantManager()

    class Meta:
        ordering = ["deployment", "first_line"]
        constraints = [
            models.UniqueConstraint(fields=["deployment", "first_line"], name="one_block_per_first_line"),
            models.CheckConstraint(condition=Q(first_line__gte=1, line_count__gte=1), name="log_block_has_lines"),
        ]
        indexes = [models.Index(fields=["deployment", "level", "first_line"])]

    def __str__(self) -> str:
        return f"lines {self.first_line} to {self.last_line} of {self.deployment_id}"

    @property
    def last_line(self) -> int:
        return self.first_line + self.line_count - 1

    def lines(self) -> list[str]:
        return self.text.split("\n")
