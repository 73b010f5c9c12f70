"""What people and services can do with stacks and deployments. What a runner does is in `leases.py`.

Locks are always taken in the same order: the tenant's row where the queue or the numbering is touched, then a
deployment's.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone
from django_scopes import scope

from accounts.actions import Refused
from accounts.models import User
from deployments import sealing, stacks
from deployments.models import (
    ENDED,
    NAME_PATTERN,
    QUEUE_PLACES_SHOWN,
    Deployment,
    Release,
    Stack,
    Status,
    digest_of,
    hashes_of,
    steps_to_come,
)
from deployments.signals import deployment_changed
from events.actors import HasActor
from tenants import idempotency
from tenants.models import Tenant


class InvalidRequest(Refused):
    """`errors`: field -> what is wrong with it. A parameter's field is `parameters.NAME`."""

    code = "invalid"

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(" ".join(f"{field}: {error}" for field, error in errors.items()))
        self.errors = errors


class QueueFull(Refused):
    code = "queue_full"


class IdempotencyConflict(Refused):
    code = idempotency.CONFLICT


class NotCancellable(Refused):
    code = "not_cancellable"


class NotRetryable(Refused):
    code = "not_retryable"


class NotRollbackable(Refused):
    code = "not_rollbackable"


class NotADraft(Refused):
    code = "not_a_draft"


class NotApprovable(Refused):
    code = "not_approvable"


class StaleVersion(Refused):
    """The deployment changed after the page that this request comes from was made.

    `deployment` is how it is now; `difference` says the same in the terms of the page: field -> (seen, now).
    """

    code = "stale_version"

    def __init__(self, deployment: Deployment, seen: int) -> None:
        state = deployment.get_status_display().lower()
        reason = f" ({deployment.reason})" if deployment.reason else ""
        super().__init__(
            f"{deployment.title} has changed since you opened this page: it is {state} now{reason}. "
            "Nothing was changed."
        )
        self.deployment = deployment
        self.difference: dict[str, dict[str, Any]] = {
            "version": {"seen": seen, "now": deployment.version},
            "status": {"now": str(deployment.status)},
            "reason": {"now": deployment.reason},
        }


# --- Stacks: the platform's own ---------------------------------------------------------------------------------------


@transaction.atomic
def save_draft(stack: Stack) -> Stack:
    """Keep a new stack, or what was changed of a draft. Raises NotADraft, and ValidationError for what is not valid."""
    if not stack._state.adding:
        _locked_draft(stack)
    stack.full_clean()
    stack.save()
    return stack


@transaction.atomic
def delete_draft(stack: Stack) -> None:
    """Raises NotADraft."""
    _locked_draft(stack).delete()


@transaction.atomic
def approve(stack: Stack, by: User) -> Stack:
    """Offer this version to every tenant, and freeze it.

    Raises NotADraft if it already is approved, NotApprovable if its steps or parameters are not valid.
    """
    stack = _locked_draft(stack)
    try:
        stacks.parse_steps(stack.steps)
        stacks.parse_parameters(stack.parameters)
    except ValueError as error:
        raise NotApprovable(f"{stack} cannot be approved: {error}") from None
    stack.approved_at = timezone.now()
    stack.approved_by = by
    stack.save()
    return stack


@transaction.atomic
def new_version(stack: Stack) -> Stack:
    """A draft of the stack's next version, to be changed and then approved."""
    versions = Stack.objects.select_for_update().filter(slug=stack.slug).order_by("-version")
    return Stack.objects.create(
        slug=stack.slug,
        version=versions[0].version + 1,
        name=stack.name,
        description=stack.description,
        steps=stack.steps,
        parameters=stack.parameters,
    )


def _locked_draft(stack: Stack) -> Stack:
    draft = Stack.objects.select_for_update().get(pk=stack.pk)
    if draft.is_approved:
        raise NotADraft(f"{draft} is already approved. Nothing was changed: make its next version.")
    return draft


def offered_stack(slug: str) -> Stack:
    """The version of this stack that a new deployment would use. Raises Stack.DoesNotExist."""
    return Stack.objects.offered().get(slug=slug)


# --- Deployments ------------------------------------------------------------------------------------------------------


