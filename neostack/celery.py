import logging
import os
from typing import Any

import kombu
from celery import Celery, bootsteps
from celery.app.amqp import AMQP
from celery.beat import PersistentScheduler
from celery.signals import after_task_publish, beat_init, task_failure, worker_init, worker_ready, worker_shutdown

from events import liveness

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neostack.settings")

# --- Main loops that turn, see events/liveness.py ---------------------------------------------------------------------

TURN_SECONDS = 5.0


class Connection(kombu.Connection):
    """Who waits for the broker turns too: without it there is nothing else to do."""

    def ensure_connection(self, errback: Any = None, *args: Any, **kwargs: Any) -> Any:
        def turn(*trouble: Any) -> None:
            liveness.turned()
            if errback:
                errback(*trouble)

        return super().ensure_connection(turn, *args, **kwargs)


class Amqp(AMQP):  # type: ignore[misc]
    Connection = Connection


class Scheduler(PersistentScheduler):  # type: ignore[misc]
    def tick(self, *args: Any, **kwargs: Any) -> Any:
        liveness.turned()
        return super().tick(*args, **kwargs)


class Turning(bootsteps.StartStopStep):  # type: ignore[misc]
    """The consumer's timer runs in its main loop."""

    def start(self, consumer: Any) -> None:
        consumer.timer.call_repeatedly(TURN_SECONDS, liveness.turned)


app = Celery("neostack", amqp="neostack.celery:Amqp")
app.steps["consumer"].add(Turning)
app.conf.beat_scheduler = "neostack.celery:Scheduler"
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect(weak=False)
def suit_the_broker(**_: Any) -> None:
    """What kombu has no options for. Here and not above: each brings a library that other processes need not load."""
    if app.conf.broker_url.startswith("sqla+"):
        from kombu.transport import sqlalchemy as database_broker

        # Messages wait in a database, which is looked at this often. Its option of the same name is of no use: it
        # reaches create_engine(), which refuses it.
        database_broker.Transport.polling_interval = 0.1  # seconds
    else:
        from kombu.transport import redis as redis_broker

        # Nothing is kept in Redis of a message that was taken, to be given back if the worker dies: each only wakes
        # somebody, and comes again by itself. A worker that lost Redis amid that bookkeeping ended of it: kombu 5.7
        # keeps channels whose connection it has dropped, and stumbles over their messages.
        redis_broker.Channel.ack_emulation = False
        redis_broker.Channel.do_restore = False


@worker_init.connect(weak=False)
def wait_for_database(**_: Any) -> None:
    """Without it every task would fail; what wakes it up meanwhile expires, and comes again."""
    from events import databases, scraping, waiting

    scraping.serve()
    databases.without_pool()
    waiting.for_database(logging.getLogger("neostack.celery"), liveness.Stop().is_set)


@task_failure.connect(weak=False)
def drop_connections(**_: Any) -> None:
    """A thread keeps its connection for CELERY_DB_REUSE_MAX tasks: after a restart of the database all would fail."""
    from django.db import connections

    connections.close_all()


# --- Heartbeats, so that people see which of the two has died -------------------------------------------------------


@worker_ready.connect(weak=False)
def beat_as_worker(**_: Any) -> None:
    from events.heartbeats import BeatingThread

    beating = BeatingThread("worker")
    worker_shutdown.connect(lambda **_: beating.stop(), weak=False)


@beat_init.connect(weak=False)
def beat_as_beat(**_: Any) -> None:
    """Its heartbeat is the wake-ups that it really sends."""
    from django.conf import settings

    from events import databases, scraping
    from events.heartbeats import Heart, without_failing

    databases.without_pool()
    scraping.serve()
    heart = Heart("beat", every=settings.WAKE_UP_SECONDS)
    after_task_publish.connect(lambda **_: without_failing(heart.beat), weak=False)
