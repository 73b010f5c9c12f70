"""Where signing in leads, the theme, and what a person sees who has nothing to open."""

import pytest

from tenants.models import Membership, Role


def test_alice_lands_in_her_only_tenant(alice):
    response = alice.get("/")
    assert (response.status_code, response["Location"]) == (302, "/t/acme/")


def test_a_person_of_two_tenants_chooses(alice, globex):
    Membership.objects.with_scopes_disabled().create(tenant=globex, user=alice.user, role=Role.TENANT_USER)
    page = alice.get("/").content.decode()
    assert "/t/acme/" in page
    assert "/t/globex/" in page


def test_the_platform_admin_lands_in_the_operations_portal(platform_admin):
    assert platform_admin.get("/")["Location"] == "/ops/"


def test_a_person_without_a_tenant_is_told_what_to_do(alice, acme):
    Membership.objects.with_scopes_disabled().filter(user=alice.user).delete()
    response = alice.get("/")
    assert response.status_code == 200
    assert "You belong to no company yet" in response.content.decode()


def test_a_stranger_is_asked_to_sign_in(stranger):
    assert stranger.get("/")["Location"] == "/accounts/login/?next=/"


def test_the_theme_is_rendered_by_the_server_once_chosen(alice):
    assert "data-bs-theme" not in alice.get("/t/acme/").content.decode()
    response = alice.post("/theme/", {"theme": "dark", "next": "/t/acme/"})
    assert response["Location"] == "/t/acme/"
    assert 'data-bs-theme="dark"' in alice.get("/t/acme/").content.decode()
    alice.post("/theme/", {"theme": "auto", "next": "/t/acme/"})
    assert "data-bs-theme" not in alice.get("/t/acme/").content.decode()


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_choosing_a_theme_never_leads_off_the_site(alice, elsewhere):
    assert alice.post("/theme/", {"theme": "dark", "next": elsewhere})["Location"] == "/"


def test_what_does_not_exist_has_the_same_bytes_for_everybody(alice, charlie, stranger):
    alice.post("/theme/", {"theme": "dark", "next": "/"})
    pages = {person.get("/nowhere/").content for person in (alice, charlie, stranger)}
    assert len(pages) == 1
    assert alice.get("/t/globex/").content in pages


def test_signing_in_says_what_went_wrong_and_keeps_the_address(stranger, alice):
    response = stranger.post("/accounts/login/", {"login": "alice@acme.example", "password": "wrong-password"})
    page = response.content.decode()
    assert 'data-testid="error-summary"' in page
    assert "alice@acme.example" in page
    assert "wrong-password" not in page
