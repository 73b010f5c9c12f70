import json
from typing import Any

from django.core.management.base import BaseCommand

from realtime import engine_config


class Command(BaseCommand):
    """`manage.py centrifugo_config > engine.json`. The file holds secrets: keep it as private as the environment."""

    help = "Print the engine's configuration, for Centrifugo and for `python -m engine` alike."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(json.dumps(engine_config.build(), indent=2))
