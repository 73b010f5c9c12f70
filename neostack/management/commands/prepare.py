import logging
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from events import waiting


class Command(BaseCommand):
    help = "Make a database and the engine's configuration ready to run: migrate, write the file, add the demo."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--engine-config", type=Path, help="where to write the engine's configuration")
        parser.add_argument("--demo", action="store_true", help="add the demo's people, tenants and stacks")

    def handle(self, *, engine_config: Path | None, demo: bool, **options: Any) -> None:
        waiting.for_database_to_migrate(logging.getLogger("neostack.prepare"))
        call_command("migrate", verbosity=0, interactive=False)
        if engine_config:
            with engine_config.open("w") as file:
                engine_config.chmod(0o600)
                call_command("centrifugo_config", stdout=file)
        if demo:
            call_command("demo", stdout=StringIO())  # who starts everything prints the people last, where they are seen
