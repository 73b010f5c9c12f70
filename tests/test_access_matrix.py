"""Who may open what: every URL and every channel, for everybody there is. What is missing here fails the suite.

A URL or a method added without a row fails `test_every_url_stands_in_the_table_with_each_of_its_methods`: decide its
rule, then write it down.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from django_scopes import scopes_disabled

from billing import actions as billing
from billing import payments
from billing.invoicing import close, issue
from billing.models import Invoice, InvoiceLine, Period
from conftest import Person, make_person
from deployments import actions as deployments
from deployments.models import Deployment, Stack
from events import channels
from events.channels import Channel, Topic
from events.models import DeadLetter, Event
from monitoring.alerting import actions as alerts
from monitoring.alerting import rules, silences
from monitoring.alerting.models import Alert, AlertRule, EscalationPolicy, Silence, Source
from neostack import asgi, gate_asgi
from notifications import actions as notifications
from notifications import unsubscribing
from notifications.actions import Message
from realtime.models import Action
from realtime.policies import SCOPES, authorize
from tenants import actions as tenants
from tenants.models import ApiKey, Membership, Role, Scope, Tenant

SIGN_IN = "sign-in"  # a redirect to the sign-in page
SOME_ID = UUID(int=7)
#: Everybody, in the order of the table's columns. Dora was removed from acme; the keys are acme's but for the last.
WHO = ("alice", "bob", "charlie", "ada", "dora", "stranger", "key", "bare_key", "globex_key")


def row(*expected: int | str) -> dict[str, int | str]:
    return dict(zip(WHO, expected, strict=True))


# fmt: off
#                      alice bob  charlie ada  dora stranger  key   bare  globex's key
EVERYBODY = row(         200, 200, 200,   200, 200, 200,      200,  200,  200)
PEOPLE = row(            200, 200, 200,   200, 200, SIGN_IN, SIGN_IN, SIGN_IN, SIGN_IN)
MEMBERS = row(           200, 200, 404,   404, 404, SIGN_IN, SIGN_IN, SIGN_IN, SIGN_IN)
TENANT_ADMINS = row(     200, 403, 404,   404, 404, SIGN_IN, SIGN_IN, SIGN_IN, SIGN_IN)
PLATFORM_ADMINS = row(   404, 404, 404,   200, 404, SIGN_IN, SIGN_IN, SIGN_IN, SIGN_IN)
API_READ = row(          200, 200, 404,   404, 404, 401,      200,  403,  404)
API_READ_ADMIN = row(    200, 403, 404,   404, 404, 401,      200,  403,  404)
API_WRITE = row(         201, 403, 404,   404, 404, 401,      201,  403,  404)
API_CHANGE = API_READ_ADMIN
API_STAFF = row(         404, 404, 404,   200, 404, 401,      404,  404,  404)
API_PEOPLE = row(        200, 200, 200,   200, 200, 401,      403,  403,  403)
FEED = row(              200, 200, 200,   200, 200, 401,      200,  403,  200)
NOTICE = row(            202, 202, 403,   202, 403, 401,      202,  403,  403)
NOT_SIGNED = row(        400, 400, 400,   400, 400, 400,      400,  400,  400)
NOBODY = row(            403, 403, 403,   403, 403, 403,      403,  403,  403)
# A person's own decision, which no key takes.
API_PERSON = row(        200, 403, 404,   404, 404, 401,      403,  403,  403)
# fmt: on


@dataclass
class World:
    """acme, with one deployment that has failed and the first plan, and everybody who might ask for it."""

    acme: Tenant
    globex: Tenant
    deployment: Deployment
    membership: Membership  # Bob's
    invoice: Invoice  # acme's, void
    people: dict[str, Person]
    keys: dict[str, tuple[ApiKey, str]]
    made: UUID = SOME_ID  # what the row speaks of, where it is none of these

    def principal(self, who: str) -> Any:
        return self.keys[who][0] if who in self.keys else self.people[who].user

    def ask(self, who: str, method: str, url: str, data: Any) -> HttpResponse:
        if who in self.keys:
            client, headers = Client(), {"Authorization": f"Api-Key {self.keys[who][1]}"}
        else:
            client, headers = self.people[who].client, {"X-Tenant": "acme"}
        if method == "GET":
            return client.get(url, headers=headers)
        if url.startswith("/api/"):
            send = getattr(client, method.lower())
            return send(url, data or {}, content_type="application/json", headers=headers)
        return client.post(url, data or {}, headers=headers)


@pytest.fixture
def world(acme, globex, alice, bob, charlie, platform_admin, stranger, settings) -> World:
    settings.METRICS_KEY = "known-to-prometheus-alone"
    stack = make_stack(platform_admin)
    with scopes_disabled():
        dora = make_person("Dora", "dora@acme.example")
        membership = Membership.objects.create(tenant=acme, user=dora.user, role=Role.TENANT_ADMIN)
        tenants.remove_member(membership, by=alice.user)
        dora.sign_in(dora.user)
        scopes = ["events:read", "events:publish", "deployments:read", "deployments:write", "metrics:write"]
        scopes += ["alerts:write"]
        keys = {
            "key": tenants.create_api_key(acme, "ci", scopes, by=alice.user),
            "bare_key": tenants.create_api_key(acme, "bare", ["usage:write"], by=alice.user),
            "globex_key": tenants.create_api_key(globex, "ci", scopes, by=charlie.user),
        }
        deployment = deployments.request_deployment(acme, stack, {}, by=alice.user)
        deployment = deployments.cancel(deployment, by=alice.user)
        bobs = Membership.objects.get(tenant=acme, user=bob.user)
        for tenant in (acme, globex):
            billing.ensure_subscribed(tenant, at=timezone.now() - timedelta(minutes=1))
        invoice = make_void_invoice(acme, platform_admin)
    people = dict(zip(WHO, (alice, bob, charlie, platform_admin, dora, stranger), strict=False))
    return World(acme, globex, deployment, bobs, invoice, people, keys)


def make_void_invoice(acme: Tenant, admin: Person) -> Invoice:
    """Of one line. Void, so that no row that pays decides the rows that follow."""
    with billing.locked(acme):
        now = timezone.now()
        invoice = Invoice.objects.create(tenant=acme, currency="EUR", total_minor=100)
        InvoiceLine.objects.create(
            tenant=acme, invoice=invoice, position=1, description="A line", since=now, until=now, amount_minor=100
        )
        issue(invoice, now)
    return payments.void(invoice, "For the table", by=admin.user)


def make_stack(admin: Person) -> Stack:
    steps = [{"name": "say", "command": ["echo", "hello"]}]
    stack = Stack.objects.create(slug="web", name="Web", version=1, steps=steps)
    return deployments.approve(stack, by=admin.user)


@dataclass(frozen=True)
class Row:
    """What everybody gets for one URL and method. `url` and `data` are made for the world of the test."""

    route: str
    method: str
    url: Callable[[World], str]
    expected: dict[str, int | str]
    data: Callable[[World], Any] | None = None

    @property
    def id(self) -> str:
        return f"{self.method} {self.route}"


def page(route: str, expected: dict[str, int | str], method: str = "GET", data: Any = None) -> Row:
    """A row whose URL is the route with acme and its deployment filled in."""

    def url(world: World) -> str:
        found = f"/{route}"
        for name, value in {
            "<slug:slug>": "acme",
            "<slug:stack>": "web",
            "<int:number>": str(world.deployment.number),
            "<int:membership>": str(world.membership.pk),
            "<uuid:deployment_id>": str(world.deployment.id),
            "<uuid:invoice_id>": str(world.invoice.id),
            "<int:position>": "1",
            "<slug:gateway>": "local",
            "<slug:number>": str(world.invoice.number),
            "<int:threshold_id>": "1",
            "<uuid:id>": str(world.deployment.id),
        }.items():
            found = found.replace(name, value)
        return found

    return Row(route, method, url, expected, (lambda world: data) if data is not None else None)


def post_redirects(expected: dict[str, int | str]) -> dict[str, int | str]:
    """The same people, for a form that ends in a redirect."""
    return {who: 302 if status == 200 else status for who, status in expected.items()}


@scopes_disabled()
def newest_event() -> Event:
    return Event.objects.latest("id")


def dead_letter() -> DeadLetter:
    return DeadLetter.objects.get_or_create(cursor="handler:gone", event=newest_event(), error="Away")[0]


def used() -> dict[str, Any]:
    at = timezone.now().isoformat()
    return {"idempotency_key": str(uuid4()), "meter": "deployment_minutes", "quantity": 1, "at": at}


def line_with_usage(world: World, url: str = "/t/acme/billing/projected/lines/2/") -> str:
    """The line of the projected invoice behind which there is a record."""
    use_a_minute(world.acme)
    return url


def use_a_minute(acme: Tenant) -> None:
    billing.record(acme, [billing.Used("the-table", "deployment_minutes", Decimal(1), timezone.now(), {})])


def key_page(route: str, expected: dict[str, int | str], method: str = "GET") -> Row:
    """For the key without a scope that anybody asks with."""
    return Row(route, method, lambda world: f"/t/acme/keys/{world.keys['bare_key'][0].id}/revoke/", expected)


# --- Something of acme's to look at, made when a row asks for it ------------------------------------------------------

A_RULE = {"name": "Busy", "metric": "load_1m", "threshold": 1}
A_SILENCE = {"matchers": [{"label": "host", "op": "=", "value": "a"}], "reason": "Why", "seconds": 60}
A_POLICY = {"name": "On call", "steps": [{"afterSeconds": 60, "ways": ["email"]}]}


def made(make: Callable[[World], Any]) -> Callable[..., Row]:
    """Rows whose `<uuid:id>` is something of acme's that `make` makes."""

    def page_of(route: str, expected: dict[str, int | str], method: str = "GET", data: Any = None) -> Row:
        def url(world: World) -> str:
            world.made = make(world).pk
            return f"/{route}".replace("<uuid:id>", str(world.made))

        return Row(route, method, url, expected, (lambda world: data) if data is not None else None)

    return page_of


