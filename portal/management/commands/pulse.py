import gc
import logging
import signal
from typing import Any

from django.core.management.base import BaseCommand
from prometheus_client import REGISTRY

from events import databases, liveness, scraping, waiting
from events.heartbeats import without_failing
from portal import pulse
from portal.ops import facts


class Command(BaseCommand):
    help = "Does what has to happen all the time: says the metrics that wait for their turn. Until SIGTERM or Ctrl-C."
    requires_migrations_checks = False
    requires_system_checks = ("production",)  # the others would import every view

    def handle(self, *args: Any, **options: Any) -> None:
        # Does nothing where the settings have configured logging.
        logging.basicConfig(level=logging.INFO, format="%(asctime)s pulse: %(message)s")
        databases.without_pool()
        REGISTRY.register(facts.FACTS)
        scraping.serve()
        gc.freeze()  # what has been loaded stays
        stop = liveness.Stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        if waiting.for_database(pulse.logger, stop.is_set):
            pulse.run(stop)
        without_failing(pulse.WATCH.heart.stop)
