"""What a process that was started before its database says, and when it goes on."""

import logging
from itertools import count

import pytest
from django.db import OperationalError
from django.db.migrations.recorder import MigrationRecorder

from events import databases, waiting

pytestmark = pytest.mark.django_db(transaction=True)
logger = logging.getLogger("events.tests.waiting")


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(waiting, "LOOK_EVERY_SECONDS", 0)


@pytest.fixture
def newest_migration():
    """The record of one that nothing depends on; missing until it is saved again."""
    record = MigrationRecorder.Migration.objects.filter(app="events").latest("id")
    record.delete()
    yield record
    record.save()


def test_a_database_that_is_ready_is_not_waited_for(caplog):
    assert waiting.for_database(logger)
    assert not caplog.records


def test_a_database_without_its_newest_migration_is_waited_for_until_it_is_applied(newest_migration, caplog):
    looks = count()

    def migrate_at_the_third_look() -> bool:
        if next(looks) == 2:
            newest_migration.save()
        return False

    with caplog.at_level(logging.INFO):
        assert waiting.for_database(logger, migrate_at_the_third_look)
    assert caplog.messages == [
        "Waiting for the database: its migrations are not all applied. Run `manage.py migrate`.",
        "The database is there.",
    ]


def test_each_reason_is_said_once(monkeypatch, caplog):
    answers = iter([OperationalError("Connection refused"), OperationalError("Connection refused"), None])

    def knock() -> None:
        if problem := next(answers):
            raise problem

    monkeypatch.setattr(databases, "knock", knock)
    assert waiting.for_database(logger)
    assert caplog.messages == ["Waiting for the database: Connection refused"]


def test_a_process_that_is_told_to_end_waits_no_longer(newest_migration):
    assert not waiting.for_database(logger, lambda: True)


def test_who_brings_the_migrations_waits_for_an_answer_alone(newest_migration, monkeypatch, caplog):
    answers = iter([OperationalError("Connection refused"), None])

    def knock() -> None:
        if problem := next(answers):
            raise problem

    monkeypatch.setattr(databases, "knock", knock)
    waiting.for_database_to_migrate(logger)
    assert caplog.messages == ["Waiting for the database: Connection refused"]
