from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from deployments.demo.stacks import offer_demo_stacks


class Command(BaseCommand):
    help = "Offer the demo's stacks to every tenant, approved by the first platform admin. Refused when DEBUG is off."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("The demo's stacks run scripts for show. They are offered only with DEBUG on.")
        admin = User.objects.filter(is_superuser=True, is_active=True).order_by("date_joined").first()
        if admin is None:
            raise CommandError("There is no platform admin who could approve them. Run `manage.py demo` first.")
        for stack in offer_demo_stacks(by=admin):
            self.stdout.write(f"{stack.slug}  version {stack.version}  {stack.description}")
