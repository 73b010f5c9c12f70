import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from realtime import engine_config


class Command(BaseCommand):
    """`manage.py centrifugo_config > engine.json`. The file holds secrets: keep it as private as the environment."""

    help = "Print the engine's configuration, for Centrifugo and for `python -m engine` alike."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--without-secrets",
            action="store_true",
            help="leave out what Centrifugo takes from its own environment (docs/access.md), for a file many may read",
        )

    def handle(self, *, without_secrets: bool, **options: Any) -> None:
        config = engine_config.build()
        self.stdout.write(json.dumps(engine_config.without_secrets(config) if without_secrets else config, indent=2))