def _alert(world: World) -> Any:
    said = alerts.Raised(Source.API, "backup", "Backup", "error", "Failed", started_at=timezone.now())
    return alerts.raise_alert(world.acme, said)


def _silence(world: World) -> Any:
    until = timezone.now() + timedelta(minutes=5)
    return silences.create_silence(world.acme, A_SILENCE["matchers"], "Why", until, by=world.people["alice"].user)


def _bobs_notification(world: World) -> Any:
    bob = world.people["bob"].user
    facts = {"kind": "test", "title": "Hello", "message": "", "level": "info", "link": "/"}
    message = Message(source=uuid4(), object_key="test:1", group_key="test:1", tenant=world.acme, **facts)
    return notifications.notify([bob.pk], message)[0]


alert_page = made(_alert)
notification_page = made(_bobs_notification)
rule_page = made(lambda world: rules.create_rule(world.acme, None, **A_RULE))
silence_page = made(_silence)
policy_page = made(
    lambda world: rules.create_policy(
        world.acme, None, name="On call", steps=[{"after_seconds": 60, "people": [], "ways": ["email"]}]
    )
)


def of_invoice(make: Callable[[Tenant], Invoice]) -> Callable[..., Row]:
    """Rows whose invoice is one of acme's that `make` makes, for what can't be done to one that is void."""

    def page_of(route: str, expected: dict[str, int | str], method: str = "GET", data: Any = None) -> Row:
        def url(world: World) -> str:
            with scopes_disabled():
                number = str(make(world.acme).number)
            found = f"/{route}".replace("<slug:slug>", "acme").replace("<slug:number>", number)
            return found.replace("<int:position>", "2")  # of usage: the first line is the plan's price

        return Row(route, method, url, expected, (lambda world: data) if data is not None else None)

    return page_of


def make_open_invoice(acme: Tenant) -> Invoice:
    with billing.locked(acme):
        return issue(Invoice.objects.create(tenant=acme, currency="EUR", total_minor=100), timezone.now())


def make_paid_invoice(acme: Tenant) -> Invoice:
    payments.choose_method(acme, "pays")
    invoice = make_open_invoice(acme)
    payments.pay(invoice)
    return invoice


def make_invoice_of_usage(acme: Tenant) -> Invoice:
    """Acme's current period, with a record on its line 2, closed as if it were over."""
    use_a_minute(acme)
    period = Period.objects.select_related("tenant").get(tenant=acme, closed_at=None)
    invoice = close(period, period.ends_at + timedelta(hours=2))
    assert invoice
    return invoice


open_invoice_page, paid_invoice_page = of_invoice(make_open_invoice), of_invoice(make_paid_invoice)


A_REFUND = {"amount": "1.00", "left": 100, "reason": "Sorry"}
THRESHOLD = {"meter": "deployment_minutes", "percent": 90}


