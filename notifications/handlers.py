"""Which events become notifications, and for whom: whoever may see the thing at the moment of handling.

This app names the types of others' events and reads their payloads; it imports none of their code. Each handler may be
called again for the same event: a person is notified once of one.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.dispatch import receiver

from accounts.models import User
from events.handling import handler
from events.models import Event
from notifications.actions import Message, follow_access, follow_operations, notify, solve
from notifications.models import Level, Notification
from tenants.access import admins_of, roles_of
from tenants.models import Membership, Role, Tenant
from tenants.signals import tenant_deleting

#: People notified in one transaction: it holds the tenant's row.
BATCH = 100

#: By a deployment's status: what happened to it, and how loud that is. The others notify nobody.
_ENDINGS = {"completed": ("is done", "success"), "failed": ("failed", "error"), "lost": ("is lost", "error")}


@handler("notify_of_deployments", types=["deployment_update"])
def notify_of_deployment(event: Event, seq: int) -> None:
    """Who asked hears how it ended; that it failed or was lost, the tenant's admins hear as well.

    One that is done solves the failures of earlier ones of its name.
    """
    status, data = event.payload["status"], event.payload["data"]
    if status not in _ENDINGS or event.tenant is None:
        return
    words, level = _ENDINGS[status]
    cause = f"deployment:{event.tenant_id}:{data['name']}"
    if status == "completed":
        solve(cause, order=data["number"], by=f"{data['title']} {words}", tenant=event.tenant)
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
        cause_key=cause if level == "error" else "",
        cause_order=data["number"],
    )
    notify(people, message)


# --- Notices ----------------------------------------------------------------------------------------------------------


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


# --- Billing ----------------------------------------------------------------------------------------------------------

#: By what happened to an invoice: in words, and how loud that is. Being declared void is no news of its own.
_INVOICES = {
    "created": ("Invoice {number} over {amount}", Level.INFO),
    "paid": ("Invoice {number} was paid: {amount}", Level.SUCCESS),
    "failed": ("Payment of invoice {number} failed: {amount}", Level.ERROR),
    "refunded": ("Invoice {number} was refunded: {amount}", Level.INFO),
}
#: A credit note is issued, and that is all that happens to it.
_CREDITED = "Credit note {number} over {amount}"
#: What ends it that somebody has to pay, in words.
_SETTLED = {"paid": "invoice {number} was paid", "voided": "invoice {number} was declared void"}
#: From so many percent of what is included a threshold is a warning, and an error.
_WARNS_AT, _OVER_AT = 80, 100


@handler("notify_of_invoices", types=["invoice_event"])
def notify_of_invoice(event: Event, seq: int) -> None:
    """The tenant's admins hear of each invoice and its money; that a payment failed, the platform's admins do, too."""
    facts, tenant = event.payload, event.tenant
    if tenant is None:
        return
    happened, cause = facts["event"], f"invoice:{facts['invoiceId']}"
    if happened in _SETTLED:
        solve(cause, order=facts["version"], by=_SETTLED[happened].format(number=facts["number"]), tenant=tenant)
    if happened not in _INVOICES:
        return
    words, level = _INVOICES[happened]
    if facts.get("kind") == "credit_note":
        words = _CREDITED
    message = Message(
        source=event.uuid,
        kind=f"invoice_{happened}",
        title=words.format(number=facts["number"], amount=f"{facts['amount']} {facts['currency']}"),
        message=_why(facts, tenant),
        level=level,
        link=f"/t/{tenant.slug}/billing/invoices/{facts['invoiceId']}/",
        object_key=cause,
        group_key=f"{event.tenant_id}:{cause}",
        tenant=tenant,
        cause_key=cause if _is_to_be_paid(facts) else "",
        cause_order=facts["version"],
    )
    notify([admin.pk for admin in admins_of(tenant)], message)
    if happened == "failed":
        link = f"/ops/billing/invoices/{facts['number']}/"
        told = replace(message, title=f"{tenant.name}: {message.title}"[:150], link=link, tenant=None)
        notify(_platform_admins(), told)


def _is_to_be_paid(facts: dict[str, Any]) -> bool:
    """Whether the event is news that somebody has to do something about: a credit note asks nobody for money."""
    return facts["event"] in ("created", "failed") and facts.get("kind") != "credit_note"


def _why(facts: dict[str, Any], tenant: Tenant) -> str:
    """The reason, and when it is tried again or access ends, by the tenant's clock."""
    reason = str(facts.get("reason") or "")
    if again := facts.get("nextTryAt"):
        reason += f" Next try: {_at(again, tenant)}."
    elif ends := facts.get("accessEndsAt"):
        reason += (
            f" It is not tried again by itself. Unless it is paid, access to {tenant.name} ends {_at(ends, tenant)}."
        )
    return reason.strip()


