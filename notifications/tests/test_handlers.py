"""Which events become notifications, for whom, and what leaves an inbox together with its person's access."""

from uuid import uuid4

import pytest
from django_scopes import scopes_disabled

from accounts import actions as accounts
from conftest import Person, make_person
from events import channels, handling
from events.models import Event
from notifications import actions, handlers, mails
from notifications.models import Notification
from notifications.tests.conftest import HANDLERS, emitted, inbox, titles
from tenants import actions as tenants
from tenants.models import Membership, Role


@pytest.fixture
def ended(acme):
    """A deployment of acme's has come to this status: `ended("failed", bob)`.

    The event as deployments/ writes it: apps know each other by events only, and so do their tests.
    """

    def one(status: str, asked_by: Person | None, number: int = 104, name: str = "web") -> Event:
        payload = {
            "deploymentId": str(uuid4()),
            "version": 5,
            "status": status,
            "data": {
                "number": number,
                "name": name,
                "title": f"{name} #{number}",
                "reason": "Step build ended with exit code 3.",
                "requestedById": str(asked_by.user.pk) if asked_by else None,
            },
        }
        return Event.objects.create(
            type="deployment_update",
            tenant=acme,
            occurred_at=acme.created_at,
            summary="",
            payload=payload,
            channels=[],
        )

    return one


def membership(person, tenant) -> Membership:
    return (
        Membership.objects.with_scopes_disabled().select_related("user", "tenant").get(user=person.user, tenant=tenant)
    )


def handle_again(types=("deployment_update", "access_changed", "tenant_notice")) -> None:
    """Every event once more, as a handler may be called."""
    for name in HANDLERS:
        handler = handling.get(name)
        for event in Event.objects.with_scopes_disabled().filter(type__in=handler.types).order_by("id"):
            handler.function(event, 1)


# --- Deployments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["failed", "lost"])
def test_a_failure_reaches_who_asked_and_the_tenants_admins(ended, handle, alice, bob, charlie, platform_admin, status):
    ended(status, bob)
    handle()
    words = {"failed": "web #104 failed", "lost": "web #104 is lost"}[status]
    assert titles(bob) == titles(alice) == [words]
    assert titles(charlie) == titles(platform_admin) == []
    one = Notification.objects.get(user=bob.user)
    assert (one.level, one.link, one.message) == (
        "error",
        "/t/acme/deployments/104/",
        "Step build ended with exit code 3.",
    )


def test_success_reaches_who_asked_only_and_what_still_runs_nobody(ended, handle, alice, bob):
    ended("completed", bob)
    for status in ("queued", "starting", "running", "cancelled"):
        ended(status, bob)
    handle()
    assert titles(bob) == ["web #104 is done"]
    assert titles(alice) == []


def test_who_asked_and_has_left_since_is_told_nothing(ended, handle, alice, bob, acme):
    ended("failed", bob)
    with scopes_disabled():
        tenants.remove_member(membership(bob, acme), by=alice.user)
    handle()
    assert titles(bob) == []
    assert not Notification.objects.filter(user=bob.user).exists()


def test_a_key_that_asked_has_no_inbox_but_the_admins_have(ended, handle, alice):
    ended("failed", None)
    ended("completed", None)
    handle()
    assert titles(alice) == ["web #104 failed"]


# --- Notices ----------------------------------------------------------------------------------------------------------


def test_a_notice_reaches_everybody_in_the_tenant_its_sender_too(acme, alice, bob, charlie, handle, monkeypatch):
    monkeypatch.setattr(handlers, "BATCH", 2)
    others = [make_person(f"P{number}", f"p{number}@acme.example") for number in range(4)]
    for person in others:
        Membership.objects.create(tenant=acme, user=person.user, role=Role.TENANT_USER)
    actions.send_notice(acme, bob.user, "Maintenance", "At 22:00 UTC.", level="warning")
    handle()
    for person in (alice, bob, *others):
        assert titles(person) == ["Maintenance"]
    assert titles(charlie) == []


def test_handled_again_nobody_is_told_twice(acme, alice, bob, ended, handle):
    actions.send_notice(acme, bob.user, "Maintenance", "At 22:00 UTC.")
    ended("failed", bob)
    with scopes_disabled():
        tenants.change_role(membership(bob, acme), Role.TENANT_ADMIN, by=alice.user)
    handle()
    before = (titles(alice), titles(bob), inbox(alice).version, inbox(bob).version)
    handle_again()
    assert (titles(alice), titles(bob), inbox(alice).version, inbox(bob).version) == before


