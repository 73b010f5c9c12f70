"""Which events become notifications, and for whom: whoever may see the thing at the moment of handling.

This app names the types of others' events and reads their payloads; it imports none of their code. Each handler may be
called again for the same event: a person is notified once of one.
"""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from django.dispatch import receiver

from accounts.models import User
from events.handling import handler
from events.models import Event
from notifications.actions import Message, follow_access, notify
from tenants.access import admins_of, roles_of
from tenants.models import Membership, Role, Tenant
from tenants.signals import tenant_deleting

#: People notified in one transaction: it holds the tenant's row.
BATCH = 100

#: By a deployment's status: what happened to it, and how loud that is. The others notify nobody.
_ENDINGS = {"completed": ("is done", "success"), "failed": ("failed", "error"), "lost": ("is lost", "error")}


@handler("notify_of_deployments", types=["deployment_update"])
def notify_of_deployment(event: Event, seq: int) -> None:
    """Who asked hears how it ended; that it failed or was lost, the tenant's admins hear as well."""
    status, data = event.payload["status"], event.payload["data"]
    if status not in _ENDINGS or event.tenant is None:
        return
    words, level = _ENDINGS[status]
    people = {UUID(data["requestedById"])} if data.get("requestedById") else set()
    if level == "error":
        people |= {admin.pk for admin in admins_of(event.tenant)}
    message = Message(
        source=event.uuid,
        kind=f"deployment_{status}",
        title=f"{data['title']} {words}",
        message=data["reason"],
        level=level,
        link=f"/t/{event.tenant.slug}/deployments/{data['number']}/",
        object_key=f"deployment:{event.payload['deploymentId']}",
        group_key=f"{event.tenant_id}:deployments:{data['name']}",
        tenant=event.tenant,
    )
    notify(people, message)


@handler("notify_of_notices", types=["tenant_notice"])
def notify_of_notice(event: Event, seq: int) -> None:
    """Everybody in the tenant, who sent it included: it is the record that it was sent."""
    if event.tenant is None:
        return  # deleted meanwhile, with everybody's membership
    message = Message(
        source=event.uuid,
        kind="notice",
        title=event.payload["title"],
        message=event.payload["message"],
        level=event.payload["level"],
        link=f"/t/{event.tenant.slug}/notices/",
        object_key=f"notice:{event.payload['noticeId']}",
        group_key=f"{event.tenant_id}:notices",
        tenant=event.tenant,
    )
    for people in _members(event.tenant):
        notify(people, message)


def _members(tenant: Tenant) -> Iterator[list[UUID]]:
    """By their ids, in batches: each is read when the one before has been dealt with."""
    members = Membership.objects.with_scopes_disabled().filter(tenant=tenant).order_by("user")
    last: dict[str, Any] = {}
    while people := list(members.filter(**last).values_list("user", flat=True)[:BATCH]):
        yield people
        last = {"user__gt": people[-1]}


# --- Access -----------------------------------------------------------------------------------------------------------

#: What is given: in words, and whether the person has it still.
_GIFTS: dict[str, tuple[str, Callable[[User, UUID | None], bool]]] = {
    "added": ("You were added to {place}", lambda user, tenant: tenant in roles_of(user)),
    "promoted": (
        "You are an admin of {place} now",
        lambda user, tenant: tenant is not None and roles_of(user).get(tenant) == Role.TENANT_ADMIN,
    ),
    "platform_admin_granted": ("You are a platform admin now", lambda user, tenant: user.is_platform_admin),
}
#: Whether the tenant's things are within this person's reach changes with these.
_MOVES = frozenset({"removed", "suspended", "resumed"})


@handler("notify_of_access", types=["access_changed"])
def notify_of_access(event: Event, seq: int) -> None:
    """Who was given a role hears of it; who lost a tenant loses what its events left in their inbox."""
    user = User.objects.filter(pk=event.payload["userId"]).first()
    reason = event.payload["reason"]
    if user is None:
        return
    if reason in _MOVES and event.tenant:
        follow_access(user, event.tenant)
    elif reason in _GIFTS:
        words, has_it_still = _GIFTS[reason]
        if has_it_still(user, event.tenant_id):
            notify([user.pk], _gift(event, words.format(place=event.payload["place"])))


@receiver(tenant_deleting)
def empty_inboxes(tenant: Tenant, people: list[User], **_: Any) -> None:
    """What the tenant left in people's inboxes goes with it, and their counts agree."""
    for person in people:
        follow_access(person, tenant)


def _gift(event: Event, title: str) -> Message:
    return Message(
        source=event.uuid,
        kind="access_given",
        title=title,
        message=f"{event.summary}.",
        level="info",
        link=f"/t/{event.tenant.slug}/" if event.tenant else "/ops/",
        object_key=f"tenant:{event.tenant_id}" if event.tenant else "platform:access",
        group_key=f"{event.tenant_id or 'platform'}:access",
        tenant=event.tenant,
    )
