"""Which change of a person becomes which event."""

from typing import Any
from uuid import UUID

from django.dispatch import Signal, receiver

from accounts.events import AccessChanged, Reason
from accounts.models import User
from events.actors import HasActor
from events.emit import emit

#: What a person may do has changed: user, reason, by, tenant_id, place.
access_changed = Signal()
#: A person is about to be disabled: user. A receiver may refuse by raising; the rows that it locks stay locked.
disabling = Signal()


@receiver(access_changed)
def say_so(
    user: User, reason: Reason, by: HasActor | None, tenant_id: UUID | None, place: str | None, **_: Any
) -> None:
    emit(
        AccessChanged(
            tenant_id=tenant_id,
            user_id=user.id,
            name=str(user),
            reason=reason,
            generation=user.access_generation,
            version=user.access_version,
            place=place,
        ),
        by=by,
    )
