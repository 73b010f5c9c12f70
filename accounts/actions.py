"""What can be done to a person, one transaction each. Whatever takes access away raises the generation in it."""

from uuid import UUID

from django.db import transaction
from django.db.models import F

from accounts.events import Reason
from accounts.models import User
from accounts.signals import access_changed
from events.actors import HasActor


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
    assert bool(raised) == reason.taken_away, f"{reason}: raise the generation if, and only if, something is taken away"
    User.objects.filter(pk=user.pk).update(
        access_generation=F("access_generation") + raised, access_version=F("access_version") + 1
    )
    user.refresh_from_db(fields=["access_generation", "access_version"])
    access_changed.send(User, user=user, reason=reason, by=by, tenant_id=tenant_id, place=place)
    return user.access_generation