def request_deployment(
    tenant: Tenant,
    stack: Stack,
    parameters: dict[str, Any],
    by: HasActor,
    name: str | None = None,
    idempotency_key: str | None = None,
) -> Deployment:
    """Queue a deployment of an approved stack. With the same `idempotency_key` again: the one it made the first time.

    Raises InvalidRequest, QueueFull, and IdempotencyConflict when the key was used for another request.
    """
    asked = sealing.keyed_hash({"stack": stack.slug, "parameters": parameters, "name": name})
    with transaction.atomic(), scope(tenant=tenant):
        tenant = _lock_tenant(tenant)
        if known := _asked_before(tenant, by, idempotency_key, asked):
            return known
        release = _release(tenant, stack, _checked(stack, parameters, name))
        deployment = _queue(tenant, release, by, name or stack.slug, idempotency_key, asked)
        deployment_changed.send(Deployment, deployment=deployment, by=by)
        return deployment


def cancel(deployment: Deployment, by: HasActor, expected_version: int | None = None) -> Deployment:
    """Ask a deployment to stop. A waiting one is cancelled at once; a running one when its runner says so.

    Asking twice is asking once. Raises NotCancellable if it has ended, StaleVersion if it is not the version expected.
    """
    with transaction.atomic(), scope(tenant=deployment.tenant):
        _lock_tenant(deployment.tenant)
        deployment = locked(deployment)
        _expect(deployment, expected_version)
        if deployment.has_ended:
            raise NotCancellable(f"{deployment.title} is already {deployment.status}. Nothing was changed.")
        if deployment.cancel_requested_at:
            return deployment
        deployment.cancel_requested_at = timezone.now()
        deployment.canceller_name = by.actor.name
        waited = deployment.status == Status.QUEUED
        deployment.move_to(Status.CANCELLED if waited else deployment.status)
        deployment.save()
        deployment_changed.send(Deployment, deployment=deployment, by=by)
        if waited:
            move_queue_up(deployment)
        return deployment


def retry(
    deployment: Deployment,
    by: HasActor,
    expected_version: int | None = None,
    idempotency_key: str | None = None,
) -> Deployment:
    """Queue the same release again, as a new deployment.

    Raises NotRetryable unless it failed or is lost and no other try of it is under way; StaleVersion, QueueFull and
    IdempotencyConflict.
    """
    asked = sealing.keyed_hash({"retry": str(deployment.pk)})
    return _again(deployment, "retry_of", _expect_retryable, by, expected_version, idempotency_key, asked)


def roll_back(
    to: Deployment,
    by: HasActor,
    expected_version: int | None = None,
    idempotency_key: str | None = None,
) -> Deployment:
    """Queue the release of a completed deployment again, as it was, whatever was approved or deployed since.

    Raises NotRollbackable unless it completed and no other going back to it is under way; StaleVersion, QueueFull and
    IdempotencyConflict.
    """
    asked = sealing.keyed_hash({"rollback": str(to.pk)})
    return _again(to, "rollback_of", _expect_rollbackable, by, expected_version, idempotency_key, asked)


# --- Parts of the above -----------------------------------------------------------------------------------------------


def locked(deployment: Deployment) -> Deployment:
    """The row as it is now, locked to the end of the transaction."""
    return Deployment.objects.select_for_update(of=("self",)).select_related("release__stack").get(pk=deployment.pk)


def move_queue_up(left: Deployment) -> None:
    """Tell those that wait behind one which left the queue their new places. The tenant must be locked.

    Only the first QUEUE_PLACES_SHOWN have a place, so that a queue of a thousand costs no more than that.
    """
    queue = Deployment.objects.select_for_update(of=("self",)).filter(tenant=left.tenant_id, status=Status.QUEUED)
    shown = queue.select_related("release__stack", "retry_of", "rollback_of").order_by("number")[:QUEUE_PLACES_SHOWN]
    moved = {place: one for place, one in enumerate(shown, start=1) if one.number > left.number}
    queue.filter(pk__in=[one.pk for one in moved.values()]).update(version=F("version") + 1)
    for place, deployment in moved.items():
        deployment.move_to(Status.QUEUED)
        deployment_changed.send(Deployment, deployment=deployment, by=None, place=place)


def _lock_tenant(tenant: Tenant) -> Tenant:
    """One change of a tenant's queue at a time. Rows that refer to the tenant can still be written meanwhile."""
    return Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)


