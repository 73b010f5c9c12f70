import signal
from typing import Any

from django.core.management.base import BaseCommand

from deployments.running import linux
from deployments.running.runner import Runner
from events import scraping


class Command(BaseCommand):
    help = "Execute deployments until SIGTERM or Ctrl-C. Several runners may run, on several machines."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--slots", type=int, help="Deployments at a time (default: RUNNER_SLOTS).")

    def handle(self, *args: Any, **options: Any) -> None:
        if linux.HERE:
            linux.adopt_orphans()
            linux.keep_to_itself()
        scraping.serve()
        runner = Runner(slots=options["slots"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: runner.stop())
        self.stdout.write(f"Runner {runner.name} takes deployments.")
        runner.run()
        self.stdout.write("Runner ended; nothing of its deployments runs any more.")
