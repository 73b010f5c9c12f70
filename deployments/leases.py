"""What a runner does with deployments: claim one, hold it by a lease, report how it goes, end it.

A lease is (deployment, fence). Everything a runner writes is checked under the row's lock against its fence, so a
runner that was declared silent can no longer write, whatever it still believes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from deployments.actions import locked, move_queue_up
from deployments.models import ACTIVE, Deployment, LogBlock, Status, StepStatus, wire_time
from deployments.signals import deployment_changed, log_written
from tenants.models import Tenant

CANDIDATES = 20


class LeaseLost(Exception):
    """Another process ended this deployment: its runner must stop its steps and write nothing more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run one deployment, until it is not renewed for settings.RUNNER_LEASE_SECONDS."""

    tenant: Tenant
    deployment_id: UUID
    fence: int


@dataclass(frozen=True, slots=True)
class OutputBlock:
    """Consecutive lines about to be stored; `text` holds them joined by newlines, redacted."""

    first_line: int
    line_count: int
    level: str
    text: str
    at: datetime


# --- Taking and keeping -----------------------------------------------------------------------------------------------


def claim(runner: str) -> Lease | None:
    """The next deployment that may run, now this runner's; None when there is none.

    A tenant runs as many at a time as it is allowed, in the order of their numbers, but never two of one name: the
    later would not know what it replaces. Among tenants the one with the fewest running comes first, then the one whose
    last start is longest ago: however many one has waiting, another's first does not wait behind them.
    """
    for tenant in _tenants_with_work():
        if lease := _claim_for(tenant.pk, runner):
            return lease
    return None


def _tenants_with_work() -> list[Tenant]:
    """Whose turn it is. Read without a lock: whether a claim holds is decided under the tenant's lock."""
    with scopes_disabled():
        of_tenant = Deployment.objects.filter(tenant=OuterRef("pk")).order_by()
        active = of_tenant.filter(status__in=ACTIVE).values("tenant")
        waiting = Deployment.objects.filter(status=Status.QUEUED).exclude(
            Exists(Deployment.objects.filter(tenant=OuterRef("tenant"), name=OuterRef("name"), status__in=ACTIVE))
        )
        found = (
            Tenant.objects.filter(suspended_at__isnull=True, pk__in=waiting.order_by().values("tenant"))
            .annotate(
                running=Coalesce(Subquery(active.annotate(count=Count("pk")).values("count")), 0),
                served=Subquery(
                    of_tenant.values("started_at").filter(started_at__isnull=False).order_by("-started_at")[:1]
                ),
            )
            .filter(running__lt=Coalesce("deployments_at_once", settings.DEPLOYMENTS_AT_ONCE_PER_TENANT))
            .order_by("running", F("served").asc(nulls_first=True), "pk")
        )
        return list(found[:CANDIDATES])


@transaction.atomic
def _claim_for(tenant_id: UUID, runner: str) -> Lease | None:
    tenant = Tenant.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=tenant_id).first()
    if tenant is None or tenant.is_suspended:
        return None
    with scope(tenant=tenant):
        names = list(Deployment.objects.filter(status__in=ACTIVE).values_list("name", flat=True))
        if len(names) >= (tenant.deployments_at_once or settings.DEPLOYMENTS_AT_ONCE_PER_TENANT):
            return None
        queue = Deployment.objects.select_for_update(of=("self",), skip_locked=True).filter(status=Status.QUEUED)
        deployment = queue.exclude(name__in=names).select_related("release__stack").order_by("number").first()
        if deployment is None:
            return None
        deployment.move_to(Status.STARTING)
        deployment.runner = runner
        deployment.fence += 1
        _extend(deployment)
        deployment.save()
        deployment_changed.send(Deployment, deployment=deployment, by=None)
        move_queue_up(deployment)
        return Lease(tenant, deployment.pk, deployment.fence)


def _extend(deployment: Deployment) -> None:
    deployment.heartbeat_at = timezone.now()
    deployment.lease_expires_at = deployment.heartbeat_at + timedelta(seconds=settings.RUNNER_LEASE_SECONDS)


def renew(leases: Iterable[Lease]) -> set[Lease]:
    """Hold these leases longer. Returns those that still hold; the others' deployments have been ended."""
    now = timezone.now()
    expiry = now + timedelta(seconds=settings.RUNNER_LEASE_SECONDS)
    kept = set()
    with scopes_disabled():
        for lease in leases:
            held = Deployment.objects.filter(pk=lease.deployment_id, fence=lease.fence, status__in=ACTIVE)
            if held.update(heartbeat_at=now, lease_expires_at=expiry):
                kept.add(lease)
    return kept