def _again(
    past: Deployment,
    link: str,
    expect: Callable[[Deployment], None],
    by: HasActor,
    expected_version: int | None,
    idempotency_key: str | None,
    asked: str,
) -> Deployment:
    """Queue the release of a past deployment as a new one, which refers to it by the field `link`."""
    with transaction.atomic(), scope(tenant=past.tenant):
        tenant = _lock_tenant(past.tenant)
        if known := _asked_before(tenant, by, idempotency_key, asked):
            return known
        past = locked(past)
        _expect(past, expected_version)
        expect(past)
        new = _queue(tenant, past.release, by, past.name, idempotency_key, asked, **{link: past})
        deployment_changed.send(Deployment, deployment=new, by=by)
        return new


def _expect(deployment: Deployment, version: int | None) -> None:
    if version is not None and deployment.version != version:
        raise StaleVersion(deployment, version)


def _expect_retryable(deployment: Deployment) -> None:
    if not deployment.can_retry:
        raise NotRetryable(f"{deployment.title} is {deployment.status}: only a failed or lost one can be retried.")
    under_way = deployment.retries.exclude(status__in=ENDED).first()
    if under_way:
        raise NotRetryable(f"{under_way.title} is already trying {deployment.title} again.")


def _expect_rollbackable(to: Deployment) -> None:
    if not to.can_roll_back:
        raise NotRollbackable(f"{to.title} is {to.status}: only a completed one can be rolled back to.")
    under_way = to.rollbacks.exclude(status__in=ENDED).first()
    if under_way:
        raise NotRollbackable(f"{under_way.title} is already rolling back to {to.title}.")


def _asked_before(tenant: Tenant, by: HasActor, key: str | None, asked: str) -> Deployment | None:
    if not key:
        return None
    known = Deployment.objects.filter(tenant=tenant, requester_id=by.actor.id, idempotency_key=key).first()
    if known and known.request_hash != asked:
        raise IdempotencyConflict(
            f"This Idempotency-Key was used for another request ({known.title}). Use a new key for a new request."
        )
    return known


def _checked(stack: Stack, parameters: dict[str, Any], name: str | None) -> dict[str, stacks.Value]:
    errors: dict[str, str] = {}
    values: dict[str, stacks.Value] = {}
    if not stack.is_approved:
        errors["stack"] = f"{stack} is not approved yet."
    if name and (len(name) > 50 or not NAME_PATTERN.fullmatch(name)):
        errors["name"] = "Use at most 50 letters, digits, spaces, dots, hyphens and underscores."
    try:
        values = stacks.clean_values(stack.parameter_list, parameters)
    except stacks.InvalidValues as invalid:
        errors |= {f"parameters.{parameter}": error for parameter, error in invalid.errors.items()}
    if errors:
        raise InvalidRequest(errors)
    return values


def _release(tenant: Tenant, stack: Stack, values: dict[str, stacks.Value]) -> Release:
    """The tenant's release of exactly this; made on first use. The tenant must be locked."""
    secret_names = {parameter.name for parameter in stack.parameter_list if parameter.type == "secret"}
    secrets = {name: str(value) for name, value in values.items() if name in secret_names}
    shown: dict[str, Any] = {**values, **hashes_of(tenant.pk, secrets)}
    digest = digest_of(stack.slug, stack.version, stack.steps, shown)
    release, _ = Release.objects.get_or_create(
        tenant=tenant,
        digest=digest,
        defaults={
            "stack": stack,
            "stack_version": stack.version,
            "steps": stack.steps,
            "parameters": shown,
            "sealed": sealing.seal(secrets),
        },
    )
    return release


def _queue(
    tenant: Tenant,
    release: Release,
    by: HasActor,
    name: str,
    idempotency_key: str | None,
    asked: str,
    **link: Deployment,
) -> Deployment:
    waiting = Deployment.objects.filter(tenant=tenant, status=Status.QUEUED).count()
    if waiting >= settings.DEPLOYMENT_QUEUE_LIMIT:
        raise QueueFull(f"{waiting} deployments already wait. Cancel one or let one end, then deploy again.")
    last = Deployment.objects.filter(tenant=tenant).aggregate(last=Max("number"))["last"] or 0
    actor = by.actor
    return Deployment.objects.create(
        tenant=tenant,
        number=last + 1,
        name=name,
        release=release,
        steps=steps_to_come(release),
        requested_by=by if isinstance(by, User) else None,
        requester_id=actor.id,
        requester_name=actor.name,
        idempotency_key=idempotency_key or "",
        request_hash=asked,
        **link,
    )
