"""What can be done to a tenant, its people and its keys, one transaction each.

Every action locks the tenant first, then people in the order of their ids: two that decide about the same rows wait for
each other.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid5

from django.conf import settings
from django.db import transaction
from django.db.models import CASCADE, F
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.dispatch import receiver
from django.utils import timezone
from django_scopes import scopes_disabled

from accounts.actions import (
    Refused,
    announce_access,
    find_or_add_person,
    invite,
    raise_generation,
    resend_invitation,
)
from accounts.events import Reason
from accounts.models import Invitation, User
from accounts.signals import disabling
from events.actors import HasActor
from tenants.events import Change
from tenants.models import ApiKey, Membership, Role, Tenant
from tenants.signals import tenant_changed, tenant_deleting

#: Characters of the reason for a suspension: what the column holds.
REASON_MAX = 300

F_ = TypeVar("F_", bound=Callable[..., Any])


class LastAdmin(Refused):
    """A tenant always keeps somebody who can manage it."""

    def __init__(self, tenant: Tenant, user: User) -> None:
        super().__init__(
            f"{user} is the last admin of {tenant}. Nothing was changed: make somebody else an admin of it first."
        )


class StaleVersion(Refused):
    """What the caller saw has been changed since. `now` is the row as it is."""

    code = "stale_version"

    def __init__(self, what: str, now: Membership | Tenant) -> None:
        super().__init__(f"{what} since you opened the page. Nothing was changed now.")
        self.now = now


class CreatedAlready(Refused):
    """The same form was sent before. Its key is there; its secret is not."""

    def __init__(self, key: ApiKey) -> None:
        super().__init__(
            f"The API key {key.name} was created already, and its secret is not shown again. Nothing was changed now: "
            "if nobody copied it, revoke the key and create another."
        )


class SentAlready(Refused):
    def __init__(self, person: User) -> None:
        super().__init__(
            f"{person}'s invitation was sent less than {settings.INVITATION_AGAIN_SECONDS} s ago. "
            "Nothing was sent now: give it a moment to arrive."
        )


def action(function: F_) -> F_:
    """One transaction, which sees the rows of every tenant: the action itself takes its tenant explicitly."""
    return scopes_disabled()(transaction.atomic(function))  # type: ignore[no-any-return]


# --- Tenants ----------------------------------------------------------------------------------------------------------


@action
def create_tenant(slug: str, name: str, by: HasActor | None, *, time_zone: str = "UTC") -> Tenant:
    """Raises ValidationError when the slug is taken or not one, or the time zone unknown."""
    tenant = Tenant(slug=slug, name=name, time_zone=time_zone)
    tenant.full_clean()
    tenant.save(force_insert=True)
    tenant_changed.send(Tenant, tenant=tenant, change=Change.CREATED, by=by)
    return tenant


@action
def update_tenant(
    tenant: Tenant,
    by: HasActor | None,
    *,
    name: str | None = None,
    time_zone: str | None = None,
    seen: Mapping[str, str] | None = None,
) -> Tenant:
    """Change what may be changed. The slug stays: it is in people's bookmarks and in their scripts.

    `seen` is what the caller was shown of these fields; raises StaleVersion if they are something else by now. It is
    the values and not `version`, which rises with each API key too. Raises ValidationError for what is not valid.
    """
    tenant = _lock(tenant)
    if any(getattr(tenant, field) != value for field, value in (seen or {}).items()):
        raise StaleVersion(f"The settings of {tenant} were changed", tenant)
    wanted = {field: value for field, value in (("name", name), ("time_zone", time_zone)) if value is not None}
    if all(getattr(tenant, field) == value for field, value in wanted.items()):
        return tenant  # nobody changed anything, so there is nothing to say
    for field, value in wanted.items():
        setattr(tenant, field, value)
    tenant.full_clean()
    return _changed(tenant, Change.SETTINGS, by)


@action
def allow_deployments(tenant: Tenant, at_once: int | None, by: HasActor | None) -> Tenant:
    """Let so many of its deployments run together; None: the platform's own number. What already runs goes on."""
    tenant = _lock(tenant)
    if tenant.deployments_at_once == at_once:
        return tenant
    tenant.deployments_at_once = at_once
    tenant.full_clean()
    return _changed(tenant, Change.SETTINGS, by)


@action
def suspend(tenant: Tenant, by: HasActor | None, reason: str = "", *, seen_suspended: bool | None = None) -> Tenant:
    """End the access of every member and every key until `resume`. Nothing is deleted. Its people read the reason.

    `seen_suspended` is what the caller was shown; raises StaleVersion if it is not so any more. It is this and not
    `version`: whoever makes an API key a second could not be suspended at all.
    """
    tenant = _lock(tenant)
    _check_seen(tenant, seen_suspended)
    if tenant.is_suspended:
        return tenant
    tenant.suspended_at, tenant.suspended_reason = timezone.now(), reason.strip()[:REASON_MAX]
    _changed(tenant, Change.SUSPENDED, by, subject=tenant.suspended_reason or None)
    for person in _people(tenant):
        raise_generation(person, Reason.SUSPENDED, by, tenant_id=tenant.id, place=tenant.name)
    return tenant


