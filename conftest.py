"""The people of every test: Alice and Bob in acme, Charlie in globex, the platform's admin, and a stranger."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db.models.signals import post_migrate
from django.http import HttpResponse
from django.test import Client
from pytest_django import DjangoDbBlocker

from accounts.models import User
from realtime import keys
from tenants.models import Membership, Role, Tenant

pytest_plugins = ["tests.faults.recoveries", "tests.described"]

PASSWORD = "correct-horse-battery"
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@dataclass
class Person:
    """Somebody with a browser. `api_*` speaks JSON for the tenant named by its slug, as a page's own script would."""

    user: User | None
    client: Client = field(default_factory=Client)

    def __post_init__(self) -> None:
        if self.user:
            self.sign_in(self.user)

    def sign_in(self, user: User) -> None:
        """A session as signing in makes one, and nothing else that it does: that was a third of the table of access."""
        session = SessionStore()
        session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), BACKEND
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        self.client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key

    def get(self, url: str, **extra: Any) -> HttpResponse:
        return self.client.get(url, **extra)

    def post(self, url: str, data: dict[str, Any] | None = None, **extra: Any) -> HttpResponse:
        return self.client.post(url, data or {}, **extra)

    def api_get(self, url: str, tenant: str | None = None, **headers: str) -> HttpResponse:
        return self.client.get(url, headers=self._headers(tenant, headers))

    def api_post(self, url: str, data: Any = None, tenant: str | None = None, **headers: str) -> HttpResponse:
        return self.client.post(
            url,
            data={} if data is None else data,
            content_type="application/json",
            headers=self._headers(tenant, headers),
        )

    @staticmethod
    def _headers(tenant: str | None, headers: dict[str, str]) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return named | ({"X-Tenant": tenant} if tenant else {})


def make_person(name: str, email: str, **fields: Any) -> Person:
    return Person(User.objects.create_user(email, PASSWORD, name=name, **fields))


@pytest.fixture(scope="session", autouse=True)
def shipped_policies_survive_a_flush() -> Iterator[None]:
    """A test that needs transactions empties the tables behind it, the rows that a migration shipped among them."""
    ship = import_module("realtime.migrations.0002_shipped_policies").ship

    def ship_again(**_: Any) -> None:
        ship(apps, None)

    post_migrate.connect(ship_again, sender=apps.get_app_config("realtime"))
    yield
    post_migrate.disconnect(ship_again, sender=apps.get_app_config("realtime"))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """A signing key that this process knows from the beginning, whatever test comes first.

    And no new rows of Django's permissions, which nobody here asks for, each time that a test has emptied the tables:
    more than half of what that took.
    """
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    with django_db_blocker.unblock():
        keys.ring.signing_key()


@pytest.fixture
def acme(db) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def globex(db) -> Tenant:
    return Tenant.objects.create(slug="globex", name="Globex")


@pytest.fixture
def alice(acme) -> Person:
    person = make_person("Alice", "alice@acme.example")
    Membership.objects.create(tenant=acme, user=person.user, role=Role.TENANT_ADMIN)
    return person


@pytest.fixture
def bob(acme) -> Person:
    person = make_person("Bob", "bob@acme.example")
    Membership.objects.create(tenant=acme, user=person.user, role=Role.TENANT_USER)
    return person


@pytest.fixture
def charlie(globex) -> Person:
    person = make_person("Charlie", "charlie@globex.example")
    Membership.objects.create(tenant=globex, user=person.user, role=Role.TENANT_ADMIN)
    return person


@pytest.fixture
def platform_admin(db) -> Person:
    return make_person("Ada", "admin@neostack.example", is_staff=True, is_superuser=True)


@pytest.fixture
def stranger(db) -> Person:
    return Person(user=None)
