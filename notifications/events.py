from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from events import channels
from events.catalogue import EventType, register
from events.channels import Channel, Topic
from events.ids import new_id
from notifications.models import Inbox, Notification

NoticeLevel = Literal["info", "success", "warning", "error"]
Count = Annotated[int, Field(ge=0)]

_ACME = UUID("01900000-0000-7000-8000-0000000000aa")
_BOB = UUID("01900000-0000-7000-8000-000000000002")
_ONE = UUID("01900000-0000-7000-8000-0000000000f2")


@register
class TenantNotice(EventType):
    """A message to everybody in a tenant."""

    type: ClassVar[str] = "tenant_notice"

    notice_id: UUID = Field(default_factory=new_id)
    title: str = Field(min_length=1, max_length=150)
    message: str = Field(max_length=2000)
    level: NoticeLevel = "info"

    def channels(self) -> Sequence[Channel]:
        assert self.tenant_id, "A notice belongs to a tenant."
        return [channels.tenant(self.tenant_id, Topic.NOTIFICATIONS)]

    def describe(self, who: str) -> str:
        return f"{who}: {self.title}"

    @classmethod
    def samples(cls) -> Iterable["TenantNotice"]:
        notice = UUID("01900000-0000-7000-8000-0000000000f1")
        yield cls(tenant_id=_ACME, notice_id=notice, title="Maintenance", message="At 22:00 UTC.", level="warning")


@register
class NotificationArrived(EventType):
    """Something new in a person's inbox, and the inbox as it is then.

    `object` names what it speaks of, `group` what stands together; `version` is its place in the inbox, too.
    """

    type: ClassVar[str] = "notification"

    user_id: UUID
    notification_id: UUID
    kind: str
    title: str
    message: str
    level: NoticeLevel
    link: str
    object: str
    group: str
    unread: Count
    version: int

    @classmethod
    def of(cls, notification: Notification, inbox: Inbox) -> "NotificationArrived":
        return cls.model_validate(
            {
                "tenant_id": notification.tenant_id,
                "user_id": inbox.user_id,
                "notification_id": notification.id,
                "kind": notification.kind,
                "title": notification.title,
                "message": notification.message,
                "level": notification.level,
                "link": notification.link,
                "object": notification.object_key,
                "group": notification.group_key,
                "unread": inbox.unread,
                "version": inbox.version,
            }
        )

    def channels(self) -> Sequence[Channel]:
        return [channels.inbox(self.user_id)]

    def describe(self, who: str) -> str:
        return f"Notified: {self.title}"

    @classmethod
    def samples(cls) -> Iterable["NotificationArrived"]:
        yield cls(
            tenant_id=_ACME,
            user_id=_BOB,
            notification_id=_ONE,
            kind="deployment_failed",
            title="web #104 failed",
            message="Step build ended with exit code 3.",
            level="error",
            link="/t/acme/deployments/104/",
            object="deployment:01900000-0000-7000-8000-000000000104",
            group=f"{_ACME}:deployments:web",
            unread=3,
            version=17,
        )


@register
class InboxUpdate(EventType):
    """What changed in a person's inbox, and the inbox as it is then.

    Read or unread, put away or not, removed or there, and solved are four things: the newest version decides about
    each by itself. `solved_by` says what ended the cause of those in `solved`.
    """

    type: ClassVar[str] = "inbox_update"

    user_id: UUID
    unread: Count
    version: int
    read: list[UUID] = []
    marked_unread: list[UUID] = []
    archived: list[UUID] = []
    unarchived: list[UUID] = []
    removed: list[UUID] = []
    restored: list[UUID] = []
    solved: list[UUID] = []
    solved_by: str = ""

    def channels(self) -> Sequence[Channel]:
        return [channels.inbox(self.user_id)]

    def describe(self, who: str) -> str:
        return f"An inbox changed: {self.unread} unread"

    @classmethod
    def samples(cls) -> Iterable["InboxUpdate"]:
        yield cls(user_id=_BOB, unread=2, version=18, read=[_ONE])
        yield cls(user_id=_BOB, unread=2, version=19, removed=[_ONE])
        yield cls(user_id=_BOB, unread=2, version=20, solved=[_ONE], solved_by="web #105 is done")