@action
def resume(tenant: Tenant, by: HasActor | None, *, seen_suspended: bool | None = None) -> Tenant:
    """Give everybody their access back. `seen_suspended` as in `suspend`."""
    tenant = _lock(tenant)
    _check_seen(tenant, seen_suspended)
    if not tenant.is_suspended:
        return tenant
    tenant.suspended_at, tenant.suspended_reason = None, ""
    _changed(tenant, Change.RESUMED, by)
    for person in _people(tenant):
        announce_access(person, Reason.RESUMED, by, tenant_id=tenant.id, place=tenant.name)
    return tenant


def _check_seen(tenant: Tenant, seen_suspended: bool | None) -> None:
    if seen_suspended not in (None, tenant.is_suspended):
        raise StaleVersion(f"{tenant} was {'suspended' if tenant.is_suspended else 'resumed'} by somebody", tenant)


@action
def delete_tenant(tenant: Tenant, by: HasActor | None) -> None:
    """Delete a tenant with everything that is its own; `what_goes_with` counts that. It can't be undone.

    Every member's connections end, every key is unknown from now on. The log keeps what happened, with the tenant's id,
    until it is pruned like everything else. Raises Refused while something runs for it.
    """
    tenant = _lock(tenant)
    people = _people(tenant)
    Membership.objects.filter(tenant=tenant).delete()
    Invitation.objects.filter(tenant_id=tenant.id).delete()
    for person in people:
        raise_generation(person, Reason.REMOVED, by, tenant_id=tenant.id, place=tenant.name)
    tenant_deleting.send(Tenant, tenant=tenant, people=people, by=by)
    _changed(tenant, Change.DELETED, by)
    tenant.delete()


@scopes_disabled()
def what_goes_with(tenant: Tenant) -> dict[str, int]:
    """How many rows of each kind are this tenant's own, by the kind's name: whatever any app keeps for it."""
    counted = {}
    for relation in Tenant._meta.get_fields(include_hidden=True):
        field = getattr(relation, "field", None)
        if isinstance(relation, ForeignObjectRel) and field and field.remote_field.on_delete is CASCADE:
            kind = str(relation.related_model._meta.verbose_name_plural)
            counted[kind] = relation.related_model._base_manager.filter(**{field.name: tenant}).count()
    return {kind: count for kind, count in sorted(counted.items()) if count}


# --- People in a tenant -----------------------------------------------------------------------------------------------


@action
def add_member(tenant: Tenant, email: str, role: Role, by: HasActor | None, *, name: str = "") -> Membership:
    """Add the person with this address. Somebody new gets a link to set a password, anybody else is told, by mail.

    `name` is for somebody new only. Raises Refused for a member or a disabled person, ValidationError for no address.
    """
    tenant = _lock(tenant)
    person, _ = find_or_add_person(email, name, by)
    membership = join(tenant, person, role, by)
    invite(person, by, place=tenant.name, tenant_id=tenant.id)
    return membership


@action
def send_invitation_again(membership: Membership, by: HasActor | None) -> None:
    """Mail somebody who has not accepted yet, or whom the mail did not reach, again, with a fresh link.

    Raises SentAlready within INVITATION_AGAIN_SECONDS (a mailbox is not to be flooded), Refused for who has accepted,
    and Membership.DoesNotExist if it has ended.
    """
    tenant = _lock(membership.tenant)
    person = _fresh(membership).user
    latest = Invitation.objects.filter(user=person, tenant_id=tenant.id).first()
    if latest is None and not person.has_usable_password():
        invite(person, by, place=tenant.name, tenant_id=tenant.id)
        return
    if latest is None:
        raise Refused(f"{person} has accepted already. Nothing was sent.")
    if (
        not latest.error
        and latest.sent_at
        and timezone.now() - latest.sent_at < timedelta(seconds=settings.INVITATION_AGAIN_SECONDS)
    ):
        raise SentAlready(person)
    resend_invitation(latest)


@action
def join(tenant: Tenant, person: User, role: Role, by: HasActor | None) -> Membership:
    """Make a person a member, without a mail. Raises Refused for a member or a disabled person."""
    tenant = _lock(tenant)
    person = User.objects.select_for_update().get(pk=person.pk)
    if not person.is_active:
        raise Refused(f"{person}'s account is disabled. Nothing was changed: a platform admin can enable it.")
    if Membership.objects.filter(tenant=tenant, user=person).exists():
        raise Refused(f"{person} is a member of {tenant} already. Nothing was changed: the role can be.")
    membership = Membership.objects.create(tenant=tenant, user=person, role=Role(role))
    announce_access(person, Reason.ADDED, by, tenant_id=tenant.id, place=tenant.name)
    return membership


