from typing import Any

from django.core.management.base import BaseCommand

from monitoring import agent


class Command(BaseCommand):
    help = "Sends this machine's CPU, memory, disk, network and load to a tenant, until SIGTERM or Ctrl-C."
    requires_migrations_checks = False
    requires_system_checks = ()  # it needs nothing of the platform but its address

    def add_arguments(self, parser: Any) -> None:
        agent.add_arguments(parser)

    def handle(self, *, url: str, every: float, key_file: Any, **options: Any) -> None:
        agent.main(url, every, key_file)