def _at(moment: str, tenant: Tenant) -> str:
    return (
        f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(tenant.time_zone)):%-d %b %Y, %H:%M} {tenant.time_zone}"
    )


#: By what happened to a subscription: in words, what to do, and how loud that is. Other changes are no news.
_STANDINGS = {
    "suspended": (
        "{name} is suspended: it has not paid",
        "Pay what is owed: then it is open again at once.",
        Level.ERROR,
    ),
    "returned": ("{name} is open again", "What was owed is settled.", Level.SUCCESS),
}


@handler("notify_of_standing", types=["subscription_update"])
def notify_of_standing(event: Event, seq: int) -> None:
    """The tenant's admins hear that access ended because something is not paid, and that it is back."""
    change, tenant = event.payload["change"], event.tenant
    if tenant is None or change not in _STANDINGS:
        return
    words, what_to_do, level = _STANDINGS[change]
    cause = f"standing:{event.tenant_id}"
    if change == "returned":
        solve(cause, order=event.payload["version"], by="what was owed is settled")
    message = Message(
        source=event.uuid,
        kind=f"billing_{change}",
        title=words.format(name=tenant.name),
        message=what_to_do,
        level=level,
        link=f"/t/{tenant.slug}/billing/",
        object_key=cause,
        group_key=cause,
        tenant=tenant,
        cause_key=cause if change == "suspended" else "",
        cause_order=event.payload["version"],
    )
    notify([admin.pk for admin in admins_of(tenant)], message)


@handler("notify_of_usage", types=["usage_update"])
def notify_of_usage(event: Event, seq: int) -> None:
    """The tenant's admins hear of each threshold that their usage reaches, and of nothing else. One is over when usage
    is below it again: in another period, or with a plan that includes more."""
    facts, tenant = event.payload, event.tenant
    reached = facts.get("threshold")
    if tenant is None:
        return
    resource = facts["resource"].replace("_", " ")
    thresholds = f"usage:{event.tenant_id}:{facts['resource']}:"
    if facts.get("percentage") is not None:
        _solve_above(thresholds, facts, f"{resource} are at {facts['percentage']:,g} %", tenant)
    if not reached:
        return
    of_limit = f" of {facts['limit']:,g}" if facts.get("limit") is not None else ""
    message = Message(
        source=event.uuid,
        kind="usage_threshold",
        title=f"{resource.capitalize()}: {reached} % reached",
        message=f"{facts['usage']:,g}{of_limit} {resource} used in this period.",
        level=Level.ERROR if reached >= _OVER_AT else Level.WARNING if reached >= _WARNS_AT else Level.INFO,
        link=f"/t/{tenant.slug}/billing/",
        object_key=f"usage:{facts['resource']}",
        group_key=f"{event.tenant_id}:usage:{facts['resource']}",
        tenant=tenant,
        cause_key=f"{thresholds}{reached}",
        cause_order=facts["version"],
    )
    notify([admin.pk for admin in admins_of(tenant)], message)


