"""The Django admin: everything through the actions, refusals as sentences, the secret once."""

import re
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.admin import site
from django.contrib.messages import get_messages
from django.core import mail
from django.utils import timezone

from accounts.models import Invitation, User
from events.models import Event
from tenants import actions
from tenants.models import ApiKey, Membership, Role, Scope, Tenant


def membership(person) -> Membership:
    return Membership.objects.with_scopes_disabled().get(user=person.user)


def said(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def run(admin, model: str, action: str, *objects):
    return admin.post(f"/admin/{model}/", {"action": action, "_selected_action": [one.pk for one in objects]})


def events() -> list[str]:
    return [event.summary for event in Event.objects.with_scopes_disabled().order_by("id")]


PAGES = ["accounts/user/", "accounts/invitation/", "tenants/tenant/", "tenants/membership/", "tenants/apikey/"]


@pytest.mark.parametrize("where", PAGES)
def test_lists_and_forms_open_for_the_platform_admin_only(where, platform_admin, acme, alice, stranger):
    actions.create_api_key(acme, "ci", [Scope.EVENTS_READ], by=alice.user)
    assert platform_admin.get(f"/admin/{where}").status_code == 200
    assert platform_admin.get(f"/admin/{where}?q=a").status_code == 200
    assert alice.get(f"/admin/{where}", follow=True).status_code == 403
    assert stranger.get(f"/admin/{where}").status_code == 302


def test_no_bulk_delete_anywhere(platform_admin, rf):
    request = rf.get("/admin/")
    request.user = platform_admin.user
    for model in (User, Invitation, Tenant, Membership, ApiKey):
        assert "delete_selected" not in site.get_model_admin(model).get_actions(request)


@pytest.mark.parametrize("where", PAGES)
def test_a_list_costs_the_same_however_long_it_is(where, platform_admin, acme, django_assert_max_num_queries):
    with django_assert_max_num_queries(1000) as few:
        platform_admin.get(f"/admin/{where}")
    for number in range(15):
        tenant = Tenant.objects.create(slug=f"t{number}", name=f"T{number}")
        actions.add_member(tenant, f"p{number}@acme.example", Role.TENANT_ADMIN, by=platform_admin.user)
        actions.create_api_key(tenant, "ci", [Scope.EVENTS_READ], by=platform_admin.user)
    with django_assert_max_num_queries(len(few) + 4):
        assert platform_admin.get(f"/admin/{where}").status_code == 200


@pytest.mark.parametrize("where", PAGES)
def test_no_page_needs_what_the_content_security_policy_forbids(where, platform_admin, acme, alice):
    actions.create_api_key(acme, "ci", [Scope.EVENTS_READ], by=alice.user)
    Invitation.objects.create(user=alice.user)
    model = site.get_model_admin(apps.get_model(*where.strip("/").split("/"))).model
    first = model._base_manager.first()
    for path in ("", "add/", f"{first.pk}/change/", f"{first.pk}/history/"):
        answer = platform_admin.get(f"/admin/{where}{path}")
        assert "script-src 'self'" in answer["Content-Security-Policy"]
        text = answer.content.decode()
        assert not re.search(r"<[^>]+ (style|on[a-z]+)=", text)
        assert "<style" not in text
        assert not [tag for tag in re.findall(r"<script[^>]*>", text) if " src=" not in tag]


# --- People -----------------------------------------------------------------------------------------------------------


def test_a_new_person_is_invited(platform_admin, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        answer = platform_admin.post(
            "/admin/accounts/user/add/", {"email": "Dora@acme.example", "name": "Dora", "is_superuser": ""}
        )
    assert answer.status_code == 302
    assert [message.to for message in mail.outbox] == [["dora@acme.example"]]
    assert events() == ["Ada invited Dora"]
    assert "sent" in platform_admin.get("/admin/accounts/user/").content.decode()


def test_an_invitation_that_failed_is_seen_and_sent_again(platform_admin, settings, django_capture_on_commit_callbacks):
    working = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    with django_capture_on_commit_callbacks(execute=True):
        platform_admin.post("/admin/accounts/user/add/", {"email": "dora@acme.example", "name": "Dora"})
    assert "not sent: " in platform_admin.get("/admin/accounts/user/").content.decode()
    assert "not sent: " in platform_admin.get("/admin/accounts/invitation/").content.decode()

    settings.EMAIL_BACKEND = working
    with django_capture_on_commit_callbacks(execute=True):
        run(platform_admin, "accounts/user", "send_invitations_again", User.objects.get(email="dora@acme.example"))
    assert len(mail.outbox) == 1
    with django_capture_on_commit_callbacks(execute=True):
        run(platform_admin, "accounts/invitation", "send_again", Invitation.objects.get())
    assert len(mail.outbox) == 2


def test_an_invitation_that_was_accepted_is_not_sent_again(platform_admin, bob):
    invitation = Invitation.objects.create(user=bob.user, sent_at=timezone.now())
    answer = run(platform_admin, "accounts/invitation", "send_again", invitation)
    assert "accepted already" in said(answer)


def person_form(person, **changes):
    fields = {"name": person.user.name, "is_active": "on"} | changes
    return {name: value for name, value in fields.items() if value is not None}


def test_disabling_goes_through_the_action(platform_admin, alice, bob):
    platform_admin.post(f"/admin/accounts/user/{bob.user.pk}/change/", person_form(bob, is_active=None))
    bob.user.refresh_from_db()
    assert (bob.user.is_active, bob.user.access_generation) == (False, 2)
    assert events() == ["Ada disabled Bob's account"]


def test_a_refusal_is_a_sentence_and_changes_nothing(platform_admin, alice):
    url = f"/admin/accounts/user/{alice.user.pk}/change/"
    answer = platform_admin.post(url, person_form(alice, name="Alicia", is_active=None))
    assert answer.status_code == 302
    assert "Alice" in said(answer) or "Alicia" in said(answer)
    assert "last admin of Acme" in said(answer)
    alice.user.refresh_from_db()
    assert (alice.user.name, alice.user.is_active) == ("Alice", True)
    assert events() == []


def test_making_somebody_a_platform_admin_and_back(platform_admin, bob):
    url = f"/admin/accounts/user/{bob.user.pk}/change/"
    platform_admin.post(url, person_form(bob, is_superuser="on"))
    assert bob.get("/admin/").status_code == 200
    platform_admin.post(url, person_form(bob))
    assert bob.get("/admin/", follow=True).status_code == 403
    assert events() == ["Ada made Bob a platform admin", "Ada took the platform admin's rights from Bob"]


def test_people_are_not_deleted_and_tenants_only_by_their_name(platform_admin, alice, acme):
    assert platform_admin.post(f"/admin/accounts/user/{alice.user.pk}/delete/", {"post": "yes"}).status_code == 403
    platform_admin.post(f"/admin/tenants/tenant/{acme.pk}/delete/", {"post": "yes"})
    assert Tenant.objects.filter(pk=acme.pk).exists()


# --- Tenants ----------------------------------------------------------------------------------------------------------


def test_a_tenant_is_created_changed_suspended_and_resumed(platform_admin):
    platform_admin.post("/admin/tenants/tenant/add/", {"slug": "initech", "name": "Initech", "time_zone": "UTC"})
    tenant = Tenant.objects.get(slug="initech")
    platform_admin.post(f"/admin/tenants/tenant/{tenant.pk}/change/", {"name": "Initech Ltd", "time_zone": "UTC"})
    run(platform_admin, "tenants/tenant", "suspend", tenant)
    assert Tenant.objects.get().is_suspended
    run(platform_admin, "tenants/tenant", "resume", tenant)
    assert not Tenant.objects.get().is_suspended
    assert events() == [
        "Ada created Initech",
        "Ada changed the settings of Initech Ltd",
        "Ada suspended Initech Ltd",
        "Ada resumed Initech Ltd",
    ]


def test_a_wrong_time_zone_is_said_at_its_field(platform_admin):
    answer = platform_admin.post("/admin/tenants/tenant/add/", {"slug": "x", "name": "X", "time_zone": "Mars/Olympus"})
    assert "is not a time zone" in answer.content.decode()
    assert not Tenant.objects.exists()


def test_a_member_is_added_by_address(platform_admin, acme, django_capture_on_commit_callbacks):
    form = {"tenant": acme.pk, "email": "dora@acme.example", "name": "Dora", "role": "tenant_admin"}
    with django_capture_on_commit_callbacks(execute=True):
        assert platform_admin.post("/admin/tenants/membership/add/", form).status_code == 302
    assert mail.outbox[0].subject == "Ada invites you to Acme"
    again = platform_admin.post("/admin/tenants/membership/add/", form)
    assert "is a member of Acme already" in said(again)
    assert Membership.objects.with_scopes_disabled().count() == 1


def test_a_role_is_changed_and_a_member_removed(platform_admin, alice, bob):
    url = f"/admin/tenants/membership/{membership(bob).pk}"
    platform_admin.post(f"{url}/change/", {"role": "tenant_admin"})
    platform_admin.post(f"{url}/change/", {"role": "tenant_user"})
    platform_admin.post(f"{url}/delete/", {"post": "yes"})
    assert events() == [
        "Ada made Bob an admin of Acme",
        "Ada made Bob a user of Acme, no longer an admin",
        "Ada removed Bob from Acme",
    ]


def test_the_last_admin_can_be_neither_removed_nor_demoted_here(platform_admin, alice):
    url = f"/admin/tenants/membership/{membership(alice).pk}"
    for path, form in (("delete/", {"post": "yes"}), ("change/", {"role": "tenant_user"})):
        answer = platform_admin.post(f"{url}/{path}", form)
        assert answer.status_code == 302
        assert "last admin of Acme" in said(answer)
    assert membership(alice).role == Role.TENANT_ADMIN


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_a_keys_secret_is_shown_once(platform_admin, acme):
    form = {"tenant": acme.pk, "name": "ci", "scopes": ["events:read", "events:publish"]}
    form |= {"expiry_date_0": "2027-01-01", "expiry_date_1": "00:00:00"}
    first = platform_admin.post("/admin/tenants/apikey/add/", form, follow=True).content.decode()
    secret = re.search(r"not shown again: (\S+\.\w+)", first)[1]
    key = ApiKey.objects.with_scopes_disabled().get()
    assert key.scopes == ["events:publish", "events:read"]
    assert key.expiry_date - timezone.now() > timedelta(days=1)
    for where in ("", f"{key.pk}/change/"):
        assert secret not in platform_admin.get(f"/admin/tenants/apikey/{where}").content.decode()
    assert key.hashed_key not in platform_admin.get(f"/admin/tenants/apikey/{key.pk}/change/").content.decode()


def test_a_key_is_revoked_and_never_changed(platform_admin, acme):
    key, _ = actions.create_api_key(acme, "ci", [Scope.EVENTS_READ], by=platform_admin.user)
    url = f"/admin/tenants/apikey/{key.pk}"
    assert platform_admin.post(f"{url}/change/", {"scopes": ["deployments:write"]}).status_code == 403
    assert platform_admin.post(f"{url}/delete/", {"post": "yes"}).status_code == 403
    run(platform_admin, "tenants/apikey", "revoke", key)
    assert ApiKey.objects.with_scopes_disabled().get().revoked
