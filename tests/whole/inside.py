"""What tests do on the server's side, in a process with the platform's own settings and database.

    python -m tests.whole.inside     reads [name, arguments] a line, answers [result, error] a line

Every function here takes and returns JSON, and goes through the same actions as pages and API do.
"""

import json
import os
import sys
import traceback
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import UUID

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.models import Count, Max  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.utils import timezone  # noqa: E402
from django_scopes import scopes_disabled  # noqa: E402

from accounts.models import User  # noqa: E402
from billing import actions as billing  # noqa: E402
from billing import invoicing, payments  # noqa: E402
from billing.actions import Used  # noqa: E402
from billing.models import Invoice, Period  # noqa: E402
from deployments import actions as deployments  # noqa: E402
from deployments.models import ACTIVE, Deployment, Stack  # noqa: E402
from events import channels, databases  # noqa: E402
from events.catalogue import EventType, register  # noqa: E402
from events.channels import Channel, Topic, parse  # noqa: E402
from events.emit import emit  # noqa: E402
from events.ids import new_id  # noqa: E402
from events.models import Cursor, DeadLetter, Entry, Event  # noqa: E402
from monitoring import actions as metrics  # noqa: E402
from monitoring.actions import Measured  # noqa: E402
from monitoring.alerting import actions as alerting  # noqa: E402
from monitoring.alerting import escalation, rules, silences  # noqa: E402
from monitoring.alerting.actions import Raised  # noqa: E402
from monitoring.alerting.models import OPEN, Alert, Source  # noqa: E402
from monitoring.models import LatestMetrics  # noqa: E402
from notifications import actions as notifications  # noqa: E402
from notifications import unsubscribing as unsubscribing_links  # noqa: E402
from notifications.actions import Message  # noqa: E402
from notifications.models import Inbox, Notice, Notification  # noqa: E402
from realtime import tokens  # noqa: E402
from tenants import actions as tenants  # noqa: E402
from tenants.models import Membership, Role, Tenant  # noqa: E402

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
PASSWORD = "correct-horse-battery"


def make_person(name: str, email: str, **fields: bool) -> dict[str, str]:
    """A person who is signed in: `session` is the value of their session cookie."""
    user = User.objects.create_user(email, PASSWORD, name=name, **fields)
    return {"id": str(user.id), "name": name, "email": email, "session": _session_of(user)}


def make_tenant(slug: str, name: str) -> dict[str, str]:
    tenant = tenants.create_tenant(slug=slug, name=name, by=None)
    return {"id": str(tenant.id), "slug": slug, "name": name}


def join(tenant: str, person: str, role: str) -> None:
    tenants.join(Tenant.objects.get(id=tenant), User.objects.get(id=person), Role(role), by=None)


def remove_member(tenant: str, person: str) -> None:
    membership = Membership.objects.get(tenant_id=tenant, user_id=person)
    tenants.remove_member(membership, by=None)


def make_api_key(tenant: str, scopes: list[str]) -> str:
    """The secret of a new key."""
    _, secret = tenants.create_api_key(Tenant.objects.get(id=tenant), "a test's", scopes, by=None)
    return secret


def send_notices(tenant: str, by: str, count: int, title: str = "Notice", level: str = "info") -> list[str]:
    """So many notices, each in a transaction of its own. Returns the ids of their events, in order."""
    who, where = User.objects.get(id=by), Tenant.objects.get(id=tenant)
    told = (f"{title} {number}" for number in range(count))
    sent = [
        notifications.send_notice(where, by=who, title=one, message="Sent by a test.", level="info") for one in told
    ]
    return [str(event.uuid) for event in sent]


def notify(person: str, title: str, tenant: str | None = None, about: str = "test") -> str | None:
    """Something new in a person's inbox. Returns its id."""
    message = Message(
        source=new_id(),
        kind="test",
        title=title,
        message="Sent by a test.",
        level="info",
        link="/",
        object_key=f"{about}:{title}",
        group_key=title,
        tenant=Tenant.objects.get(id=tenant) if tenant else None,
    )
    return next((str(made.id) for made in notifications.notify([UUID(person)], message)), None)


