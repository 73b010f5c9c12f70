"""Who comes in, and that another tenant's things are as if they had never been."""

from datetime import timedelta

import pytest
from django.urls import get_resolver
from django.utils import timezone
from django_scopes.exceptions import ScopeError
from drf_spectacular.generators import SchemaGenerator

from tenants import actions
from tenants.access import TenantAPIView, roles_of
from tenants.models import ApiKey, Membership, Role, Scope

pytestmark = pytest.mark.urls("tenants.tests.urls")


def whole(response) -> tuple:
    """All that a visitor can tell an answer by."""
    return response.status_code, sorted(response.headers.items()), response.content, dict(response.cookies)


def membership(person) -> Membership:
    return Membership.objects.with_scopes_disabled().get(user=person.user)


# --- Pages ------------------------------------------------------------------------------------------------------------


def test_a_member_sees_the_own_tenant_only(alice, bob, charlie):
    page = alice.get("/t/acme/members/")
    assert page.status_code == 200
    assert set(page.content.decode().split(",")) == {str(alice.user.id), str(bob.user.id)}


def test_a_page_that_is_rendered_late_still_sees_the_own_tenant_only(alice, bob, charlie):
    assert alice.get("/t/acme/lazy/").content == b"2"


def test_a_stranger_is_asked_to_sign_in_whether_the_tenant_exists_or_not(stranger, acme):
    assert stranger.get("/t/acme/members/").url == "/accounts/login/?next=/t/acme/members/"
    assert stranger.get("/t/never-used/members/").url == "/accounts/login/?next=/t/never-used/members/"


@pytest.mark.parametrize("path", ["members/", "keys/", "things/1/", "no-such-page/"])
def test_another_tenants_pages_are_the_404_of_what_never_existed(charlie, platform_admin, alice, acme, globex, path):
    """The platform's admin is nobody's member either."""
    never = whole(charlie.get("/t/never-used/no-such-page/"))
    assert never[0] == 404
    assert whole(charlie.get(f"/t/acme/{path}")) == never
    assert whole(charlie.get(f"/t/never-used/{path}")) == never
    assert whole(platform_admin.get(f"/t/acme/{path}")) == never
    assert whole(charlie.post(f"/t/acme/{path}")) == never


def test_a_thing_that_does_not_exist_is_the_same_404(alice, charlie):
    assert whole(alice.get("/t/acme/things/7/")) == whole(charlie.get("/t/acme/things/7/"))


def test_a_removed_member_is_an_outsider_at_once(bob, alice):
    assert bob.get("/t/acme/members/").status_code == 200
    actions.remove_member(membership(bob), by=alice.user)
    assert whole(bob.get("/t/acme/members/")) == whole(bob.get("/t/never-used/members/"))


def test_a_role_that_does_not_suffice_is_told_which_would_and_who_grants_it(bob, alice):
    answer = bob.get("/t/acme/keys/")
    text = " ".join(answer.content.decode().split())
    assert answer.status_code == 403
    assert "It needs the role Tenant admin; you are a Tenant user" in text
    assert "Alice can change that" in text
    assert alice.get("/t/acme/keys/").status_code == 200


def test_a_suspended_tenant_tells_its_members_and_nobody_else(acme, bob, charlie, platform_admin):
    actions.suspend(acme, by=platform_admin.user)
    answer = bob.get("/t/acme/members/")
    assert answer.status_code == 403
    assert "Acme is suspended" in answer.content.decode()
    assert whole(charlie.get("/t/acme/members/")) == whole(charlie.get("/t/never-used/members/"))
    actions.resume(acme, by=platform_admin.user)
    assert bob.get("/t/acme/members/").status_code == 200


def test_roles_are_those_of_now(acme, globex, bob, charlie, platform_admin):
    actions.join(globex, bob.user, Role.TENANT_ADMIN, by=charlie.user)
    assert roles_of(bob.user) == {acme.id: Role.TENANT_USER, globex.id: Role.TENANT_ADMIN}
    actions.suspend(globex, by=platform_admin.user)
    assert roles_of(bob.user) == {acme.id: Role.TENANT_USER}
    bob.user.is_active = False
    bob.user.save()
    assert roles_of(bob.user) == {}
    assert roles_of(platform_admin.user) == {}


def test_a_query_without_a_scope_raises(alice):
    with pytest.raises(ScopeError):
        Membership.objects.count()
    with pytest.raises(ScopeError):
        ApiKey.objects.filter(name="ci").exists()


def test_a_page_costs_one_query_for_deciding(alice, django_assert_num_queries):
    alice.get("/t/acme/keys/")
    with django_assert_num_queries(3):  # session, person, membership with its tenant
        alice.get("/t/acme/keys/")


# --- API --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def key(acme, alice):
    return actions.create_api_key(acme, "ci", [Scope.EVENTS_READ], by=alice.user)


def with_key(stranger, secret: str, url: str = "/api/members", method: str = "get", **headers):
    return getattr(stranger.client, method)(url, headers={"Authorization": f"Api-Key {secret}", **headers})


def code(response) -> str:
    return response.json()["errors"][0]["code"]