def of_monitoring(route: str, expected: dict[str, int | str], method: str = "GET", data: Any = None) -> Row:
    """A row about an alert, a rule and a silence of acme's; at /ops/ about those of the platform's own."""

    def url(world: World) -> str:
        tenant = None if route.startswith("ops/") else world.acme
        found = f"/{route}".replace("<slug:slug>", "acme")
        for name, make in OF_MONITORING.items():
            if f"<uuid:{name}>" in found:
                found = found.replace(f"<uuid:{name}>", str(make(tenant).pk))
        return found

    return Row(route, method, url, expected, (lambda world: data) if data is not None else None)


@scopes_disabled()
def open_alert(tenant: Tenant | None) -> Alert:
    raised = alerts.Raised(Source.API, "disk", "Disk is full", "error", "97 %", started_at=timezone.now())
    return alerts.raise_alert(tenant, raised)


@scopes_disabled()
def a_rule(tenant: Tenant | None) -> AlertRule:
    known = AlertRule.objects.filter(tenant=tenant).first()
    return known or rules.create_rule(tenant, None, name="Busy", metric="cpu_percent", threshold=90)


@scopes_disabled()
def a_silence(tenant: Tenant | None) -> Silence:
    matchers = [{"label": "host", "op": "=", "value": "db-1"}]
    facts = {"matchers": matchers, "created_by_id": SOME_ID, "created_by_name": "Alice", "reason": "Moved"}
    return Silence.objects.create(tenant=tenant, expires_at=timezone.now() + timedelta(hours=1), **facts)


@scopes_disabled()
def a_policy(tenant: Tenant | None) -> EscalationPolicy:
    steps = [{"after_seconds": 900, "people": [], "ways": ["in_app"]}]
    known = EscalationPolicy.objects.filter(tenant=tenant).first()
    return known or rules.create_policy(tenant, None, name="On call", steps=steps)


OF_MONITORING = {"alert_id": open_alert, "rule_id": a_rule, "silence_id": a_silence, "policy_id": a_policy}


#: Without a name, so that nothing is saved.
NO_POLICY = {"name": "", "steps-TOTAL_FORMS": "1", "steps-INITIAL_FORMS": "0"}
STALE_ROLE = {"role": "tenant_admin", "version": 99}
GET_AND_POST = ("GET", "POST")
RESET_KEY = r"accounts/^password/reset/key/(?P<uidb36>[0-9a-f]{32})-(?P<key>[0-9A-Za-z-]+)/$"