def unsubscribing(person: str, kind: str) -> str:
    """The path that an e-mail of this kind to this person offers, to have no more of them."""
    return urlsplit(unsubscribing_links.link(User.objects.get(id=person), [kind])).path


def ended_tokens(person: str, channels: list[str]) -> str:
    """What a page came with an hour ago, as JSON: tokens of ours whose time is over."""
    longest = max(settings.TOKEN_TTL_SECONDS, settings.SUBSCRIPTION_TOKEN_TTL_SECONDS)
    return json.dumps(tokens_by_a_clock(person, channels, -longest - 60))


def tokens_by_a_clock(person: str, channels: list[str], seconds: int) -> dict[str, Any]:
    """What somebody gets where the clock is so many seconds ahead: a token says by that clock when it ends."""
    user = User.objects.get(id=person)
    names = ("TOKEN_TTL_SECONDS", "SUBSCRIPTION_TOKEN_TTL_SECONDS")
    with override_settings(**{name: getattr(settings, name) + seconds for name in names}):
        subscriptions = {name: tokens.subscription_token(user, parse(name)).token for name in channels}
        return {"connection": tokens.connection_token(user).token, "subscriptions": subscriptions}


def inbox(person: str) -> dict[str, Any]:
    """What the rows say: how many are unread, and which are there, newest first."""
    rows = Notification.objects.of(User.objects.get(id=person)).kept().order_by("-number")
    there = [[str(row.id), row.is_read] for row in rows]
    stored = Inbox.objects.filter(pk=person).values_list("unread", flat=True).first()
    return {"unread": sum(not is_read for _, is_read in there), "rows": there, "stored": stored}


@register
class Said(EventType):
    """Something that a tenant's open pages hear and nobody handles: what a test counts is then all that happens."""

    type: ClassVar[str] = "said_by_a_test"

    def channels(self) -> list[Channel]:
        assert self.tenant_id
        return [channels.tenant(self.tenant_id, Topic.NOTIFICATIONS)]

    def describe(self, who: str) -> str:
        return f"{who} said something"


def say(tenant: str, by: str, count: int) -> list[str]:
    """So many events, each in a transaction of its own. Returns their ids, in order."""
    who, said = User.objects.get(id=by), []
    for _ in range(count):
        with transaction.atomic():
            said.append(emit(Said(tenant_id=UUID(tenant)), by=who))
    return [str(event.uuid) for event in said]


def use_no_pool() -> None:
    """A process with one thread needs none, and notices at once that the database is back."""
    databases.without_pool()


def speak(people: list[list[str]], with_notice: bool) -> None:
    """One event of each [tenant, person], each in a transaction of its own, and a notice that everybody there gets."""
    for tenant, person in people:
        say(tenant, person, 1)
        if with_notice:
            send_notices(tenant, person, 1)


def notices(tenant: str) -> dict[str, int]:
    """How many have been sent in a tenant, and how many each person there was notified of."""
    told = Notification.objects.filter(tenant_id=tenant, kind="notice").values_list("user").annotate(told=Count("pk"))
    return {"sent": Notice.objects.filter(tenant_id=tenant).count(), **{str(user): count for user, count in told}}


def measure(tenant: str, name: str, count: int) -> bool:
    """So many samples of this metric, one after the other. Returns whether the last is still to be said."""
    where = Tenant.objects.get(id=tenant)
    for _ in range(count):
        now = timezone.now()
        metrics.record(where, [Measured(name, value=now.timestamp(), at=now)])
    return LatestMetrics.objects.get(tenant=where).due_at is not None


def raise_alert(tenant: str | None, key: str, name: str, severity: str, message: str) -> str:
    """As a service does, of the platform's own without a tenant. Returns its id."""
    raised = Raised(Source.API, key, name, severity, message, started_at=timezone.now())
    return str(alerting.raise_alert(Tenant.objects.filter(id=tenant).first(), raised).pk)


