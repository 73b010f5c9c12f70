"""What can be done to a person, one transaction each. Whatever takes access away raises the generation in it."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from django.core.validators import validate_email
from django.db import transaction
from django.db.models import F, Q

from accounts import mail
from accounts.events import Reason
from accounts.models import Invitation, User
from accounts.signals import access_changed, disabling
from events.actors import HasActor


class Refused(Exception):
    """A rule of the platform forbids it. The message is for people: what, why, what to do."""


class LastPlatformAdmin(Refused):
    def __init__(self, user: User) -> None:
        super().__init__(
            f"{user} is the platform's last admin. Nothing was changed: make somebody else a platform admin first."
        )


class ChangedMeanwhile(Refused):
    def __init__(self, user: User) -> None:
        super().__init__(f"What {user} may do was changed at the same moment. Nothing was changed here: try again.")


# --- Access generations -----------------------------------------------------------------------------------------------


@transaction.atomic
def raise_generation(
    user: User,
    reason: Reason,
    by: HasActor | None,
    *,
    tenant_id: UUID | None = None,
    place: str | None = None,
) -> int:
    """End every connection and token that this person holds; returns the new generation.

    `tenant_id` and `place` (its name) say which tenant the reason speaks of. The row stays locked until the commit,
    so that generations and their events have one order.
    """
    return _change_access(user, reason, by, tenant_id, place, raised=1)


@transaction.atomic
def announce_access(
    user: User, reason: Reason, by: HasActor | None, *, tenant_id: UUID | None = None, place: str | None = None
) -> None:
    """Tell a person's open pages that more is allowed now. Nothing is revoked."""
    _change_access(user, reason, by, tenant_id, place, raised=0)


def _change_access(
    user: User, reason: Reason, by: HasActor | None, tenant_id: UUID | None, place: str | None, raised: int
) -> int:
    if bool(raised) != reason.taken_away:
        raise ValueError(f"{reason}: the generation is raised if, and only if, something is taken away.")
    User.objects.filter(pk=user.pk).update(
        access_generation=F("access_generation") + raised, access_version=F("access_version") + 1
    )
    user.refresh_from_db(fields=["access_generation", "access_version"])
    access_changed.send(User, user=user, reason=reason, by=by, tenant_id=tenant_id, place=place)
    return user.access_generation


# --- People -----------------------------------------------------------------------------------------------------------


@transaction.atomic
def add_person(email: str, name: str, by: HasActor | None) -> User:
    """A new person, who gets a link to set a password once this has committed.

    Raises Refused if there is one with this address, and ValidationError if it is none.
    """
    user, is_new = find_or_add_person(email, name, by)
    if not is_new:
        raise Refused(f"{user.email} has an account already ({user}). Nothing was changed.")
    invite(user, by)
    return user


@transaction.atomic
def find_or_add_person(email: str, name: str, by: HasActor | None) -> tuple[User, bool]:
    """The person with this address, and whether they are new. Somebody new can't sign in until they are invited."""
    validate_email(email)
    email = User.objects.normalize_email(email).lower()
    fresh = User(email=email, name=name or email.partition("@")[0])
    fresh.set_unusable_password()
    user, is_new = User.objects.get_or_create(email=email, defaults={"name": fresh.name, "password": fresh.password})
    if is_new:
        announce_access(user, Reason.INVITED, by)
    return user, is_new


@transaction.atomic
def rename_person(user: User, name: str) -> User:
    user.name = name
    user.save(update_fields=["name"])
    return user


@transaction.atomic
def change_password(user: User, password: str, by: HasActor | None) -> None:
    """Set a password, and end every connection that the old one opened."""
    user.set_password(password)
    user.save(update_fields=["password"])
    raise_generation(user, Reason.PASSWORD_CHANGED, by)


@transaction.atomic
def disable_person(user: User, by: HasActor | None) -> User:
    """They can't sign in and have no session, until enabled again.

    Raises Refused for the last admin of the platform or of a tenant.
    """
    seen = User.objects.values_list("access_version", flat=True).get(pk=user.pk)
    disabling.send(User, user=user)  # tenants are locked before people, everywhere
    locked = _lock_with_admins(user)
    if locked.access_version != seen:
        raise ChangedMeanwhile(user)
    if not locked.is_active:
        return locked
    _keep_a_platform_admin(locked)
    locked.is_active = False
    locked.save(update_fields=["is_active"])
    raise_generation(locked, Reason.DISABLED, by)
    return locked


@transaction.atomic
def enable_person(user: User, by: HasActor | None) -> User:
    locked = User.objects.select_for_update().get(pk=user.pk)
    if not locked.is_active:
        locked.is_active = True
        locked.save(update_fields=["is_active"])
        announce_access(locked, Reason.ENABLED, by)
    return locked


@transaction.atomic
def grant_platform_admin(user: User, by: HasActor | None) -> User:
    locked = User.objects.select_for_update().get(pk=user.pk)
    if not locked.is_superuser:
        _set_platform_admin(locked, True)
        announce_access(locked, Reason.PLATFORM_ADMIN_GRANTED, by)
    return locked


@transaction.atomic
def take_platform_admin(user: User, by: HasActor | None) -> User:
    """Raises LastPlatformAdmin."""
    locked = _lock_with_admins(user)
    if locked.is_superuser:
        _keep_a_platform_admin(locked)
        _set_platform_admin(locked, False)
        raise_generation(locked, Reason.PLATFORM_ADMIN_TAKEN, by)
    return locked


def _set_platform_admin(user: User, granted: bool) -> None:
    user.is_superuser = user.is_staff = granted
    user.save(update_fields=["is_superuser", "is_staff"])


def _lock_with_admins(user: User) -> User:
    """Lock a person and all platform admins, in one order, so that no two can be the last to leave."""
    people = User.objects.select_for_update().filter(Q(pk=user.pk) | Q(is_superuser=True)).order_by("pk")
    return next(person for person in people if person.pk == user.pk)


def _keep_a_platform_admin(leaving: User) -> None:
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=leaving.pk)
    if leaving.is_platform_admin and not others.exists():
        raise LastPlatformAdmin(leaving)


# --- Invitations ------------------------------------------------------------------------------------------------------


@transaction.atomic
def invite(user: User, by: HasActor | None, place: str = "", tenant_id: UUID | None = None) -> Invitation:
    """Tell a person by mail that they were added to `place`; who has no password gets a link to set one.

    `tenant_id` is the tenant that `place` names. The mail leaves after the commit. Should that fail, the invitation
    stays and says why.
    """
    invitation = Invitation.objects.create(
        user=user, place=place, tenant_id=tenant_id, invited_by=by.actor.name if by else ""
    )
    transaction.on_commit(_delivery(invitation))
    return invitation


@transaction.atomic
def resend_invitation(invitation: Invitation) -> None:
    """Send it again, with a fresh link. Raises Refused when the person has set a password already."""
    if invitation.state == "accepted":
        raise Refused(f"{invitation.user} has accepted already. Nothing was sent: a forgotten password can be reset.")
    transaction.on_commit(_delivery(invitation))


def _delivery(invitation: Invitation) -> Callable[[], None]:
    return partial(mail.deliver, invitation.pk)
