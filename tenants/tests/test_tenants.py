"""What can be done to a tenant and its people, what it says of it, and whose access it ends."""

import pytest
from django.core import mail
from django.core.exceptions import ValidationError

from accounts.actions import Refused, disable_person
from accounts.events import Reason
from accounts.models import Invitation, User
from conftest import make_person
from events.models import Event
from tenants import actions
from tenants.actions import LastAdmin
from tenants.models import ApiKey, Membership, Role, Scope, Tenant


def membership(person) -> Membership:
    return Membership.objects.with_scopes_disabled().select_related("tenant").get(user=person.user)


def generation(person) -> int:
    return User.objects.get(pk=person.user.pk).access_generation


def last_event() -> Event:
    return Event.objects.with_scopes_disabled().latest("id")


def reasons(person) -> list[str]:
    events = Event.objects.with_scopes_disabled().filter(type="access_changed").order_by("id")
    return [event.payload["reason"] for event in events if event.payload["userId"] == str(person.user.id)]


def admin_channels(tenant: Tenant) -> set[str]:
    return {"admin:platform:events", "admin:tenants:activity", f"tenant:{tenant.id}:activity"}


# --- The tenant -------------------------------------------------------------------------------------------------------


def test_a_new_tenant_is_reported_to_the_platform(platform_admin):
    tenant = actions.create_tenant("initech", "Initech", by=platform_admin.user)
    event = last_event()
    assert (event.type, event.summary) == ("tenant_updated", "Ada created Initech")
    assert event.payload["change"] == "created"
    assert set(event.channels) == admin_channels(tenant)


@pytest.mark.parametrize(
    ("slug", "zone"), [("acme", "UTC"), ("Not A Slug", "UTC"), ("ok", "Mars/Olympus"), ("-x", "UTC")]
)
def test_a_tenant_that_makes_no_sense_is_not_created(acme, platform_admin, slug, zone):
    with pytest.raises(ValidationError):
        actions.create_tenant(slug, "Something", by=platform_admin.user, time_zone=zone)
    assert Tenant.objects.count() == 1


def test_settings_change_and_the_version_rises_with_each(acme, platform_admin):
    actions.update_tenant(acme, platform_admin.user, name="Acme & Sons")
    tenant = actions.update_tenant(acme, platform_admin.user, time_zone="Europe/Lisbon")
    assert (tenant.name, tenant.time_zone, tenant.version) == ("Acme & Sons", "Europe/Lisbon", 3)
    assert last_event().payload["version"] == 3
    assert last_event().payload["timeZone"] == "Europe/Lisbon"


def test_saving_settings_as_they_are_says_nothing(acme, platform_admin):
    for _ in range(2):
        tenant = actions.update_tenant(acme, platform_admin.user, name="Acme & Sons", time_zone="Europe/Lisbon")
    assert tenant.version == last_event().payload["version"] == 2


def test_suspending_ends_the_access_of_every_member(acme, alice, bob, charlie, platform_admin):
    actions.suspend(acme, by=platform_admin.user)
    assert [generation(person) for person in (alice, bob, charlie)] == [2, 2, 1]
    actions.suspend(acme, by=platform_admin.user)
    assert generation(alice) == 2, "it was suspended already"

    actions.resume(acme, by=platform_admin.user)
    assert generation(alice) == 2, "nothing is taken away by resuming"
    assert reasons(alice) == ["suspended", "resumed"]
    assert Tenant.objects.get(pk=acme.pk).version == 3


# --- Its people -------------------------------------------------------------------------------------------------------


