import gc
import logging
import signal
import sys
from typing import Any

from django.core.management.base import BaseCommand

from events import databases, liveness, scraping
from events.relay import Relay

SWITCH_SECONDS = 0.0005


class Command(BaseCommand):
    help = "Numbers committed events and pushes them to the real-time engine. Run two: one works, one stands by."
    requires_migrations_checks = False
    requires_system_checks = ("production",)  # the others would import every view

    def handle(self, *args: Any, **options: Any) -> None:
        # Does nothing where the settings have configured logging.
        logging.basicConfig(level=logging.INFO, format="%(asctime)s relay: %(message)s")
        databases.without_pool()
        scraping.serve()
        # What has been loaded by now stays: the collector need not walk through it (9 ms) while a batch waits.
        gc.freeze()
        # Lanes and wake-ups are threads too. By default each of them may make a batch wait for 5 ms, ten times over.
        sys.setswitchinterval(SWITCH_SECONDS)
        relay = Relay()
        relay.stop = liveness.Stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: relay.stop.set())
        relay.run()
