from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from events import channels
from events.catalogue import EventType, register
from events.channels import Channel, Topic
from events.ids import new_id

if TYPE_CHECKING:
    from tenants.models import Tenant

_ACME = UUID("01900000-0000-7000-8000-0000000000aa")


class Change(StrEnum):
    """What happened to a tenant. Changes of its people are `access_changed`."""

    CREATED = "created"
    SETTINGS = "settings"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"


_SENTENCES = {
    Change.CREATED: "{who} created {name}",
    Change.SETTINGS: "{who} changed the settings of {name}",
    Change.SUSPENDED: "{who} suspended {name}",
    Change.RESUMED: "{who} resumed {name}",
    Change.KEY_CREATED: "{who} created the API key {subject}",
    Change.KEY_REVOKED: "{who} revoked the API key {subject}",
}


@register
class TenantUpdated(EventType):
    """A tenant, as it is after a change. `subject` names the API key, where one is meant."""

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
        return _SENTENCES[self.change].format(who=who, name=self.name, subject=self.subject)

    @classmethod
    def samples(cls) -> Iterable["TenantUpdated"]:
        acme = {"slug": "acme", "name": "Acme", "time_zone": "Europe/Lisbon"}
        yield cls(tenant_id=_ACME, version=2, change=Change.SETTINGS, suspended=False, **acme)
        yield cls(tenant_id=_ACME, version=3, change=Change.KEY_CREATED, suspended=False, subject="ci", **acme)


@register
class TenantNotice(EventType):
    """A message to everybody in a tenant, shown as a toast. Nothing is stored beside the event."""

    type: ClassVar[str] = "tenant_notice"

    notice_id: UUID = Field(default_factory=new_id)
    title: str = Field(min_length=1, max_length=150)
    message: str = Field(max_length=2000)
    level: Literal["info", "success", "warning", "error"] = "info"

    def channels(self) -> Sequence[Channel]:
        assert self.tenant_id, "A notice belongs to a tenant."
        return [channels.tenant(self.tenant_id, Topic.NOTIFICATIONS)]

    def describe(self, who: str) -> str:
        return f"{who}: {self.title}"

    @classmethod
    def samples(cls) -> Iterable["TenantNotice"]:
        notice = UUID("01900000-0000-7000-8000-0000000000f1")
        yield cls(tenant_id=_ACME, notice_id=notice, title="Maintenance", message="At 22:00 UTC.", level="warning")