def _solve_above(thresholds: str, facts: dict[str, Any], by: str, tenant: Tenant) -> None:
    """Solve those of the thresholds that people were told of and usage is below now."""
    told = Notification.objects.filter(cause_key__startswith=thresholds, solved_at=None).exclude(cause_key="")
    for cause in set(told.values_list("cause_key", flat=True)):
        if int(cause.removeprefix(thresholds)) > facts["percentage"]:
            solve(cause, order=facts["version"], by=by, tenant=tenant)


# --- Monitoring -------------------------------------------------------------------------------------------------------

#: By an alert's severity: a notification's level.
_LEVELS = {"info": Level.INFO, "warning": Level.WARNING, "error": Level.ERROR, "critical": Level.ERROR}


@handler("notify_of_alerts", types=["alert"])
def notify_of_alert(event: Event, seq: int) -> None:
    """That an alert fires, the tenant's admins hear; of the platform's own, its admins. That it is over, those of them
    who were told that it fires. One that is acknowledged or silenced has somebody who knows; one that says the same
    again, with other numbers, is no news unless it became worse."""
    facts = event.payload
    metadata = facts.get("metadata") or {}
    if metadata.get("previous") == facts["state"] and not metadata.get("louder"):
        return
    cause = f"alert:{facts['alertId']}"
    if _is_orphan(event):
        return
    people = {admin.pk for admin in admins_of(event.tenant)} if event.tenant else _platform_admins()
    if facts["state"] == "firing":
        notify(people, _alert_message(event, "alert_firing", "{name} fires", _LEVELS[facts["severity"]]))
    elif facts["state"] == "resolved":
        told = _told_of(cause)
        solve(cause, order=facts["version"], by="the alert is over", tenant=event.tenant)
        notify(people & told, _alert_message(event, "alert_resolved", "{name} is over", Level.SUCCESS))


@handler("notify_of_escalations", types=["alert_escalated"])
def notify_of_escalation(event: Event, seq: int) -> None:
    """The people whom an escalation policy names, in the ways that it says: their preferences don't count."""
    facts = event.payload
    if _is_orphan(event):
        return
    message = _alert_message(event, "alert_escalated", "{name} still fires", _LEVELS[facts["severity"]])
    notify([UUID(person) for person in facts["people"]], replace(message, ways=frozenset(facts["ways"])))


def _alert_message(event: Event, kind: str, title: str, level: str) -> Message:
    facts = event.payload
    cause = f"alert:{facts['alertId']}"
    name = facts.get("name") or (facts.get("metadata") or {}).get("name") or "An alert"
    place = f"/t/{event.tenant.slug}" if event.tenant else "/ops"
    return Message(
        source=event.uuid,
        kind=kind,
        title=title.format(name=name),
        message=facts["message"],
        level=level,
        link=f"{place}/monitoring/alerts/{facts['alertId']}/",
        object_key=cause,
        group_key=f"{event.tenant_id or 'platform'}:{cause}",
        tenant=event.tenant,
        cause_key="" if kind == "alert_resolved" else cause,
        cause_order=facts["version"],
        is_urgent=facts["severity"] == "critical",
    )


def _is_orphan(event: Event) -> bool:
    """Whether its tenant has been deleted meanwhile. The platform's own events never had one."""
    return event.tenant_id is not None and event.tenant is None


def _told_of(cause: str) -> set[UUID]:
    return set(Notification.objects.filter(cause_key=cause).values_list("user", flat=True))


def _platform_admins() -> set[UUID]:
    return set(User.objects.filter(is_active=True, is_superuser=True).values_list("pk", flat=True))


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
    """Who was given a role hears of it; who lost a tenant, or the platform, loses what that left in their inbox."""
    user = User.objects.filter(pk=event.payload["userId"]).first()
    reason = event.payload["reason"]
    if user is None:
        return
    if reason in _MOVES and event.tenant:
        follow_access(user, event.tenant)
    elif reason == "platform_admin_taken":
        follow_operations(user)
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