@action
def change_role(
    membership: Membership, role: Role, by: HasActor | None, *, expected_version: int | None = None
) -> Membership:
    """Raises LastAdmin, StaleVersion if it is not the version expected, Membership.DoesNotExist if it has ended."""
    tenant = _lock(membership.tenant)
    membership = _fresh(membership, expected_version)
    if membership.role == role:
        return membership
    _keep_an_admin(tenant, membership)
    membership.role = Role(role)
    membership.version += 1
    membership.save(update_fields=["role", "version"])
    tell, reason = (
        (announce_access, Reason.PROMOTED) if role == Role.TENANT_ADMIN else (raise_generation, Reason.DEMOTED)
    )
    tell(membership.user, reason, by, tenant_id=tenant.id, place=tenant.name)
    return membership


@action
def remove_member(membership: Membership, by: HasActor | None, *, expected_version: int | None = None) -> None:
    """Raises LastAdmin, StaleVersion if it is not the version expected, Membership.DoesNotExist if it has ended."""
    tenant = _lock(membership.tenant)
    membership = _fresh(membership, expected_version)
    _keep_an_admin(tenant, membership)
    membership.delete()
    raise_generation(membership.user, Reason.REMOVED, by, tenant_id=tenant.id, place=tenant.name)


@receiver(disabling)
@action
def refuse_to_lose_the_last_admin(user: User, **_: Any) -> None:
    """Nobody is disabled while a tenant has no other admin. Locks every tenant the person belongs to."""
    mine = Membership.objects.filter(user=user, user__is_active=True)
    for tenant in Tenant.objects.select_for_update().filter(pk__in=mine.values("tenant")).order_by("pk"):
        for membership in Membership.objects.filter(tenant=tenant, user=user):
            _keep_an_admin(tenant, membership)


# --- API keys ---------------------------------------------------------------------------------------------------------


@action
def create_api_key(
    tenant: Tenant,
    name: str,
    scopes: Iterable[str],
    by: User | None,
    *,
    expiry_date: datetime | None = None,
    idempotency_key: str = "",
) -> tuple[ApiKey, str]:
    """A key and its secret, which is kept nowhere: show it now, or never.

    Asking twice with one `idempotency_key` creates one key: the second time raises CreatedAlready, for there is no
    secret to answer with. Raises ValidationError for what is not valid.
    """
    tenant = _lock(tenant)
    key = ApiKey(tenant=tenant, name=name, scopes=sorted(set(scopes)), expiry_date=expiry_date, created_by=by)
    if idempotency_key:
        key.id = uuid5(tenant.id, idempotency_key)
        if earlier := ApiKey.objects.filter(pk=key.id).first():
            raise CreatedAlready(earlier)
    secret = ApiKey.objects.assign_key(key)
    key.full_clean()
    key.save(force_insert=True)
    _changed(tenant, Change.KEY_CREATED, by, subject=name)
    return key, secret


@action
def revoke_api_key(key: ApiKey, by: HasActor | None) -> ApiKey:
    """From now on the key is unknown. It can't be given back."""
    tenant = _lock(key.tenant)
    key = ApiKey.objects.get(pk=key.pk)
    if not key.revoked:
        key.revoked, key.revoked_at = True, timezone.now()
        key.save(update_fields=["revoked", "revoked_at"])
        _changed(tenant, Change.KEY_REVOKED, by, subject=key.name)
    return key


# --- Rows -------------------------------------------------------------------------------------------------------------


def _lock(tenant: Tenant) -> Tenant:
    return Tenant.objects.select_for_update().get(pk=tenant.pk)


def _fresh(membership: Membership, expected_version: int | None = None) -> Membership:
    """The row as it is now: its tenant is locked, so it stays so."""
    now = Membership.objects.select_related("user").get(pk=membership.pk)
    if expected_version not in (None, now.version):
        raise StaleVersion(f"{now.user}'s role was changed", now)
    return now


def _people(tenant: Tenant) -> list[User]:
    return list(User.objects.filter(memberships__tenant=tenant).order_by("pk"))


def _changed(tenant: Tenant, change: Change, by: HasActor | None, subject: str | None = None) -> Tenant:
    tenant.version = F("version") + 1
    tenant.save()
    tenant.refresh_from_db(fields=["version"])
    tenant_changed.send(Tenant, tenant=tenant, change=change, by=by, subject=subject)
    return tenant


def _keep_an_admin(tenant: Tenant, leaving: Membership) -> None:
    """The tenant's row is locked, and so is, before it is disabled, every tenant of a person: see `disable_person`."""
    others = Membership.objects.filter(tenant=tenant, role=Role.TENANT_ADMIN, user__is_active=True)
    if leaving.role == Role.TENANT_ADMIN and not others.exclude(pk=leaving.pk).exists():
        raise LastAdmin(tenant, leaving.user)