ROWS = [
    # People. Whoever is signed in has no business at the sign-in page and is sent home.
    Row("", "GET", lambda world: "/", row(302, 302, 302, 302, 200, SIGN_IN, SIGN_IN, SIGN_IN, SIGN_IN)),
    page("theme/", row(*[302] * 9), "POST", {"theme": "dark"}),
    *(page("accounts/login/", row(302, 302, 302, 302, 302, 200, 200, 200, 200), method) for method in GET_AND_POST),
    page("accounts/logout/", row(200, 200, 200, 200, 200, 302, 302, 302, 302)),
    page("accounts/logout/", row(302, 302, 302, 302, 302, 302, 302, 302, 302), "POST"),
    page("accounts/inactive/", EVERYBODY),
    *(page("accounts/password/change/", PEOPLE, method) for method in GET_AND_POST),
    *(page("accounts/password/reset/", EVERYBODY, method) for method in GET_AND_POST),
    page("accounts/password/reset/done/", EVERYBODY),
    *(
        Row(RESET_KEY, method, lambda world: f"/accounts/password/reset/key/{'0' * 32}-no-such-key/", EVERYBODY)
        for method in GET_AND_POST
    ),
    page("accounts/password/reset/key/done/", EVERYBODY),
    # A tenant's pages.
    page("t/<slug:slug>/", MEMBERS),
    page("t/<slug:slug>/jump/", MEMBERS),
    page("t/<slug:slug>/activity/", TENANT_ADMINS),
    page("t/<slug:slug>/deployments/", MEMBERS),
    page("t/<slug:slug>/deployments/new/", TENANT_ADMINS),
    page("t/<slug:slug>/deployments/new/", post_redirects(TENANT_ADMINS), "POST", {"stack": "web"}),
    page("t/<slug:slug>/deployments/<int:number>/", MEMBERS),
    page("t/<slug:slug>/deployments/<uuid:deployment_id>/", post_redirects(MEMBERS)),
    page("t/<slug:slug>/deployments/<int:number>/log/", TENANT_ADMINS),
    page("t/<slug:slug>/deployments/<int:number>/log/lines/", TENANT_ADMINS),
    page("t/<slug:slug>/deployments/<int:number>/log/search/", TENANT_ADMINS),
    # What has ended can't be cancelled: 409, for those who might.
    page("t/<slug:slug>/deployments/<int:number>/cancel/", TENANT_ADMINS | {"alice": 409}, "POST"),
    page("t/<slug:slug>/deployments/<int:number>/retry/", TENANT_ADMINS | {"alice": 409}, "POST"),
    page("t/<slug:slug>/deployments/<int:number>/rollback/", TENANT_ADMINS | {"alice": 409}, "POST"),
    page("t/<slug:slug>/deployments/stacks/<slug:stack>/", MEMBERS),
    page("t/<slug:slug>/monitoring/", MEMBERS),
    of_monitoring("t/<slug:slug>/monitoring/alerts/<uuid:alert_id>/", TENANT_ADMINS),
    of_monitoring(
        "t/<slug:slug>/monitoring/alerts/<uuid:alert_id>/acknowledge/", post_redirects(TENANT_ADMINS), "POST"
    ),
    of_monitoring(
        "t/<slug:slug>/monitoring/alerts/<uuid:alert_id>/unacknowledge/", post_redirects(TENANT_ADMINS), "POST"
    ),
    of_monitoring("t/<slug:slug>/monitoring/alerts/<uuid:alert_id>/resolve/", post_redirects(TENANT_ADMINS), "POST"),
    # No reason is given: the form comes back.
    of_monitoring("t/<slug:slug>/monitoring/alerts/<uuid:alert_id>/silence/", TENANT_ADMINS, "POST"),
    of_monitoring("t/<slug:slug>/monitoring/silences/<uuid:silence_id>/end/", post_redirects(TENANT_ADMINS), "POST"),
    page("t/<slug:slug>/monitoring/silences/new/", TENANT_ADMINS),
    page("t/<slug:slug>/monitoring/silences/new/", TENANT_ADMINS, "POST", {"matchers": ""}),
    page("t/<slug:slug>/monitoring/undo/", TENANT_ADMINS | {"alice": 409}, "POST"),
    page("t/<slug:slug>/monitoring/policies/", TENANT_ADMINS),
    page("t/<slug:slug>/monitoring/policies/new/", TENANT_ADMINS),
    page("t/<slug:slug>/monitoring/policies/new/", TENANT_ADMINS, "POST", NO_POLICY),
    of_monitoring("t/<slug:slug>/monitoring/policies/<uuid:policy_id>/", TENANT_ADMINS),
    of_monitoring("t/<slug:slug>/monitoring/policies/<uuid:policy_id>/", TENANT_ADMINS, "POST", NO_POLICY),
    of_monitoring("t/<slug:slug>/monitoring/policies/<uuid:policy_id>/delete/", post_redirects(TENANT_ADMINS), "POST"),
    page("t/<slug:slug>/monitoring/rules/new/", TENANT_ADMINS),
    page("t/<slug:slug>/monitoring/rules/new/", TENANT_ADMINS, "POST", {"name": ""}),
    page("t/<slug:slug>/monitoring/rules/undo/", TENANT_ADMINS | {"alice": 409}, "POST"),
    of_monitoring("t/<slug:slug>/monitoring/rules/<uuid:rule_id>/", TENANT_ADMINS),
    of_monitoring("t/<slug:slug>/monitoring/rules/<uuid:rule_id>/", TENANT_ADMINS, "POST", {"name": ""}),
    of_monitoring("t/<slug:slug>/monitoring/rules/<uuid:rule_id>/delete/", post_redirects(TENANT_ADMINS), "POST"),
    page("t/<slug:slug>/members/", TENANT_ADMINS),
    page("t/<slug:slug>/members/invite/", TENANT_ADMINS),
    page("t/<slug:slug>/members/invite/", TENANT_ADMINS, "POST", {"email": "no address"}),
    page("t/<slug:slug>/members/<int:membership>/remove/", TENANT_ADMINS),
    # 409: nobody has seen that version, Bob has accepted already, and nothing was removed that could be undone.
    page("t/<slug:slug>/members/<int:membership>/remove/", TENANT_ADMINS | {"alice": 409}, "POST", {"version": 99}),
    page("t/<slug:slug>/members/<int:membership>/role/", TENANT_ADMINS | {"alice": 409}, "POST", STALE_ROLE),
    page("t/<slug:slug>/members/<int:membership>/invite/", TENANT_ADMINS | {"alice": 409}, "POST"),
    page("t/<slug:slug>/members/undo/", TENANT_ADMINS | {"alice": 409}, "POST"),
    page("t/<slug:slug>/notices/", MEMBERS),
    page("t/<slug:slug>/notices/new/", MEMBERS),
    page(
        "t/<slug:slug>/notices/new/",
        post_redirects(MEMBERS),
        "POST",
        {"title": "Hello", "message": "", "level": "info", "notice_id": str(SOME_ID)},
    ),
    # A person's inbox, over all their tenants.
    page("notifications/", PEOPLE),
    page("notifications/change/", post_redirects(PEOPLE), "POST", {"do": "read", "id": str(SOME_ID)}),
    page("notifications/preferences/", PEOPLE),
    page("notifications/preferences/", PEOPLE, "POST", {"time_zone": ""}),
    # Whoever holds the mail that Bob got.
    Row("notifications/unsubscribe/<str:token>/", "GET", lambda world: unsubscribe_link(world), EVERYBODY),
    Row("notifications/unsubscribe/<str:token>/", "POST", lambda world: unsubscribe_link(world), EVERYBODY),
    page("t/<slug:slug>/keys/", TENANT_ADMINS),
    page("t/<slug:slug>/keys/new/", TENANT_ADMINS),
    page("t/<slug:slug>/keys/new/", TENANT_ADMINS, "POST", {"name": "ci", "scopes": ["events:read"]}),
    key_page("t/<slug:slug>/keys/<uuid:key_id>/revoke/", TENANT_ADMINS),
    key_page("t/<slug:slug>/keys/<uuid:key_id>/revoke/", post_redirects(TENANT_ADMINS), "POST"),
    page("t/<slug:slug>/settings/", TENANT_ADMINS),
    page("t/<slug:slug>/settings/", TENANT_ADMINS, "POST", {"name": ""}),
    page("t/<slug:slug>/billing/", MEMBERS),
    page("t/<slug:slug>/billing/invoices/", MEMBERS),
    page("t/<slug:slug>/billing/invoices/<uuid:invoice_id>/", post_redirects(MEMBERS)),
    page("t/<slug:slug>/billing/invoices/<slug:number>/", MEMBERS),
    of_invoice(make_invoice_of_usage)("t/<slug:slug>/billing/invoices/<slug:number>/lines/<int:position>/", MEMBERS),
    page("t/<slug:slug>/billing/projected/", MEMBERS),
    Row("t/<slug:slug>/billing/projected/lines/<int:position>/", "GET", line_with_usage, MEMBERS),
    # 409: nobody has seen that version of the invoice, or of the subscription.
    page("t/<slug:slug>/billing/invoices/<slug:number>/pay/", TENANT_ADMINS | {"alice": 409}, "POST", {"version": 99}),
    page("t/<slug:slug>/billing/payment-method/", TENANT_ADMINS | {"alice": 409}, "POST", {"reference": "gold"}),
    page("t/<slug:slug>/billing/plan/", TENANT_ADMINS),
    page("t/<slug:slug>/billing/plan/change/", TENANT_ADMINS | {"alice": 409}, "POST", {"version": 99}),
    page("t/<slug:slug>/billing/plan/start/", TENANT_ADMINS | {"alice": 409}, "POST", {"plan": "gold"}),
    page("t/<slug:slug>/billing/plan/cancel/", TENANT_ADMINS | {"alice": 409}, "POST", {"version": 99}),
    page("t/<slug:slug>/billing/thresholds/", post_redirects(TENANT_ADMINS), "POST", THRESHOLD),
    page("t/<slug:slug>/billing/thresholds/<int:threshold_id>/remove/", post_redirects(TENANT_ADMINS), "POST"),
    # The operations portal.
    page("ops/", PLATFORM_ADMINS),
    page("ops/billing/", PLATFORM_ADMINS),
    page("ops/billing/invoices/<slug:number>/", PLATFORM_ADMINS),
    paid_invoice_page("ops/billing/invoices/<slug:number>/refund/", PLATFORM_ADMINS),
    paid_invoice_page("ops/billing/invoices/<slug:number>/refund/", post_redirects(PLATFORM_ADMINS), "POST", A_REFUND),
    open_invoice_page("ops/billing/invoices/<slug:number>/void/", PLATFORM_ADMINS),
    open_invoice_page(
        "ops/billing/invoices/<slug:number>/void/",
        post_redirects(PLATFORM_ADMINS),
        "POST",
        {"reason": "Sorry", "version": 2},
    ),
    # The table's line is a sum by itself: behind it there are no records.
    page("ops/billing/invoices/<slug:number>/lines/<int:position>/", PLATFORM_ADMINS | {"ada": 404}),
    page("ops/deployments/", PLATFORM_ADMINS),
    page("ops/deployments/<uuid:deployment_id>/", PLATFORM_ADMINS),
    page("ops/deployments/<uuid:deployment_id>/log/", PLATFORM_ADMINS),
    page("ops/deployments/<uuid:deployment_id>/log/lines/", PLATFORM_ADMINS),
    page("ops/deployments/<uuid:deployment_id>/log/search/", PLATFORM_ADMINS),
    page("ops/events/", PLATFORM_ADMINS),
    Row("ops/events/<uuid:event_id>/", "GET", lambda world: f"/ops/events/{newest_event().uuid}/", PLATFORM_ADMINS),
    page("ops/access/", PLATFORM_ADMINS),
    page("ops/dead-letters/", PLATFORM_ADMINS),
    page("ops/dead-letters/retry/", post_redirects(PLATFORM_ADMINS), "POST"),
    Row(
        "ops/dead-letters/<int:letter_id>/retry/",
        "POST",
        lambda world: f"/ops/dead-letters/{dead_letter().pk}/retry/",
        post_redirects(PLATFORM_ADMINS),
    ),
    Row(
        "ops/dead-letters/<int:letter_id>/skip/",
        "POST",
        lambda world: f"/ops/dead-letters/{dead_letter().pk}/skip/",
        post_redirects(PLATFORM_ADMINS),
    ),
    page("ops/health/", PLATFORM_ADMINS),
    page("ops/monitoring/", PLATFORM_ADMINS),
    page("ops/monitoring/undo/", PLATFORM_ADMINS | {"ada": 409}, "POST"),
    page("ops/monitoring/rules/", PLATFORM_ADMINS),
    page("ops/monitoring/rules/new/", PLATFORM_ADMINS),
    page("ops/monitoring/rules/new/", PLATFORM_ADMINS, "POST", {"name": ""}),
    page("ops/monitoring/rules/undo/", PLATFORM_ADMINS | {"ada": 409}, "POST"),
    of_monitoring("ops/monitoring/rules/<uuid:rule_id>/", PLATFORM_ADMINS),
    of_monitoring("ops/monitoring/rules/<uuid:rule_id>/", PLATFORM_ADMINS, "POST", {"name": ""}),
    of_monitoring("ops/monitoring/rules/<uuid:rule_id>/delete/", post_redirects(PLATFORM_ADMINS), "POST"),
    page("ops/monitoring/policies/", PLATFORM_ADMINS),
    page("ops/monitoring/policies/new/", PLATFORM_ADMINS),
    page("ops/monitoring/policies/new/", PLATFORM_ADMINS, "POST", NO_POLICY),
    of_monitoring("ops/monitoring/policies/<uuid:policy_id>/", PLATFORM_ADMINS),
    of_monitoring("ops/monitoring/policies/<uuid:policy_id>/", PLATFORM_ADMINS, "POST", NO_POLICY),
    of_monitoring("ops/monitoring/policies/<uuid:policy_id>/delete/", post_redirects(PLATFORM_ADMINS), "POST"),
    of_monitoring("ops/monitoring/alerts/<uuid:alert_id>/", PLATFORM_ADMINS),
    of_monitoring("ops/monitoring/alerts/<uuid:alert_id>/acknowledge/", post_redirects(PLATFORM_ADMINS), "POST"),
    of_monitoring("ops/monitoring/alerts/<uuid:alert_id>/unacknowledge/", post_redirects(PLATFORM_ADMINS), "POST"),
    of_monitoring("ops/monitoring/alerts/<uuid:alert_id>/silence/", PLATFORM_ADMINS, "POST"),
    page("ops/monitoring/silences/new/", PLATFORM_ADMINS),
    page("ops/monitoring/silences/new/", PLATFORM_ADMINS, "POST", {"matchers": ""}),
    of_monitoring("ops/monitoring/silences/<uuid:silence_id>/end/", post_redirects(PLATFORM_ADMINS), "POST"),
    page("ops/jump/", PLATFORM_ADMINS),
    page("ops/tenants/", PLATFORM_ADMINS),
    page("ops/tenant-names/", PLATFORM_ADMINS),
    page("ops/tenants/<slug:slug>/", PLATFORM_ADMINS),
    page("ops/tenants/<slug:slug>/suspend/", PLATFORM_ADMINS),
    # No reason is given: the form comes back.
    page("ops/tenants/<slug:slug>/suspend/", PLATFORM_ADMINS, "POST"),
    # acme is not suspended: there is nothing to resume.
    page("ops/tenants/<slug:slug>/resume/", PLATFORM_ADMINS | {"ada": 409}, "POST"),
    page("ops/activity/", PLATFORM_ADMINS),
    # The API.
    # A key names no tenant: it is its own tenant's list that globex's gets.
    page("api/deployments", API_READ | {"globex_key": 200}),
    page("api/deployments", API_WRITE | {"globex_key": 201}, "POST", {"stack": "web"}),
    page("api/deployments/<uuid:id>", API_READ),
    page("api/deployments/<uuid:id>/log", API_READ_ADMIN),
    page("api/deployments/<uuid:id>/cancel", API_CHANGE | {"alice": 409, "key": 409}, "POST"),
    page("api/deployments/<uuid:id>/retry", API_CHANGE | {"alice": 409, "key": 409}, "POST"),
    page("api/deployments/<uuid:id>/rollback", API_CHANGE | {"alice": 409, "key": 409}, "POST"),
    # What can be deployed is the platform's, offered to every tenant.
    page("api/stacks", API_READ_ADMIN | {"globex_key": 200}),
    page("api/tenant/metrics", API_READ | {"globex_key": 200}),
    page("api/monitoring/series", API_READ | {"globex_key": 200}),
    Row(
        "api/monitoring/metrics",
        "POST",
        lambda world: "/api/monitoring/metrics",
        API_CHANGE | {"globex_key": 200},
        lambda world: {"samples": [{"name": "load_1m", "value": 1, "at": timezone.now().isoformat()}]},
    ),
    # Alerts are the tenant admin's, as their channel is.
    page("api/monitoring/alerts", API_READ_ADMIN | {"globex_key": 200}),
    page("api/monitoring/alerts", API_WRITE | {"globex_key": 201, "key": 200}, "POST", {"key": "backup"}),
    page(
        "api/monitoring/alertmanager",
        API_CHANGE | {"globex_key": 200},
        "POST",
        {"version": "4", "status": "firing", "alerts": []},
    ),
    alert_page("api/monitoring/alerts/<uuid:id>", API_READ_ADMIN),
    alert_page("api/monitoring/alerts/<uuid:id>/acknowledge", API_PERSON, "POST"),
    alert_page("api/monitoring/alerts/<uuid:id>/unacknowledge", API_PERSON, "POST"),
    alert_page("api/monitoring/alerts/<uuid:id>/resolve", API_PERSON, "POST"),
    alert_page(
        "api/monitoring/alerts/<uuid:id>/silence",
        API_PERSON | {"alice": 201},
        "POST",
        {"reason": "Why", "seconds": 60},
    ),
    page("api/monitoring/rules", API_READ_ADMIN | {"globex_key": 200}),
    page("api/monitoring/rules", API_PERSON | {"alice": 201}, "POST", A_RULE),
    page("api/monitoring/rules/dry-run", API_PERSON, "POST", A_RULE),
    rule_page("api/monitoring/rules/<uuid:id>", API_READ_ADMIN),
    rule_page("api/monitoring/rules/<uuid:id>", API_PERSON, "PATCH", {"threshold": 2}),
    rule_page("api/monitoring/rules/<uuid:id>", API_PERSON | {"alice": 204}, "DELETE"),
    page("api/monitoring/silences", API_READ_ADMIN | {"globex_key": 200}),
    page("api/monitoring/silences", API_PERSON | {"alice": 201}, "POST", A_SILENCE),
    silence_page("api/monitoring/silences/<uuid:id>", API_READ_ADMIN),
    silence_page("api/monitoring/silences/<uuid:id>/end", API_PERSON, "POST"),
    page("api/monitoring/escalation-policies", API_READ_ADMIN | {"globex_key": 200}),
    page("api/monitoring/escalation-policies", API_PERSON | {"alice": 201}, "POST", A_POLICY),
    policy_page("api/monitoring/escalation-policies/<uuid:id>", API_READ_ADMIN),
    policy_page("api/monitoring/escalation-policies/<uuid:id>", API_PERSON, "PATCH", {"repeatSeconds": 60}),
    policy_page("api/monitoring/escalation-policies/<uuid:id>", API_PERSON | {"alice": 204}, "DELETE"),
    # Usage is what a key without any other scope is for; plans and thresholds no key changes.
    page("api/billing/usage", API_READ | {"globex_key": 200}),
    Row(
        "api/billing/usage",
        "POST",
        lambda world: "/api/billing/usage",
        API_CHANGE | {"key": 403, "bare_key": 200, "globex_key": 403},
        lambda world: {"records": [used()]},
    ),
    page("api/billing/usage/records", API_READ | {"globex_key": 200}),
    page("api/billing/meters", API_READ | {"globex_key": 200}),
    page("api/billing/plans", API_READ | {"globex_key": 200}),
    page("api/billing/subscription", API_READ | {"globex_key": 200}),
    Row(
        "api/billing/subscription/preview",
        "GET",
        lambda world: "/api/billing/subscription/preview?plan=team",
        API_PERSON,
    ),
    # 409: it has not ended.
    page("api/billing/subscription/start", API_PERSON | {"alice": 409}, "POST", {"plan": "team"}),
    page("api/billing/subscription/change", API_PERSON, "POST", {"plan": "team"}),
    page("api/billing/subscription/cancel", API_PERSON, "POST"),
    page("api/billing/thresholds", API_READ | {"globex_key": 200}),
    page("api/billing/thresholds", API_PERSON | {"alice": 201}, "POST", THRESHOLD),
    page("api/billing/thresholds/remove", API_PERSON, "POST", THRESHOLD),
    page("api/billing/invoices", API_READ | {"globex_key": 200}),
    page("api/billing/invoices/projected", API_READ | {"globex_key": 200}),
    Row(
        "api/billing/invoices/projected/lines/<int:position>/records",
        "GET",
        lambda world: line_with_usage(world, "/api/billing/invoices/projected/lines/2/records"),
        API_READ | {"globex_key": 404},
    ),
    page("api/billing/invoices/<uuid:invoice_id>", API_READ),
    page("api/billing/invoices/<uuid:invoice_id>/lines/<int:position>/records", API_READ),
    # 409: the table's invoice is void, which can be neither paid nor given back nor given up again.
    page("api/billing/invoices/<uuid:invoice_id>/pay", API_PERSON | {"alice": 409}, "POST"),
    page("api/billing/invoices/<uuid:invoice_id>/refund", API_STAFF | {"ada": 409}, "POST", {"reason": "Sorry"}),
    page("api/billing/invoices/<uuid:invoice_id>/void", API_STAFF | {"ada": 409}, "POST", {"reason": "Sorry"}),
    page("api/billing/invoices/<uuid:invoice_id>/collect", API_STAFF | {"ada": 409}, "POST"),
    page("api/billing/invoices/<uuid:invoice_id>/paid-by-hand", API_STAFF | {"ada": 409}, "POST", {"note": "Cash"}),
    page("api/billing/platform/revenue", API_STAFF),
    page("api/billing/platform/failed", API_STAFF),
    page("api/billing/platform/thresholds", API_STAFF),
    page("api/billing/payment-method", API_PERSON),
    page("api/billing/payment-method", API_PERSON, "POST", {"reference": "pays"}),
    page("api/billing/webhooks/<slug:gateway>", NOT_SIGNED, "POST"),  # only who signs: see billing/tests
    page("api/realtime/token", API_PEOPLE, "POST"),
    page("api/realtime/subscriptions", API_PEOPLE, "POST", {"channels": ["system:health"]}),
    # A person's inbox. The notification is nobody's: its id is passed over.
    page("api/notifications", API_PEOPLE),
    page("api/notifications/count", API_PEOPLE),
    *(
        page(f"api/notifications/{change}", API_PEOPLE, "POST", {"ids": [str(SOME_ID)]})
        for change in ("read", "mark-unread", "archive", "unarchive", "remove", "restore")
    ),
    # Bob's, and nobody else's.
    notification_page("api/notifications/<uuid:id>", row(404, 200, 404, 404, 404, 401, 403, 403, 403)),
    page("api/notifications/preferences", API_PEOPLE),
    page("api/notifications/preferences", API_PEOPLE, "POST", {"kinds": [{"kind": "notice", "email": "daily"}]}),
    page("api/notifications/read-all", API_PEOPLE, "POST"),
    page("api/events", FEED),
    Row(
        "api/events/publish",
        "POST",
        lambda world: "/api/events/publish",
        NOTICE,
        lambda world: {
            "channel": channels.tenant(world.acme.id, Topic.NOTIFICATIONS).name,
            "event": {"type": "tenant_notice", "title": "Hello", "message": "From the table.", "level": "info"},
        },
    ),
    # For everybody, and for machines.
    page("api/schema", EVERYBODY),
    page("api/docs", EVERYBODY),
    page("healthz", EVERYBODY),
    page("readyz", EVERYBODY),
    page("metrics", NOBODY),  # only who shows METRICS_KEY: see test_health
]


