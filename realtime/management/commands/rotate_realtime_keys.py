from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import localtime

from realtime import keys


class Command(BaseCommand):
    """Safe to run from a schedule, and twice. Nothing is restarted, and nobody is disconnected."""

    help = "Make a new key for subscription tokens: published now, signing after SIGNING_KEY_LEAD_SECONDS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--replace-unreadable",
            action="store_true",
            help="after SIGNING_KEY_SECRET was changed: the new key signs at once, since no other one can be read",
        )

    def handle(self, *, replace_unreadable: bool, **options: Any) -> None:
        try:
            key = keys.replace() if replace_unreadable else keys.rotate()
        except keys.AlreadyRotating:
            raise CommandError("Nothing was changed: the newest key has not signed yet. Wait for it.") from None
        except keys.CannotUnseal as problem:
            raise CommandError(f"Nothing was changed. {problem}") from None
        self.stdout.write(f"Key {key.kid} is published, and signs from {localtime(key.signs_from):%H:%M:%S %Z} on.")
