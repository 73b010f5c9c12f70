"""Deleting a tenant: what ends, what goes, what stays, and what it refuses."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from django_scopes import scopes_disabled

from billing import actions as billing
from billing import invoicing
from billing.actions import Used
from billing.models import Invoice, UsageRecord
from conftest import Person
from deployments import actions as deployments
from deployments.models import Deployment, Stack
from events import log, numbering
from events.models import Event
from notifications.models import Inbox, Notification
from tenants import actions
from tenants.models import ApiKey, Membership, Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def every_tenant():
    with scopes_disabled():
        yield


@pytest.fixture
def page(acme) -> str:
    return f"/admin/tenants/tenant/{acme.pk}/delete/"


def deploy(acme: Tenant, alice: Person, platform_admin: Person) -> Deployment:
    steps = [{"name": "say", "command": ["echo", "hello"]}]
    stack = deployments.approve(
        Stack.objects.create(slug="web", name="Web", version=1, steps=steps), platform_admin.user
    )
    return deployments.request_deployment(acme, stack, {}, by=alice.user)


def test_it_takes_its_name_and_says_first_what_goes(platform_admin, acme, alice, bob, page):
    actions.create_api_key(acme, "ci", ["events:read"], by=alice.user)
    html = platform_admin.get(page).content.decode()
    assert "<li>2 memberships</li>" in html
    assert "<li>1 API keys</li>" in html
    response = platform_admin.post(page, {"name": "acme inc"})
    assert "That is not its name. Nothing was changed." in response.content.decode()
    assert Tenant.objects.filter(pk=acme.pk).exists()
    response = platform_admin.post(page, {"name": "Acme"}, follow=True)
    assert "Acme was deleted with everything that was its own." in response.content.decode()
    assert not Tenant.objects.filter(pk=acme.pk).exists()
    assert not ApiKey.objects.exists()


def test_its_members_access_ends_and_their_other_company_goes_on(platform_admin, acme, globex, alice, bob, charlie):
    Membership.objects.create(tenant=globex, user=bob.user, role="tenant_user")
    _, secret = actions.create_api_key(acme, "ci", ["events:read"], by=alice.user)
    generation = bob.user.access_generation
    actions.delete_tenant(acme, by=platform_admin.user)
    bob.user.refresh_from_db()
    assert bob.user.access_generation == generation + 1
    revoked = [event.revokes for event in Event.objects.filter(type="access_changed")]
    assert [[str(bob.user.pk), generation + 1]] in revoked
    assert bob.get("/t/acme/").status_code == 404
    assert bob.get("/t/globex/").status_code == 200
    headers = {"Authorization": f"Api-Key {secret}"}
    assert bob.client.get("/api/events", headers=headers).status_code == 401


def test_nothing_is_deleted_while_something_runs(platform_admin, acme, alice, page):
    deployment = deploy(acme, alice, platform_admin)
    response = platform_admin.post(page, {"name": "Acme"}, follow=True)
    assert "1 deployment has not ended. Nothing was changed" in response.content.decode()
    assert Membership.objects.filter(tenant=acme).exists()
    deployments.cancel(deployment, by=alice.user)
    platform_admin.post(page, {"name": "Acme"})
    assert not Tenant.objects.exists()
    assert not Deployment.objects.exists()


def test_the_log_keeps_what_happened_and_can_still_be_read(platform_admin, acme, alice):
    deployments.cancel(deploy(acme, alice, platform_admin), by=alice.user)
    before = Event.objects.count()
    actions.delete_tenant(acme, by=platform_admin.user)
    assert Event.objects.count() > before
    last = Event.objects.latest("id")
    assert (last.type, last.payload["change"], last.summary) == ("tenant_updated", "deleted", "Ada deleted Acme")
    assert last.tenant_id == acme.pk
    assert last.tenant is None
    numbering.number()
    assert [seq for seq, _ in log.entries_after(0, limit=100)] == list(range(1, Event.objects.count() + 1))
    for url in ("/admin/events/event/", f"/admin/events/event/{last.pk}/change/", f"/ops/events/{last.uuid}/"):
        assert platform_admin.get(url).status_code == 200


def test_what_it_left_in_an_inbox_goes_and_the_count_agrees(platform_admin, acme, bob):
    Inbox.objects.create(user=bob.user, unread=1, version=1)
    Notification.objects.create(
        user=bob.user,
        tenant=acme,
        number=1,
        source=acme.pk,
        kind="notice",
        title="Hello",
        object_key="a",
        group_key="b",
    )
    actions.delete_tenant(acme, by=platform_admin.user)
    assert not Notification.objects.exists()
    assert Inbox.objects.get(user=bob.user).unread == 0
    update = Event.objects.filter(type="inbox_update").latest("id")
    assert update.payload["unread"] == 0


def test_what_is_not_paid_keeps_a_tenant_and_what_it_used_goes_with_it(platform_admin, acme, page):
    began = timezone.now() - timedelta(days=40)
    billing.subscribe(acme, billing.offered("team"), at=began)
    minutes = [Used(key, "deployment_minutes", Decimal(1), began) for key in ("a", "b")]
    billing.record(acme, minutes[:1])
    invoicing.close_what_is_over()
    billing.record(acme, minutes)  # the second too late for its invoice
    response = platform_admin.post(page, {"name": "Acme"}, follow=True)
    assert "not paid. Nothing was changed" in response.content.decode()
    Invoice.objects.update(status="void")
    platform_admin.post(page, {"name": "Acme"})
    assert not Tenant.objects.exists()
    assert not Invoice.objects.exists()
    assert not UsageRecord.objects.exists()