def test_a_member_names_the_tenant(alice, bob):
    assert alice.api_get("/api/members", tenant="acme").json() == {"tenant": "acme", "members": 2}
    assert alice.api_get("/api/members").status_code == 400
    assert "X-Tenant" in alice.api_get("/api/members").content.decode()


def test_nobody_is_asked_for_credentials(stranger, acme):
    answer = stranger.api_get("/api/members", tenant="acme")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Api-Key")


def test_to_the_api_another_tenant_never_existed(alice, charlie, platform_admin, key, stranger, acme, globex):
    for url in ("/api/members", "/api/things/1", "/api/things/2"):
        never = whole(charlie.api_get(url, tenant="never-used"))
        assert never[0] == 404
        assert whole(charlie.api_get(url, tenant="acme")) == never
        assert whole(platform_admin.api_get(url, tenant="acme")) == never
        assert whole(with_key(stranger, key[1], url, **{"X-Tenant": "globex"})) == never
        assert whole(with_key(stranger, key[1], url, **{"X-Tenant": "never-used"})) == never
    assert whole(alice.api_get("/api/things/1", tenant="acme")) == never
    assert alice.api_get("/api/no-such-address").content == never[2]


def test_a_role_that_does_not_suffice_is_told_so(bob, alice):
    answer = bob.api_post("/api/members", tenant="acme")
    assert (answer.status_code, code(answer)) == (403, "role_needed")
    assert alice.api_post("/api/members", tenant="acme").json() == {"by": "Alice"}


def test_a_session_needs_its_csrf_token(alice):
    alice.client.handler.enforce_csrf_checks = True
    assert alice.api_post("/api/members", tenant="acme").status_code == 403


def test_a_method_without_a_rule_is_refused(alice, key, stranger):
    assert alice.client.delete("/api/members", headers={"X-Tenant": "acme"}).status_code == 405
    assert alice.client.options("/api/members", headers={"X-Tenant": "acme"}).status_code == 405
    assert with_key(stranger, key[1], method="delete").status_code == 405


def test_no_method_of_any_view_lacks_its_rule():
    lacking = {
        f"{view.__name__}.{method}"
        for view in tenant_api_views(get_resolver("neostack.urls"))
        for method in ("get", "post", "put", "patch", "delete")
        if hasattr(view, method) and method.upper() not in view.rules
    }
    assert lacking == set()


def tenant_api_views(resolver):
    for pattern in resolver.url_patterns:
        if hasattr(pattern, "url_patterns"):
            yield from tenant_api_views(pattern)
        else:
            view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
            if view and issubclass(view, TenantAPIView):
                yield view


def test_a_key_opens_its_own_tenant_as_far_as_its_scopes_go(key, stranger, charlie):
    assert with_key(stranger, key[1]).json() == {"tenant": "acme", "members": 1}
    refused = with_key(stranger, key[1], method="post")
    assert (refused.status_code, code(refused)) == (403, "scope_needed")
    assert "events:publish" in refused.content.decode()
    people_only = with_key(stranger, key[1], "/api/people-only")
    assert (people_only.status_code, code(people_only)) == (403, "person_needed")


@pytest.mark.parametrize("secret", ["", "x", "abcdefgh.wrong", "a" * 5000, "\xff.\xfe"])
def test_a_wrong_key_is_refused(stranger, key, secret):
    assert with_key(stranger, secret).status_code == 401
    assert with_key(stranger, key[1][:-1] + "!").status_code == 401


def test_a_revoked_key_is_unknown(stranger, key, alice):
    actions.revoke_api_key(key[0], by=alice.user)
    assert with_key(stranger, key[1]).status_code == 401


def test_an_expired_key_says_when(stranger, acme, alice):
    _, secret = actions.create_api_key(
        acme, "old", [Scope.EVENTS_READ], by=alice.user, expiry_date=timezone.now() - timedelta(minutes=1)
    )
    answer = with_key(stranger, secret)
    assert answer.status_code == 401
    assert "expired at" in answer.content.decode()


def test_a_suspended_tenants_keys_and_people_are_told_so(acme, alice, key, stranger, platform_admin):
    actions.suspend(acme, by=platform_admin.user)
    answers = with_key(stranger, key[1]), alice.api_get("/api/members", tenant="acme")
    assert [(answer.status_code, code(answer)) for answer in answers] == [
        (401, "tenant_suspended"),
        (403, "tenant_suspended"),
    ]


def test_the_apis_documentation_knows_keys():
    schema = SchemaGenerator(urlconf="tenants.tests.urls").get_schema(public=True)
    assert schema["components"]["securitySchemes"]["apiKey"]["name"] == "Authorization"
    assert {"apiKey": []} in schema["paths"]["/api/members"]["get"]["security"]


def test_a_keys_last_use_is_kept_to_the_minute(stranger, key, django_assert_max_num_queries):
    def last_use():
        return ApiKey.objects.with_scopes_disabled().get(pk=key[0].pk).last_used_at

    assert last_use() is None
    with_key(stranger, key[1])
    first = last_use()
    assert first is not None
    with django_assert_max_num_queries(2):  # the key with its tenant, the answer: no write
        with_key(stranger, key[1])
    assert last_use() == first
    ApiKey.objects.with_scopes_disabled().update(last_used_at=first - timedelta(seconds=61))
    with_key(stranger, key[1])
    assert last_use() >= first