def test_a_later_one_that_is_done_solves_the_failures_before_it_and_only_of_its_name(ended, handle, alice):
    ended("failed", None, number=101)
    ended("lost", None, number=102)
    ended("failed", None, number=103, name="api")
    ended("failed", None, number=106)
    ended("completed", None, number=105)
    handle()
    handle_again()
    solved = Notification.objects.filter(user=alice.user).order_by("number").values_list("title", "solved_by")
    assert list(solved) == [
        ("web #101 failed", "web #105 is done"),
        ("web #102 is lost", "web #105 is done"),
        ("api #103 failed", ""),
        ("web #106 failed", ""),
    ]


def test_a_failure_is_mailed_to_whom_it_reaches(ended, handle, alice, bob, mailoutbox):
    ended("failed", bob)
    ended("completed", bob)
    handle()
    mails.send_due(10)
    assert sorted((mail.to[0], mail.subject) for mail in mailoutbox) == [
        ("alice@acme.example", "web #104 failed · Acme"),
        ("bob@acme.example", "web #104 failed · Acme"),
    ]


# --- Access -----------------------------------------------------------------------------------------------------------


def test_who_is_given_a_role_is_told(acme, alice, charlie, platform_admin, handle):
    with scopes_disabled():
        joined = tenants.join(acme, charlie.user, Role.TENANT_USER, by=alice.user)
        tenants.change_role(joined, Role.TENANT_ADMIN, by=alice.user)
    accounts.grant_platform_admin(charlie.user, by=platform_admin.user)
    handle()
    assert titles(charlie) == ["You are a platform admin now", "You are an admin of Acme now", "You were added to Acme"]
    assert Notification.objects.get(title="You were added to Acme").message == "Alice added Charlie to Acme."


def test_what_was_given_and_taken_again_before_it_was_handled_is_not_told(acme, alice, bob, handle):
    with scopes_disabled():
        tenants.change_role(membership(bob, acme), Role.TENANT_ADMIN, by=alice.user)
        tenants.change_role(membership(bob, acme), Role.TENANT_USER, by=alice.user)
    handle()
    assert titles(bob) == []


def test_who_leaves_a_tenant_loses_its_notifications_at_once_and_for_good(acme, globex, alice, bob, tell, handle):
    Membership.objects.create(tenant=globex, user=bob.user, role=Role.TENANT_USER)
    secret = tell(bob, "of acme", tenant=acme)
    tell(bob, "of globex", tenant=globex)
    with scopes_disabled():
        tenants.remove_member(membership(bob, acme), by=alice.user)
    assert titles(bob) == ["of globex"]
    assert bob.api_get("/api/notifications/count").json()["unread"] == 1  # before anything is handled
    assert actions.mark_read(bob.user, [secret.id]).ids == []
    handle()
    assert (inbox(bob).unread, inbox(bob).version) == (1, 3)
    assert emitted("inbox_update")[-1]["removed"] == [str(secret.id)]
    with scopes_disabled():
        tenants.join(acme, bob.user, Role.TENANT_USER, by=alice.user)
    handle()
    assert titles(bob) == ["You were added to Acme", "of globex"]


def test_who_is_no_platform_admin_any_more_loses_what_was_of_the_platform(bob, platform_admin, tell, handle):
    accounts.grant_platform_admin(bob.user, by=platform_admin.user)
    secret = tell(bob, "Acme: payment failed", link="/ops/billing/")
    tell(bob, "of Bob's own")
    assert len(titles(bob)) == 2
    accounts.take_platform_admin(bob.user, by=platform_admin.user)
    assert titles(bob) == ["of Bob's own"], "before anything is handled"
    handle()
    assert emitted("inbox_update")[-1]["removed"] == [str(secret.id)]
    assert not Notification.objects.filter(pk=secret.pk).exists()
    accounts.grant_platform_admin(bob.user, by=platform_admin.user)
    handle()
    assert titles(bob) == ["You are a platform admin now", "of Bob's own"]


def test_while_a_tenant_is_suspended_its_notifications_are_out_of_reach(acme, bob, platform_admin, tell, handle):
    one = tell(bob, "of acme", tenant=acme)
    tenants.suspend(acme, by=platform_admin.user)
    assert titles(bob) == []
    handle()
    assert inbox(bob).unread == 0
    assert emitted("inbox_update")[-1]["removed"] == [str(one.id)]
    tenants.resume(acme, by=platform_admin.user)
    handle()
    assert titles(bob) == ["of acme"]
    assert inbox(bob).unread == 1
    assert emitted("inbox_update")[-1]["restored"] == [str(one.id)]


def test_who_may_not_see_an_inbox_hears_nothing_of_it(bob, tell, acme):
    tell(bob, tenant=acme)
    event = Event.objects.with_scopes_disabled().get(type="notification")
    assert channels.tenant(acme.id, channels.Topic.ACTIVITY).name not in event.channels
    assert event.channels[0] == channels.inbox(bob.user.pk).name
