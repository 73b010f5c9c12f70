from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.module_loading import autodiscover_modules

from events import reconciling


class Command(BaseCommand):
    help = "Compare what is kept twice: usage, invoices' lines and sums, numbers, events, unread counters."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--repair", action="store_true", help="Put right what needs nobody's judgement.")

    def handle(self, *args: Any, repair: bool, **options: Any) -> None:
        """Exits with 1 while something does not agree."""
        autodiscover_modules("reconciling")
        left = 0
        for name, check in reconciling.checks().items():
            found = list(check())
            for fault in found:
                left += not self._tell(name, fault, repair)
            if not found:
                self.stdout.write(f"{name}: agrees")
        if left:
            raise SystemExit(1)

    def _tell(self, name: str, fault: reconciling.Fault, repair: bool) -> bool:
        """Returns whether it is put right."""
        if repair and fault.repair:
            fault.repair()
            outcome = "put right"
        else:
            outcome = "would be put right by --repair" if fault.repair else "needs a person"
        self.stdout.write(f"{name}: {fault.where}: {fault.problem} ({outcome})")
        return outcome == "put right"