def test_somebody_new_is_invited_to_the_tenant(acme, alice, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        actions.add_member(acme, "Dora@acme.example", Role.TENANT_USER, by=alice.user, name="Dora")
    [message] = mail.outbox
    assert message.subject == "Alice invites you to Acme"
    assert "/accounts/password/reset/key/" in message.body
    assert last_event().summary == "Alice added Dora to Acme"
    assert Invitation.objects.get().place == "Acme"


def test_somebody_known_is_added_and_told(acme, alice, charlie, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        actions.add_member(acme, "charlie@globex.example", Role.TENANT_USER, by=alice.user, name="Not his name")
    [message] = mail.outbox
    assert message.subject == "Alice added you to Acme"
    assert "password" not in message.body
    assert User.objects.get(pk=charlie.user.pk).name == "Charlie"
    assert generation(charlie) == 1


def test_nobody_is_added_twice_or_while_disabled(acme, alice, bob, charlie):
    with pytest.raises(Refused, match="is a member of Acme already"):
        actions.add_member(acme, "bob@acme.example", Role.TENANT_ADMIN, by=alice.user)
    User.objects.filter(pk=charlie.user.pk).update(is_active=False)
    with pytest.raises(Refused, match="disabled"):
        actions.add_member(acme, "charlie@globex.example", Role.TENANT_USER, by=alice.user)
    assert Membership.objects.with_scopes_disabled().filter(tenant=acme).count() == 2


def test_a_person_who_could_not_be_added_is_not_created_either(acme, alice, monkeypatch):
    with pytest.raises(ValueError):
        actions.add_member(acme, "dora@acme.example", "no_such_role", by=alice.user)
    assert not User.objects.filter(email="dora@acme.example").exists()


def test_promotion_gives_and_demotion_takes_away(acme, alice, bob):
    actions.change_role(membership(bob), Role.TENANT_ADMIN, by=alice.user)
    assert generation(bob) == 1
    actions.change_role(membership(bob), Role.TENANT_USER, by=alice.user)
    assert generation(bob) == 2
    actions.change_role(membership(bob), Role.TENANT_USER, by=alice.user)
    assert generation(bob) == 2
    assert reasons(bob) == ["promoted", "demoted"]


def test_removal_ends_the_access_and_is_reported(acme, alice, bob):
    actions.remove_member(membership(bob), by=alice.user)
    event = last_event()
    assert generation(bob) == 2
    assert event.summary == "Alice removed Bob from Acme"
    assert set(event.channels) == admin_channels(acme) | {f"user:{bob.user.id}:inbox"}


def test_a_membership_ends_once(acme, alice, bob):
    stale = membership(bob)
    actions.remove_member(stale, by=alice.user)
    with pytest.raises(Membership.DoesNotExist):
        actions.remove_member(stale, by=alice.user)
    assert generation(bob) == 2


def test_the_last_admin_stays(acme, alice, bob, platform_admin):
    for leave in (
        lambda: actions.remove_member(membership(alice), by=platform_admin.user),
        lambda: actions.change_role(membership(alice), Role.TENANT_USER, by=platform_admin.user),
        lambda: disable_person(alice.user, by=platform_admin.user),
    ):
        with pytest.raises(LastAdmin, match="Alice is the last admin of Acme"):
            leave()
    assert membership(alice).role == Role.TENANT_ADMIN
    assert generation(alice) == 1
    assert not Event.objects.with_scopes_disabled().exists()


def test_a_disabled_admin_is_no_admin_to_rely_on(acme, alice, platform_admin):
    erin = make_person("Erin", "erin@acme.example")
    actions.join(acme, erin.user, Role.TENANT_ADMIN, by=alice.user)
    disable_person(erin.user, by=platform_admin.user)
    with pytest.raises(LastAdmin):
        actions.remove_member(membership(alice), by=platform_admin.user)
    disable_person(erin.user, by=platform_admin.user)  # again: nothing to refuse


def test_an_admin_of_two_tenants_is_kept_for_the_one_that_has_no_other(acme, globex, alice, charlie, platform_admin):
    actions.join(acme, charlie.user, Role.TENANT_ADMIN, by=alice.user)
    with pytest.raises(LastAdmin, match="last admin of Globex"):
        disable_person(charlie.user, by=platform_admin.user)


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_a_keys_secret_is_kept_nowhere(acme, alice):
    key, secret = actions.create_api_key(acme, "ci", [Scope.EVENTS_READ], by=alice.user)
    stored = ApiKey.objects.with_scopes_disabled().filter(pk=key.pk).values().get()
    assert secret not in str(stored)
    assert secret.partition(".")[2] not in str(stored)
    assert secret not in str(last_event().payload)
    assert last_event().summary == "Alice created the API key ci"
    assert key.actor.kind == "service"


@pytest.mark.parametrize("scopes", [["everything"], ["events:read", "Events:read"], ["tenant:*"]])
def test_scopes_are_those_of_the_list(acme, alice, scopes):
    with pytest.raises(ValidationError, match="Unknown scope"):
        actions.create_api_key(acme, "ci", scopes, by=alice.user)
    assert not ApiKey.objects.with_scopes_disabled().exists()


def test_revoking_is_for_good(acme, alice):
    key, _ = actions.create_api_key(acme, "ci", [Scope.EVENTS_READ], by=alice.user)
    assert actions.revoke_api_key(key, by=alice.user).revoked
    actions.revoke_api_key(key, by=alice.user)
    assert [event.payload["change"] for event in Event.objects.with_scopes_disabled().order_by("id")] == [
        "key_created",
        "key_revoked",
    ]
    revoked = ApiKey.objects.with_scopes_disabled().get(pk=key.pk)
    revoked.revoked = False
    with pytest.raises(ValidationError):
        revoked.save()


def test_reasons_of_the_actions_are_known():
    assert {"added", "removed", "promoted", "demoted", "suspended", "resumed"} <= set(Reason)
