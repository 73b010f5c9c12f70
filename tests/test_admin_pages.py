"""Every list and form of the Django admin: they open, and cost the same queries for a few rows as for many."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.db import connection
from django.db.models import Model
from django.forms import ModelChoiceField
from django.http import HttpRequest
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_scopes import scopes_disabled

from accounts.actions import add_person
from accounts.models import User
from billing import actions as billing
from billing import invoicing
from billing.actions import Used
from billing.models import (
    GatewayEvent,
    Invoice,
    LocalCharge,
    Meter,
    Payment,
    PaymentMethod,
    Plan,
    Subscription,
    UsageRecord,
)
from conftest import Person
from deployments import actions as deployments
from deployments.models import Deployment, Release, Stack
from events import numbering
from events.models import Cursor, DeadLetter, Event, Heartbeat
from monitoring import actions as metrics
from monitoring.actions import Measured
from monitoring.alerting import actions as alerts
from monitoring.alerting import evaluation, platform, rules, silences
from monitoring.models import (
    Alert,
    AlertRule,
    DayRollup,
    EscalationPolicy,
    HourRollup,
    LatestMetrics,
    MinuteRollup,
    PlatformMinute,
    Sample,
    Silence,
)
from notifications import actions as notifications
from notifications.handlers import notify_of_notice
from notifications.models import Cause, Habits, Inbox, Mail, Notice, Notification, Preference
from notifications.preferences import choose, settle_in
from portal.models import PlatformFigures, PlatformHealth
from realtime import keys
from realtime.models import ChannelPolicy, SigningKey
from tenants import actions as tenants
from tenants.models import ApiKey, Membership, Role, Tenant

pytestmark = pytest.mark.django_db
OUR_APPS = (
    *("accounts", "tenants", "events", "realtime"),
    *("deployments", "billing", "monitoring", "notifications", "portal"),
)


@pytest.fixture(autouse=True)
def every_tenant() -> Iterator[None]:
    with scopes_disabled():
        yield


def grow(number: int, by: Person) -> None:
    """One more of everything that the admin lists."""
    person = add_person(f"person{number}@tenant{number}.example", f"Person {number}", by=by.user)
    tenant = tenants.create_tenant(f"tenant{number}", f"Tenant {number}", by=by.user)
    tenants.join(tenant, person, Role.TENANT_ADMIN, by=by.user)
    tenants.create_api_key(tenant, "ci", ["events:read"], by=person)
    steps = [{"name": "say", "command": ["echo", "hello"]}]
    stack = deployments.save_draft(Stack(slug=f"stack{number}", name=f"Stack {number}", steps=steps))
    deployments.request_deployment(tenant, deployments.approve(stack, by=by.user), {}, by=person)
    metrics.record(tenant, [Measured("load_1m", float(number), at=timezone.now())])
    raise_an_alert(tenant, person)
    bill(number, tenant)
    notice = notifications.send_notice(tenant, person, f"Notice {number}", "")
    numbering.number()
    choose(person, {("notice", "email"): "now"})
    settle_in(person, time_zone="Europe/Lisbon")
    notify_of_notice(notice, 1)
    notifications.solve(f"web{number}", order=1, by="web #1 is done", tenant=tenant)
    Cursor.objects.create(name=f"handler:{number}")
    now = timezone.now()
    Heartbeat.objects.create(kind="relay", name=f"machine pid {number}", at=now, expires_at=now)
    PlatformHealth.locked()
    PlatformFigures.locked()
    DeadLetter.objects.create(cursor=f"handler:{number}", event=Event.objects.latest("id"), error="Away")
    keys.replace()


def raise_an_alert(tenant: Tenant, person: User) -> None:
    steps = [{"after_seconds": 300, "people": [], "ways": ["email"]}]
    rules.create_policy(tenant, person, name="On call", steps=steps, is_default=True)
    rule = rules.create_rule(tenant, person, name="Busy", metric="load_1m", threshold=1.0)
    alerts.raise_alert(tenant, evaluation.raised_by(rule, 2.0, timezone.now()))
    until = timezone.now() + timedelta(hours=1)
    silences.create_silence(tenant, [{"label": "metric", "op": "=", "value": "load_1m"}], "Why", until, person)
    platform.record({"connections": 1.0}, timezone.now())


def bill(number: int, tenant: Tenant) -> None:
    """A tenant that has been billed for more than a month, and has reached a threshold of this one."""
    meter = Meter(slug=f"people{number}", name=f"People {number}", unit="person", aggregation="unique")
    meter.counted_property = "person"
    meter.save()
    prices = {"fee": "10.00", "meters": {meter.slug: {"included": "1", "tiers": [{"unit": "1.00"}]}}}
    draft = Plan.objects.create(slug=f"plan{number}", name=f"Plan {number}", currency="EUR", prices=prices)
    billing.subscribe(tenant, billing.publish(draft), at=timezone.now() - timedelta(days=40))
    billing.add_threshold(tenant, meter, 90)
    billing.record(tenant, [Used(f"key{number}", meter.slug, Decimal(1), timezone.now(), {"person": "Ann"})])
    invoicing.close_what_is_over()
    invoice = Invoice.objects.filter(tenant=tenant).latest("created_at")
    money = {"amount_minor": invoice.total_minor, "currency": invoice.currency}
    payment = Payment.objects.create(tenant=tenant, invoice=invoice, gateway="local", reference=f"r{number}", **money)
    payment.refunds.create(tenant=tenant, purpose="Sorry", credit_note=invoice, **money)
    PaymentMethod.objects.create(tenant=tenant, gateway="local", customer=f"c{number}", reference="pays")
    LocalCharge.objects.create(key=f"k{number}", reference=f"r{number}", outcome="done", minor=1, currency="EUR")
    GatewayEvent.objects.create(gateway="local", event_id=f"e{number}")


def names(model: type[Model]) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"


def listed() -> list[type[Model]]:
    return [model for model in admin.site._registry if model._meta.app_label in OUR_APPS]


def queries(person: Person, url: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert person.get(url).status_code == 200, url
    return len(captured)


def test_what_the_platforms_admins_look_after_is_all_there():
    shown = set(admin.site._registry)
    assert {Tenant, Membership, ApiKey, ChannelPolicy, Event, Cursor, DeadLetter, Stack, Release, Deployment} <= shown
    assert {Sample, MinuteRollup, HourRollup, DayRollup, LatestMetrics, PlatformMinute} <= shown
    assert {AlertRule, Alert, Silence, EscalationPolicy} <= shown
    assert {Inbox, Notice, Notification, Mail, Cause, Preference, Habits} <= shown
    assert {Heartbeat, PlatformHealth, PlatformFigures} <= shown
    assert SigningKey in shown
    assert {Meter, Plan, Subscription, UsageRecord, Invoice, Payment} <= shown
    assert {model.__name__ for model in shown - set(listed())} == {"AccessAttempt", "AccessFailureLog", "AccessLog"}


#: What has no list of its own, and where it shows instead.
ELSEWHERE = {
    "Entry": "each event's journey",
    "Push": "each event's journey",
    "Handled": "each event's journey",
    "LogState": "/ops/",
    "DueDisconnect": "gone two seconds after it came",
    "IdempotencyKey": "the answers to repeated requests, for a day",
    "DeletedNumber": "manage.py reconcile accounts for it",
    "LogBlock": "each deployment's log",
}


def test_every_model_of_ours_is_there_and_searchable_or_shows_elsewhere():
    ours = [model for model in apps.get_models() if apps.get_app_config(model._meta.app_label).name in OUR_APPS]
    missing = {model.__name__ for model in ours if model not in admin.site._registry}
    assert missing == set(ELSEWHERE)
    assert [model for model in ours if model in admin.site._registry and not searchable(model)] == []


def searchable(model: type[Model]) -> bool:
    return bool(admin.site._registry[model].search_fields)


def test_no_filter_and_no_select_lists_every_tenant_or_what_every_tenant_has(platform_admin, rf):
    """With ten thousand tenants a page would be ten thousand lines longer."""
    request = rf.get("/")
    request.user = platform_admin.user
    assert [name for model in listed() for name in tenants_filtered_by(admin.site._registry[model])] == []
    assert [name for model in listed() for name in tenants_chosen_from(admin.site._registry[model], request)] == []


def grows_with_tenants(model: type[Model] | None) -> bool:
    return model in (Tenant, User) or (model is not None and any(f.name == "tenant" for f in model._meta.fields))


def tenants_filtered_by(one: admin.ModelAdmin) -> list[str]:
    fields = [(name, get_fields_from_path(one.model, name)[-1]) for name in one.list_filter if isinstance(name, str)]
    return [f"{one}: {name}" for name, field in fields if grows_with_tenants(field.related_model)]


def tenants_chosen_from(one: admin.ModelAdmin, request: HttpRequest) -> list[str]:
    row = one.model()
    forms = [one.get_form(request, None)] if one.has_add_permission(request) else []
    forms += [one.get_form(request, row, change=True)] if one.has_change_permission(request, row) else []
    forms += [inline.get_formset(request, row).form for inline in one.get_inline_instances(request, row)]
    return [
        f"{one}: {name}"
        for form in forms
        for name, field in form.base_fields.items()
        if isinstance(field, ModelChoiceField) and grows_with_tenants(field.queryset.model)
        if not isinstance(field.widget, ForeignKeyRawIdWidget)
    ]


def test_forms_link_to_the_live_pages(platform_admin):
    grow(1, platform_admin)
    event, deployment, tenant = Event.objects.latest("id"), Deployment.objects.get(), Tenant.objects.get()
    DeadLetter.objects.all().update(event=event)
    for row, live in (
        (event, f"/ops/events/{event.uuid}/"),
        (DeadLetter.objects.get(), f"/ops/events/{event.uuid}/"),
        (deployment, f"/ops/deployments/{deployment.pk}/"),
        (tenant, f"/ops/tenants/{tenant.slug}/"),
    ):
        html = platform_admin.get(reverse(f"admin:{names(type(row))}_change", args=[row.pk])).content.decode()
        assert f'href="{live}"' in html, f"{type(row).__name__}: {live}"
        assert platform_admin.get(live, follow=True).status_code == 200


def lists() -> dict[str, str]:
    return {names(model): reverse(f"admin:{names(model)}_changelist") for model in listed()}


def forms() -> dict[str, str]:
    """The form of the oldest row of each."""
    first = {names(model): model._default_manager.order_by("pk").first() for model in listed()}
    return {name: reverse(f"admin:{name}_change", args=[row.pk]) for name, row in first.items()}


@pytest.mark.parametrize(("pages", "at_most"), [(lists, 15), (forms, 25)])
def test_no_page_costs_more_queries_for_more_rows(platform_admin, pages, at_most):
    for number in range(3):
        grow(number, platform_admin)
    for url in pages().values():
        platform_admin.get(url)  # the first look also reads what is kept in memory from then on
    few = {name: queries(platform_admin, url) for name, url in pages().items()}
    for number in range(3, 12):
        grow(number, platform_admin)
    many = {name: queries(platform_admin, url) for name, url in pages().items()}
    assert many == few
    assert max(few.values()) <= at_most, few


def test_what_the_platform_says_of_itself_is_found_and_not_edited(platform_admin):
    grow(1, platform_admin)
    for model in (Heartbeat, PlatformHealth, PlatformFigures):
        row = model._default_manager.get()
        listed = reverse(f"admin:{names(model)}_changelist")
        assert platform_admin.get(f"{listed}?q=nowhere").status_code == 200
        form = reverse(f"admin:{names(model)}_change", args=[row.pk])
        assert platform_admin.post(form, {"version": 99}).status_code == 403
        assert platform_admin.post(reverse(f"admin:{names(model)}_delete", args=[row.pk])).status_code == 403


def test_a_signing_key_is_shown_without_its_private_half_and_changed_by_nobody(platform_admin):
    keys.rotate()
    key = SigningKey.objects.get(signs_until=None)
    page = platform_admin.get(f"/admin/realtime/signingkey/{key.kid}/change/")
    assert page.status_code == 200
    assert key.public["x"] in page.text
    assert key.sealed_private not in page.text
    assert "sealed" not in page.text
    assert platform_admin.get("/admin/realtime/signingkey/add/").status_code == 403
    assert platform_admin.post(f"/admin/realtime/signingkey/{key.kid}/delete/", {"post": "yes"}).status_code == 403
