"""Heartbeats: every process that the platform needs says now and then that it is alive, in a row of its own.

Moments are the database's own, as with leases: machines need not agree about the time.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from events.models import Heartbeat

logger = logging.getLogger("events.heartbeats")

#: A process that died is forgotten when one of its kind starts on the same machine, and after this in any case.
FORGOTTEN_AFTER = timedelta(days=1)


class Heart:
    """The heartbeat of this process, as a part of this kind ("relay", "runner", ...).

    `every`: seconds between two beats at most, where whoever owns it does not come by more often anyway.
    """

    def __init__(self, kind: str, every: float = 0.0) -> None:
        self.kind = kind
        self.name = f"{socket.gethostname()} pid {os.getpid()}"
        self._lasts = timedelta(seconds=every + settings.HEARTBEAT_SILENT_SECONDS)
        self._not_before = 0.0
        self._is_known = False

    def beat(self, detail: str = "") -> None:
        """Say that it is alive and what it does, once in settings.HEARTBEAT_SECONDS; between these, do nothing."""
        now = time.monotonic()
        if now < self._not_before:
            return
        if not self._is_known:
            self._forget_the_dead()
            self._is_known = True
        said = {"at": Now(), "expires_at": Now() + self._lasts, "detail": detail[:300]}
        row = Heartbeat(kind=self.kind, name=self.name, **said)
        Heartbeat.objects.bulk_create(
            [row], update_conflicts=True, unique_fields=["kind", "name"], update_fields=[*said]
        )
        self._not_before = now + settings.HEARTBEAT_SECONDS

    def stop(self) -> None:
        """It ends in good order: it is not silent, it is gone."""
        Heartbeat.objects.filter(kind=self.kind, name=self.name).delete()

    def _forget_the_dead(self) -> None:
        mine = Heartbeat.objects.filter(kind=self.kind, expires_at__lt=Now())
        here = Q(name__startswith=f"{socket.gethostname()} pid ")
        mine.filter(here | Q(expires_at__lt=Now() - FORGOTTEN_AFTER)).delete()


class BeatingThread:
    """Beats for a process whose own thread is somebody else's: a Celery worker's. Ends with the process."""

    def __init__(self, kind: str) -> None:
        self._heart = Heart(kind)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{kind}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(settings.HEARTBEAT_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            without_failing(self._heart.beat)
            self._stopped.wait(settings.HEARTBEAT_SECONDS)
        without_failing(self._heart.stop)
        connection.close()


def without_failing(write: Callable[[], None]) -> None:
    """A database that is away stops nobody's work: the row falls silent, which is what it then means."""
    try:
        write()
    except DatabaseError as error:
        logger.warning("A heartbeat was not written: %s", str(error).strip())
        connection.close()


@dataclass(frozen=True, slots=True)
class Process:
    """One process as its heartbeat shows it; `at` is when it was last heard."""

    kind: str
    name: str
    detail: str
    at: datetime
    is_alive: bool


def all_processes() -> list[Process]:
    """Every process heard of lately, those that fell silent too, in one query."""
    rows: Iterable[Heartbeat] = Heartbeat.objects.annotate(now=Now()).order_by("kind", "name")
    return [Process(row.kind, row.name, row.detail, row.at, row.expires_at > row.now) for row in rows]  # type: ignore[attr-defined]
