from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django_scopes import scopes_disabled

from accounts.models import User
from tenants.actions import create_tenant, join
from tenants.models import Membership, Role, Tenant
from tenants.signals import demo_created

PASSWORD = "demo-neostack"  # noqa: S105  everybody may know it: the command is refused where DEBUG is off
TENANTS = {"acme": ("Acme", "Europe/Lisbon"), "globex": ("Globex", "America/Sao_Paulo")}
MEMBERS = {
    "alice": ("Alice", "alice@acme.example", "acme", Role.TENANT_ADMIN),
    "bob": ("Bob", "bob@acme.example", "acme", Role.TENANT_USER),
    "charlie": ("Charlie", "charlie@globex.example", "globex", Role.TENANT_ADMIN),
}


class Command(BaseCommand):
    help = "Create the demo's people and tenants, where they are missing. Refused when DEBUG is off."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("The demo's password is public. It is created only with DEBUG on.")
        with scopes_disabled(), transaction.atomic():
            people, tenants = self._create()
            demo_created.send(Command, people=people, tenants=tenants)
        for person in people.values():
            self.stdout.write(f"{person.email}  {PASSWORD}")

    def _create(self) -> tuple[dict[str, User], dict[str, Tenant]]:
        """Everybody by their short name, and the tenants by their slugs."""
        admin = self._person("Ada", "admin@neostack.example", is_staff=True, is_superuser=True)
        tenants = {slug: self._tenant(slug, admin) for slug in TENANTS}
        people = {"admin": admin}
        for key, (name, email, slug, role) in MEMBERS.items():
            people[key] = self._person(name, email)
            if not Membership.objects.filter(tenant=tenants[slug], user=people[key]).exists():
                join(tenants[slug], people[key], role, by=admin)
        return people, tenants

    def _person(self, name: str, email: str, **rights: bool) -> User:
        return User.objects.filter(email=email).first() or User.objects.create_user(
            email, PASSWORD, name=name, **rights
        )

    def _tenant(self, slug: str, by: User) -> Tenant:
        name, time_zone = TENANTS[slug]
        return Tenant.objects.filter(slug=slug).first() or create_tenant(slug, name, by, time_zone=time_zone)
