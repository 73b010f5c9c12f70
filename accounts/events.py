from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from events import channels
from events.catalogue import EventType, Revocation, register
from events.channels import Channel


class Reason(StrEnum):
    """Why a person's access changed. `taken_away` says which of them end older connections."""

    INVITED = "invited"
    ADDED = "added"
    PROMOTED = "promoted"
    DEMOTED = "demoted"
    REMOVED = "removed"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    DISABLED = "disabled"
    ENABLED = "enabled"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    SIGNED_OUT = "signed_out"
    POLICY_NARROWED = "policy_narrowed"
    PLATFORM_ADMIN_GRANTED = "platform_admin_granted"
    PLATFORM_ADMIN_TAKEN = "platform_admin_taken"

    @property
    def taken_away(self) -> bool:
        return self not in _GIVES


_GIVES = {Reason.INVITED, Reason.ADDED, Reason.PROMOTED, Reason.RESUMED, Reason.ENABLED, Reason.PLATFORM_ADMIN_GRANTED}

_SENTENCES = {
    Reason.INVITED: "{who} invited {name}",
    Reason.ADDED: "{who} added {name} to {place}",
    Reason.PROMOTED: "{who} made {name} an admin of {place}",
    Reason.DEMOTED: "{who} made {name} a user of {place}, no longer an admin",
    Reason.REMOVED: "{who} removed {name} from {place}",
    Reason.SUSPENDED: "{who} suspended {place}; {name} can't open it",
    Reason.RESUMED: "{who} resumed {place}; {name} can open it again",
    Reason.DISABLED: "{who} disabled {name}'s account",
    Reason.ENABLED: "{who} enabled {name}'s account",
    Reason.PASSWORD_CHANGED: "{name}'s password was changed",
    Reason.SIGNED_OUT: "{name} signed out",
    Reason.POLICY_NARROWED: "{who} narrowed a channel policy that {name} comes under",
    Reason.PLATFORM_ADMIN_GRANTED: "{who} made {name} a platform admin",
    Reason.PLATFORM_ADMIN_TAKEN: "{who} took the platform admin's rights from {name}",
}


@register
class AccessChanged(EventType):
    """What a person may do has changed. `tenant_id` and `place` are set where one tenant is meant.

    `version` rises with each change; `generation` only where something was taken away.
    """

    type: ClassVar[str] = "access_changed"

    user_id: UUID
    name: str
    reason: Reason
    generation: int
    version: int
    place: str | None = None

    def channels(self) -> Sequence[Channel]:
        inbox = channels.inbox(self.user_id)
        return [inbox, channels.ADMIN_TENANTS] if self.tenant_id else [inbox]

    def describe(self, who: str) -> str:
        return _SENTENCES[self.reason].format(who=who, name=self.name, place=self.place or "the platform")

    def revocations(self) -> Sequence[Revocation]:
        return [Revocation(self.user_id, self.generation)] if self.reason.taken_away else []

    @classmethod
    def samples(cls) -> Iterable["AccessChanged"]:
        bob = UUID("01900000-0000-7000-8000-000000000002")
        acme = UUID("01900000-0000-7000-8000-0000000000aa")
        yield cls(tenant_id=acme, user_id=bob, name="Bob", reason=Reason.REMOVED, generation=4, version=9, place="Acme")
        yield cls(user_id=bob, name="Bob", reason=Reason.SIGNED_OUT, generation=5, version=10)
