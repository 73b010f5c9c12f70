"""What has to happen all the time without anybody asking for it: the process `pulse` does these, and nothing else.

Each beat has a thread and a database connection of its own, so that one that waits, for an engine that is away say,
holds no other up. Whatever a beat has to do stands in the database: a pulse that was killed has lost nothing, and two
of them do no harm.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from events import liveness
from monitoring import actions as monitoring
from monitoring.alerting import evaluation
from portal.metrics import BEAT_FAILURES, BEAT_SECONDS
from portal.ops import facts, watch

logger = logging.getLogger("portal.pulse")

#: After a failure a beat pauses for this long.
PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Beat:
    """Something done again and again, `every` so many seconds after it ended."""

    name: str
    every: float
    do: Callable[[], object]


#: Of the process itself: its heartbeat ends with it.
WATCH = watch.Watch()
BEATS = (
    #: A metrics_update that waits for its turn (100 ms) comes this much later at most.
    Beat("metrics", every=0.05, do=monitoring.say_what_is_due),
    Beat("stored", every=5, do=monitoring.say_how_many_were_stored),
    Beat("alerts", every=settings.ALERTS_LOOKED_AT_SECONDS, do=evaluation.step),
    Beat("platform", every=watch.EVERY_SECONDS, do=WATCH.step),
    Beat("stock", every=facts.STOCK_EVERY_SECONDS, do=facts.FACTS.take_stock),
)
for _beat in BEATS:
    BEAT_FAILURES.labels(_beat.name)  # known from the start, so that a first one is seen as a rise


def run(stop: threading.Event, beats: tuple[Beat, ...] = BEATS) -> None:
    """Keep all beats going until `stop` is set, and return when the last one has ended."""
    threads = [threading.Thread(target=keep, args=(beat, stop), name=beat.name) for beat in beats]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(PAUSE_SECONDS)
            liveness.turned()


def keep(beat: Beat, stop: threading.Event) -> None:
    """One beat until `stop` is set. What fails is said once, and tried again."""
    failure = ""
    try:
        while not stop.is_set():
            liveness.turned(beat.name)
            try:
                with BEAT_SECONDS.labels(beat.name).time():
                    beat.do()
                if failure:
                    logger.info("%s goes on.", beat.name)
                failure = ""
            except Exception as error:
                BEAT_FAILURES.labels(beat.name).inc()
                failure = _say(beat, error, failure)
                connection.close()
            stop.wait(PAUSE_SECONDS if failure else beat.every)
    finally:
        connection.close()


def _say(beat: Beat, error: Exception, before: str) -> str:
    failure = f"{type(error).__name__}: {error}".strip()
    if failure != before:
        logger.warning("%s waits: %s", beat.name, failure, exc_info=not isinstance(error, DatabaseError))
    return failure
