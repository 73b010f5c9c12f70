import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction

from events.catalogue import EventType, Revocation, register
from events.channels import Channel, Topic, inbox, tenant
from events.emit import emit
from events.models import Event
from events.tests.engine_stub import EngineStub


@register
class Happened(EventType):
    """What the tests of the log emit: goes to the tenant's dashboard."""

    type = "test_happened"
    high_volume = True
    thing: int
    version: int = 1
    note: str = ""

    def channels(self) -> list[Channel]:
        return [tenant(self.tenant_id, Topic.DASHBOARD)]

    def describe(self, who: str) -> str:
        return f"{who} saw {self.thing} happen"

    @classmethod
    def samples(cls) -> list["EventType"]:
        return [cls(tenant_id=UUID(int=1), thing=1)]


@register
class TakenAway(EventType):
    """Takes access from a person, and tells their inbox."""

    type = "test_taken_away"
    high_volume = True
    user_id: UUID
    generation: int

    def channels(self) -> list[Channel]:
        return [inbox(self.user_id)]

    def describe(self, who: str) -> str:
        return f"{who} took access away"

    def revocations(self) -> list[Revocation]:
        return [Revocation(self.user_id, self.generation)]

    @classmethod
    def samples(cls) -> list["EventType"]:
        return [cls(user_id=UUID(int=2), generation=2)]


@pytest.fixture
def engine(settings) -> Iterator[EngineStub]:
    """The engine, at the address of the settings."""
    stub = EngineStub()
    settings.ENGINE_API_URL = stub.url
    yield stub
    stub.stop()


@pytest.fixture
def happen(acme) -> Callable[..., list[Event]]:
    """Commit events about things 1, 2, ... of acme, each in a transaction of its own."""

    def commit(count: int = 1, first: int = 1) -> list[Event]:
        events = []
        for thing in range(first, first + count):
            with transaction.atomic():
                events.append(emit(Happened(tenant_id=acme.id, thing=thing)))
        return events

    return commit


def eventually(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until it is true; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"still not true after {seconds} s"
        time.sleep(0.01)


#: What the relay's connections are called in PostgreSQL's pg_stat_activity.
RELAY_UNDER_TEST = "relay under test"


class RelayProcess(subprocess.Popen):
    """A running `manage.py relay`."""

    def __init__(self, log: Path, *args: Any, **kwargs: Any) -> None:
        self._log = log
        super().__init__(*args, **kwargs)

    @property
    def output(self) -> str:
        return self._log.read_text()


@pytest.fixture
def start_relay(engine, tmp_path) -> Iterator[Callable[..., RelayProcess]]:
    """Start `manage.py relay` on the test's database and engine."""
    started = []

    def start(**settings: str) -> RelayProcess:
        log = tmp_path / f"relay-{len(started)}.log"
        process = RelayProcess(
            log,
            [sys.executable, "manage.py", "relay"],
            cwd=django_settings.BASE_DIR,
            env=os.environ
            | {
                "DJANGO_SETTINGS_MODULE": "neostack.settings",
                "DEBUG": "1",
                "DATABASE_URL": _database_url(),
                "ENGINE_API_URL": engine.url,
                "CELERY_BROKER_URL": "redis://127.0.0.1:9/0",  # away: nothing but a line in the log comes of it
                "RELAY_LEASE_SECONDS": "1.5",
                "PGAPPNAME": RELAY_UNDER_TEST,
            }
            | settings,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def _database_url() -> str:
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    return "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database)
