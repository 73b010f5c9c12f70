from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from events import channels
from events.catalogue import EventType, register
from events.channels import Channel

if TYPE_CHECKING:
    from tenants.models import Tenant

_ACME = UUID("01900000-0000-7000-8000-0000000000aa")


class Change(StrEnum):
    """What happened to a tenant. Changes of its people are `access_changed`."""

    CREATED = "created"
    SETTINGS = "settings"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    DELETED = "deleted"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"


_SENTENCES = {
    Change.CREATED: "{who} created {name}",
    Change.SETTINGS: "{who} changed the settings of {name}",
    Change.SUSPENDED: "{who} suspended {name}",
    Change.RESUMED: "{who} resumed {name}",
    Change.DELETED: "{who} deleted {name}",
    Change.KEY_CREATED: "{who} created the API key {subject}",
    Change.KEY_REVOKED: "{who} revoked the API key {subject}",
}


@register
class TenantUpdated(EventType):
    """A tenant, as it is after a change. `subject` names the API key that is meant, or says why it is suspended."""

    type: ClassVar[str] = "tenant_updated"

    version: int
    change: Change
    slug: str
    name: str
    time_zone: str
    suspended: bool
    subject: str | None = None

    @classmethod
    def of(cls, tenant: "Tenant", change: Change, subject: str | None = None) -> "TenantUpdated":
        return cls(
            tenant_id=tenant.id,
            version=tenant.version,
            change=change,
            slug=tenant.slug,
            name=tenant.name,
            time_zone=tenant.time_zone,
            suspended=tenant.is_suspended,
            subject=subject,
        )

    def channels(self) -> Sequence[Channel]:
        return [channels.ADMIN_TENANTS]

    def describe(self, who: str) -> str:
        sentence = _SENTENCES[self.change].format(who=who, name=self.name, subject=self.subject)
        return f"{sentence}: {self.subject}" if self.change is Change.SUSPENDED and self.subject else sentence

    @classmethod
    def samples(cls) -> Iterable["TenantUpdated"]:
        acme = {"slug": "acme", "name": "Acme", "time_zone": "Europe/Lisbon"}
        yield cls(tenant_id=_ACME, version=2, change=Change.SETTINGS, suspended=False, **acme)
        yield cls(tenant_id=_ACME, version=3, change=Change.KEY_CREATED, suspended=False, subject="ci", **acme)