def asked_to_stop(leases: Iterable[Lease]) -> set[UUID]:
    """Of these, the deployments that somebody asked to cancel."""
    ids = [lease.deployment_id for lease in leases]
    with scopes_disabled():
        asked = Deployment.objects.filter(pk__in=ids, cancel_requested_at__isnull=False)
        return set(asked.values_list("pk", flat=True)) if ids else set()


# --- Reporting --------------------------------------------------------------------------------------------------------


def _report(lease: Lease, change: Callable[[Deployment], None]) -> Deployment:
    with transaction.atomic(), scope(tenant=lease.tenant):
        deployment = _held(lease)
        change(deployment)
        deployment.save()
        deployment_changed.send(Deployment, deployment=deployment, by=None)
        return deployment


def _held(lease: Lease) -> Deployment:
    """The deployment, locked. Raises LeaseLost."""
    deployment = locked(Deployment(pk=lease.deployment_id))
    if deployment.fence != lease.fence or not deployment.is_active:
        raise LeaseLost(f"{deployment.title} is {deployment.status}.")
    return deployment


def step_begins(lease: Lease, index: int) -> Deployment:
    """The step at this place (from 0) runs now. Raises LeaseLost."""

    def change(deployment: Deployment) -> None:
        deployment.steps[index].update(status=str(StepStatus.RUNNING), startedAt=wire_time(timezone.now()))
        deployment.move_to(Status.RUNNING)

    return _report(lease, change)


def step_ends(lease: Lease, index: int, status: StepStatus, exit_code: int | None) -> Deployment:
    """The step has ended. `exit_code` is None where it never started; minus N where signal N ended it."""

    def change(deployment: Deployment) -> None:
        deployment.steps[index].update(status=str(status), endedAt=wire_time(timezone.now()), exitCode=exit_code)
        deployment.move_to(Status.RUNNING)

    return _report(lease, change)


def complete(lease: Lease) -> Deployment:
    """Every step ended with 0 and nothing of them still runs. Raises LeaseLost."""
    return _report(lease, lambda deployment: deployment.move_to(Status.COMPLETED))


def fail(lease: Lease, reason: str) -> Deployment:
    """Raises LeaseLost."""
    return _report(lease, lambda deployment: deployment.move_to(Status.FAILED, reason=reason))


def confirm_cancel(lease: Lease, reason: str) -> Deployment:
    """Its steps have been stopped, as somebody asked. Raises LeaseLost."""
    return _report(lease, lambda deployment: deployment.move_to(Status.CANCELLED, reason=reason))


def append_log(lease: Lease, blocks: Sequence[OutputBlock]) -> None:
    """Store lines and emit them; what is already stored is left out, so it may be repeated. Raises LeaseLost."""
    with transaction.atomic(), scope(tenant=lease.tenant):
        deployment = _held(lease)
        new = [
            LogBlock.objects.create(
                tenant=lease.tenant,
                deployment=deployment,
                first_line=block.first_line,
                line_count=block.line_count,
                at=block.at,
                level=block.level,
                text=block.text,
            )
            for block in blocks
            if block.first_line > deployment.line_count
        ]
        if new:
            deployment.line_count = new[-1].last_line
            deployment.save(update_fields=["line_count"])
            log_written.send(Deployment, blocks=new)


# --- Losing -----------------------------------------------------------------------------------------------------------


def mark_lost() -> int:
    """End every deployment whose runner was silent for a whole lease. Returns how many. Any process may call it."""
    with scopes_disabled():
        expired = list(
            Deployment.objects.filter(status__in=ACTIVE, lease_expires_at__lt=timezone.now()).select_related("tenant")
        )
    return sum(_mark_lost(deployment) for deployment in expired)


def _mark_lost(deployment: Deployment) -> bool:
    with transaction.atomic(), scope(tenant=deployment.tenant):
        found = Deployment.objects.select_for_update(of=("self",), skip_locked=True).select_related("release__stack")
        silent = found.filter(pk=deployment.pk, status__in=ACTIVE, lease_expires_at__lt=timezone.now()).first()
        if silent is None:
            return False
        silent.move_to(Status.LOST, reason=_silence(silent, deployment.tenant))
        silent.save()
        deployment_changed.send(Deployment, deployment=silent, by=None)
        return True


def _silence(deployment: Deployment, tenant: Tenant) -> str:
    since = (deployment.heartbeat_at or timezone.now()).astimezone(ZoneInfo(tenant.time_zone))
    return (
        f"Runner silent since {since:%H:%M:%S} {since.tzname()}. "
        f"{deployment.title} is lost; the running release was not touched. Retry."
    )