def call(tenant: str, key: str) -> None:
    """Let the admins be called about an alert, now."""
    steps = [{"after_seconds": 0, "people": [], "ways": ["in_app"]}]
    policy = rules.create_policy(Tenant.objects.get(id=tenant), None, name="At once", steps=steps)
    Alert.objects.filter(OPEN, tenant=tenant, key=key).update(policy=policy, escalate_at=timezone.now())
    escalation.escalate_due()


def resolve_alert(tenant: str | None, key: str) -> None:
    alerting.resolve_alert(Tenant.objects.filter(id=tenant).first(), key)


def open_alerts(tenant: str) -> list[str]:
    """The names of those that are not over."""
    return list(Alert.objects.filter(OPEN, tenant_id=tenant).values_list("name", flat=True))


def silence_alert(tenant: str, key: str, by: str, reason: str) -> None:
    alert = Alert.objects.get(OPEN, tenant_id=tenant, key=key)
    silences.silence_alert(alert, reason, timezone.now() + timedelta(hours=4), User.objects.get(id=by))


def make_silence(tenant: str, by: str) -> str:
    matchers = [{"label": "host", "op": "=", "value": "db-1"}]
    until = timezone.now() + timedelta(hours=4)
    return str(
        silences.create_silence(Tenant.objects.get(id=tenant), matchers, "Moved", until, User.objects.get(id=by)).pk
    )


def make_rule(tenant: str | None, name: str, metric: str, threshold: float) -> str:
    """Of a tenant, or of the platform. Returns its id."""
    owner = Tenant.objects.get(id=tenant) if tenant else None
    return str(rules.create_rule(owner, None, name=name, metric=metric, threshold=threshold).pk)


def make_policy(tenant: str | None, name: str) -> str:
    """Of a tenant, or of the platform: its admins are called after a minute. No alert goes by it. Returns its id."""
    owner = Tenant.objects.get(id=tenant) if tenant else None
    steps = [{"after_seconds": 60, "people": [], "ways": ["in_app"]}]
    return str(rules.create_policy(owner, None, name=name, steps=steps).pk)


def figures(tenant: str) -> dict[str, Any]:
    """The newest value of each metric, what the last metrics_update said, and the least seconds between two."""
    said = Event.objects.filter(tenant_id=tenant, type="metrics_update").order_by("id")
    times = list(said.values_list("occurred_at", flat=True))
    return {
        "newest": {name: one["value"] for name, one in LatestMetrics.objects.get(tenant_id=tenant).metrics.items()},
        "said": said.last().payload["metrics"],
        "gap": min(((later - earlier).total_seconds() for earlier, later in pairwise(times)), default=None),
    }


def logged(channel: str) -> list[str]:
    """The ids of the events that go to a channel, in the log's order. Numbered ones only."""
    entries = Entry.objects.order_by("seq").values_list("event__uuid", "event__channels")
    return [str(uuid) for uuid, channels in entries.iterator() if channel in channels]


def behind() -> dict[str, int]:
    """What still has work: committed events without a number, and each cursor's distance to the log's end."""
    newest = Entry.objects.aggregate(newest=Max("seq"))["newest"] or 0
    found = {cursor.name: newest - cursor.position for cursor in Cursor.objects.all()}
    found["numbering"] = Event.objects.filter(entry=None).count()
    return {name: distance for name, distance in found.items() if distance}


def relay_in_charge() -> str:
    """Who holds the lease of the push: its machine and pid."""
    return Cursor.objects.get(name="push").owner


def dead_letters() -> int:
    return DeadLetter.objects.count()


def leave_behind(deployment: str, letters: int) -> str:
    """So many dead letters of a consumer that is no more, for the newest event about a deployment. Returns its id."""
    event = Event.objects.filter(payload__deploymentId=deployment, type="deployment_update").latest("id")
    for number in range(letters):
        DeadLetter.objects.create(cursor=f"handler:gone_{number}", event=event, error="It was away.", attempts=3)
    return str(event.uuid)


