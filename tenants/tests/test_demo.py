import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import User
from tenants.access import roles_of
from tenants.models import Role, Tenant
from tenants.signals import demo_created


def test_the_demos_people_can_sign_in_and_are_who_they_should_be(db, settings):
    settings.DEBUG = True
    call_command("demo")
    roles = {user.email: [str(role) for role in roles_of(user).values()] for user in User.objects.all()}
    assert roles == {
        "admin@neostack.example": [],
        "alice@acme.example": [Role.TENANT_ADMIN],
        "bob@acme.example": [Role.TENANT_USER],
        "charlie@globex.example": [Role.TENANT_ADMIN],
    }
    for email in roles:
        answer = Client().post("/accounts/login/", {"login": email, "password": "demo-neostack"})
        assert answer.status_code == 302
    assert User.objects.get(email="admin@neostack.example").is_platform_admin


def test_a_second_demo_changes_nothing_and_tells_the_same_people(db, settings):
    settings.DEBUG = True
    told = []

    def listen(people, tenants, **_):
        told.append((sorted(people), sorted(tenants)))

    demo_created.connect(listen)
    try:
        call_command("demo")
        call_command("demo")
    finally:
        demo_created.disconnect(listen)
    assert told == [(["admin", "alice", "bob", "charlie"], ["acme", "globex"])] * 2
    assert (User.objects.count(), Tenant.objects.count()) == (4, 2)


def test_no_demo_in_production(db, settings):
    settings.DEBUG = False
    with pytest.raises(CommandError, match="only with DEBUG"):
        call_command("demo")
    assert not User.objects.exists()