def unsubscribe_link(world: World) -> str:
    return unsubscribing.link(world.people["bob"].user, ["deployment_failed"]).removeprefix(settings.SITE_URL)


def all_views(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from all_views(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern.callback


def all_routes(resolver: Any = None) -> Iterator[str]:
    return (route for route, _ in all_views(resolver))


def methods_of(view: Any) -> set[str]:
    """What a view answers, besides HEAD: its rules or handlers say it, or one of Django's `require_...` around it."""
    if cls := getattr(view, "view_class", None):
        known = getattr(cls, "rules", None) or {name.upper() for name in ("get", "post") if hasattr(cls, name)}
        return set(known)
    while view:
        around = inspect.getclosurevars(view).nonlocals
        if "request_method_list" in around:
            return set(around["request_method_list"]) - {"HEAD"}
        view = getattr(view, "__wrapped__", None)
    return set(GET_AND_POST)


def test_every_url_stands_in_the_table_with_each_of_its_methods():
    views = [(route, view) for route, view in all_views() if not route.startswith("admin/")]
    answered = {f"{method} {route}" for route, view in views for method in methods_of(view)}
    assert answered - {row.id for row in ROWS} == set(), "decide who may do this, and write it into ROWS"
    assert {row.id for row in ROWS} - answered == set(), "nothing answers these: take them out of ROWS"


# --- Keys, scope by scope ---------------------------------------------------------------------------------------------


def scope_of(row: Row) -> str | None:
    """The scope that a key needs for it, as its view's rule says."""
    if row.route == "api/events":  # its view has no tenant, so no rules
        return SCOPES[Action.SUBSCRIBE]
    cls = getattr(dict(all_views())[row.route], "view_class", None)
    rule = getattr(cls, "rules", {}).get(row.method)
    return rule.scope if rule else None


SCOPED = [(row, scope) for row in ROWS if (scope := scope_of(row))]


def test_every_scope_is_needed_somewhere():
    assert {scope for _, scope in SCOPED} | {SCOPES[Action.PUBLISH]} == set(Scope.values)


@pytest.mark.parametrize(("asked", "scope"), [pytest.param(row, scope, id=row.id) for row, scope in SCOPED])
def test_the_scope_alone_is_enough_and_all_others_are_not(asked: Row, scope: str, world: World):
    alice = world.people["alice"].user
    others = [other for other in Scope.values if other != scope]
    world.keys["alone"] = tenants.create_api_key(world.acme, "alone", [scope], by=alice)
    world.keys["others"] = tenants.create_api_key(world.acme, "others", others, by=alice)
    url = asked.url(world)
    refused = world.ask("others", asked.method, url, asked.data(world) if asked.data else None)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "scope_needed")
    answer = world.ask("alone", asked.method, url, asked.data(world) if asked.data else None)
    # 409: it is let in, and what the row speaks of is in no state for it.
    assert answer.status_code in (200, 201, 204, 409), answer.content


#: What answers beside Django's URLs, where nobody is signed in: the same for everybody, whatever they send along.
BESIDE_DJANGO = {
    r"^api/realtime/connect$": ("POST", "/api/realtime/connect", 403),  # only the engine, which shows the gate's key
    r"^\.well\-known/jwks\.json$": ("GET", "/.well-known/jwks.json", 200),
}


def test_what_answers_beside_django_stands_in_a_table_too():
    assert {str(route.pattern) for route in asgi.ours()} == {*BESIDE_DJANGO, ""}


@pytest.mark.parametrize("route", BESIDE_DJANGO)
async def test_everybody_gets_the_same_beside_django(route: str, django_db_setup: None):
    method, path, status = BESIDE_DJANGO[route]
    transport = httpx.ASGITransport(asgi.without_engine())
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as anybody:
        for headers in ({}, {"Authorization": "Api-Key x"}, {"Cookie": "sessionid=x"}, {"X-Gate-Key": "guessed"}):
            answer = await anybody.request(method, path, headers=headers)
            assert answer.status_code == status
            assert "set-cookie" not in answer.headers


#: The same of the process that the gate is in production.
AT_THE_GATE = {
    "/healthz": ("GET", 200),
    "/api/realtime/connect": ("POST", 403),
    "/api/realtime/drain": ("POST", 403),  # only a node of the engine that goes, which sends the gate's key as body
    "/api/realtime/token": ("POST", 403),  # anything else
}


def test_what_the_gates_process_answers_stands_in_a_table_too():
    assert set(gate_asgi.BESIDE_THE_GATE) <= set(AT_THE_GATE)


@pytest.mark.parametrize("path", AT_THE_GATE)
async def test_everybody_gets_the_same_at_the_gate(path: str):
    method, status = AT_THE_GATE[path]
    transport = httpx.ASGITransport(gate_asgi.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://gate") as anybody:
        for headers in ({}, {"Authorization": "Api-Key x"}, {"Cookie": "sessionid=x"}, {"X-Gate-Key": "guessed"}):
            for content in (b"", b"guessed"):
                url = f"{path}?node=centrifugo-1&parts=1"
                answer = await anybody.request(method, url, headers=headers, content=content)
                assert answer.status_code == status


@pytest.mark.parametrize("expected", [pytest.param(row, id=row.id) for row in ROWS])
def test_everybody_gets_what_the_table_says(expected: Row, world: World):
    url = expected.url(world)
    never = not_there(url, world)
    for who, status in expected.expected.items():
        data = expected.data(world) if expected.data else None
        response = world.ask(who, expected.method, url, data)
        assert outcome(response) == status, f"{who}: {expected.id} gave {outcome(response)}, not {status}"
        if status == 404:
            assert same_answer(response, world.ask(who, expected.method, never, data)), f"{who} can tell it exists"
            assert "Expires" not in response, "else the two answers differ whenever a second ends between them"
        if who not in world.keys and world.people[who].user:  # signing out must not decide the rows that follow
            world.people[who].client.force_login(world.people[who].user, backend=BACKEND)


BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


def outcome(response: HttpResponse) -> int | str:
    is_sign_in = response.status_code == 302 and response["Location"].startswith("/accounts/login/?next=")
    return SIGN_IN if is_sign_in else response.status_code


def not_there(url: str, world: World) -> str:
    """The same URL for a tenant, a deployment, an invoice or what the row has made, which never existed."""
    for known in (world.deployment.id, world.invoice.id, world.made):
        url = url.replace(str(known), str(uuid4()))
    return url.replace("/t/acme/", "/t/never-used/")


def same_answer(one: HttpResponse, other: HttpResponse) -> bool:
    return (one.status_code, one.content, sorted(one.items())) == (
        other.status_code,
        other.content,
        sorted(other.items()),
    )


def test_the_admin_is_the_platform_admins_alone(world: World):
    routes = [re.sub(r"<\w+:\w+>", "1", route) for route in all_routes() if route.startswith("admin/")]
    routes = [route for route in routes if "(?P<" not in route]  # the index of one app, and the catch-all
    assert len(routes) > 80
    for route in routes:
        if route in ("admin/login/", "admin/logout/"):
            continue
        for who in WHO:
            if who == "ada" and "/1/" in route:  # her forms are opened in test_admin_pages
                continue
            response = world.ask(who, "GET", f"/{route}", None)
            if who == "ada":
                assert response.status_code in (200, 302, 403, 405), f"ada: {route} gave {response.status_code}"
            else:
                assert is_refused_by_the_admin(response), f"{who}: {route} gave {response.status_code}"


def is_refused_by_the_admin(response: HttpResponse) -> bool:
    to_sign_in = response.status_code == 302 and "/login/" in response["Location"]
    return to_sign_in or response.status_code in (403, 404)


# --- Channels ---------------------------------------------------------------------------------------------------------

NOBODY: tuple[str, ...] = ()
PEOPLE_OF_ACME_ADMINS = ("alice", "ada", "key")

#: By channel: who may subscribe (a key: read it in the feed), and who may publish.
CHANNELS: dict[str, tuple[Callable[[World], Channel], tuple[str, ...], tuple[str, ...]]] = {
    "tenant_dashboard": (
        lambda world: channels.tenant(world.acme.id, Topic.DASHBOARD),
        ("alice", "bob", "ada", "key"),
        PEOPLE_OF_ACME_ADMINS,
    ),
    "tenant_notifications": (
        lambda world: channels.tenant(world.acme.id, Topic.NOTIFICATIONS),
        ("alice", "bob", "ada", "key"),
        ("alice", "bob", "ada", "key"),
    ),
    "tenant_billing": (
        lambda world: channels.tenant(world.acme.id, Topic.BILLING),
        ("alice", "bob", "ada", "key"),
        PEOPLE_OF_ACME_ADMINS,
    ),
    "tenant_deployments": (
        lambda world: channels.tenant(world.acme.id, Topic.DEPLOYMENTS),
        PEOPLE_OF_ACME_ADMINS,
        PEOPLE_OF_ACME_ADMINS,
    ),
    "tenant_monitoring": (
        lambda world: channels.tenant(world.acme.id, Topic.MONITORING),
        PEOPLE_OF_ACME_ADMINS,
        PEOPLE_OF_ACME_ADMINS,
    ),
    "tenant_activity": (
        lambda world: channels.tenant(world.acme.id, Topic.ACTIVITY),
        PEOPLE_OF_ACME_ADMINS,
        PEOPLE_OF_ACME_ADMINS,
    ),
    "deployment": (
        lambda world: channels.deployment(world.acme.id, world.deployment.id),
        PEOPLE_OF_ACME_ADMINS,
        PEOPLE_OF_ACME_ADMINS,
    ),
    "inbox": (lambda world: channels.inbox(world.principal("bob").id), ("bob",), NOBODY),
    "admin_events": (lambda world: channels.ADMIN_EVENTS, ("ada",), ("ada",)),
    "admin_deployments": (lambda world: channels.ADMIN_DEPLOYMENTS, ("ada",), ("ada",)),
    "admin_billing": (lambda world: channels.ADMIN_BILLING, ("ada",), ("ada",)),
    "admin_monitoring": (lambda world: channels.ADMIN_MONITORING, ("ada",), ("ada",)),
    "admin_tenants": (lambda world: channels.ADMIN_TENANTS, ("ada",), ("ada",)),
    "exam": (lambda world: channels.exam(SOME_ID), NOBODY, NOBODY),
    "exam_timer": (lambda world: channels.exam_timer(world.principal("bob").id), ("bob",), NOBODY),
    "exam_results": (lambda world: channels.exam_results(world.principal("bob").id), ("bob",), NOBODY),
    "system_health": (lambda world: channels.SYSTEM_HEALTH, ("ada",), ("ada",)),
    "system_metrics": (lambda world: channels.SYSTEM_METRICS, ("ada",), ("ada",)),
    "system_alerts": (lambda world: channels.SYSTEM_ALERTS, ("ada",), ("ada",)),
}


def test_every_channel_stands_in_the_table():
    assert set(CHANNELS) == set(channels.templates()), "decide who may use these, and write it into CHANNELS"


@pytest.mark.parametrize("kind", CHANNELS)
def test_everybody_may_do_with_a_channel_what_the_table_says(kind: str, world: World):
    make, subscribers, publishers = CHANNELS[kind]
    channel = make(world)
    for who in WHO:
        principal = world.principal(who)
        may_listen = authorize(principal, Action.SUBSCRIBE, channel)
        may_publish = authorize(principal, Action.PUBLISH, channel)
        assert may_listen.allowed == (who in subscribers), f"{who} subscribes {channel}: {may_listen}"
        assert may_publish.allowed == (who in publishers), f"{who} publishes {channel}: {may_publish}"
        assert may_listen.allowed or may_listen.reason, "a denial says why"


@pytest.mark.parametrize("kind", CHANNELS)
def test_the_token_endpoint_gives_what_the_table_says(kind: str, world: World):
    make, subscribers, _ = CHANNELS[kind]
    name = make(world).name
    for who in ("alice", "bob", "charlie", "ada", "dora"):
        response = world.people[who].api_post("/api/realtime/subscriptions", {"channels": [name]})
        given = response.json()["tokens"]
        assert (name in given) == (who in subscribers), f"{who} asked for {name}: {response.json()}"