def forget_dead_letters(event: str) -> None:
    DeadLetter.objects.filter(event__uuid=event).delete()


def make_stack(slug: str, name: str, steps: list[dict[str, Any]]) -> None:
    """An approved stack."""
    admin = User.objects.filter(is_superuser=True).first() or User.objects.create_superuser(f"{slug}@neostack.example")
    stack = Stack.objects.create(slug=slug, name=name, steps=steps, parameters=[])
    deployments.approve(stack, by=admin)


def deploy(tenant: str, by: str, stack: str) -> dict[str, Any]:
    deployment = deployments.request_deployment(
        tenant=Tenant.objects.get(id=tenant),
        stack=Stack.objects.get(slug=stack),
        parameters={},
        by=User.objects.get(id=by),
    )
    return {"id": str(deployment.id), "number": deployment.number}


def deployment_status(deployment: str) -> str:
    return Deployment.objects.get(id=deployment).status


def running_deployments() -> int:
    return Deployment.objects.filter(status__in=ACTIVE).count()


def tenant_id(slug: str) -> str:
    return str(Tenant.objects.get(slug=slug).id)


def begin_billing(tenant: str, plan: str) -> None:
    """Let a tenant be billed by this plan from now on."""
    where = Tenant.objects.get(id=tenant)
    billing.ensure_subscribed(where)
    billing.change_plan(where, billing.offered(plan))


def use(tenant: str, meter: str, quantity: str) -> None:
    used = Used(str(new_id()), meter, Decimal(quantity), timezone.now(), {"by": "a test"})
    billing.record(Tenant.objects.get(id=tenant), [used])


def close_period(tenant: str) -> str:
    """Close a tenant's current period as if it were over. Returns its invoice's number."""
    period = Period.objects.select_related("tenant").filter(tenant_id=tenant, closed_at=None).latest("starts_at")
    invoice = invoicing.close(period, period.ends_at + timedelta(hours=2))
    assert invoice
    return str(invoice.number)


def issue_invoice(tenant: str, minor: int) -> str:
    """One over so many cents, at this moment, as closing a period does. Returns its number."""
    where = Tenant.objects.get(id=tenant)
    billing.ensure_subscribed(where)
    with billing.locked(where):
        draft = Invoice.objects.create(tenant=where, currency="EUR", total_minor=minor)
        return str(invoicing.issue(draft, timezone.now()).number)


def invoice_id(tenant: str, number: str) -> str:
    return str(Invoice.objects.get(tenant_id=tenant, number=number).pk)


def suspend_for_debt(tenant: str) -> None:
    """Let what the tenant owes be due for a year and tried for the last time, and the schedule find it."""
    long_ago = timezone.now() - timedelta(days=365)
    Invoice.objects.filter(tenant_id=tenant).update(due_at=long_ago, next_try_at=None, tries=4)
    payments.suspend_if_unpaid(Tenant.objects.get(id=tenant))


def choose_method(tenant: str, method: str) -> None:
    """What the local test gateway does with this tenant's payments."""
    payments.choose_method(Tenant.objects.get(id=tenant), method)


def pay(number: str) -> None:
    """With a card that pays."""
    invoice = Invoice.objects.select_related("tenant").get(number=number)
    payments.choose_method(invoice.tenant, "pays")
    payments.pay(invoice)


def _session_of(user: User) -> str:
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = BACKEND
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


def answer(line: str) -> list[Any]:
    name, arguments = json.loads(line)
    try:
        with scopes_disabled():
            return [globals()[name](**arguments), None]
    except Exception:
        return [None, traceback.format_exc()]
    finally:
        connection.close()  # the database may be another one by the next question


def main() -> None:
    # Answers have the pipe for themselves: what anything prints goes to the log.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
