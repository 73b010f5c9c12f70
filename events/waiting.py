"""What every process needs before it can work, a database that answers and is migrated; it waits and says what for.

So the order in which processes are started does not matter.
"""

import logging
import time
from collections.abc import Callable

from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from events import databases

LOOK_EVERY_SECONDS = 0.5
NOT_MIGRATED = "its migrations are not all applied. Run `manage.py migrate`."


def for_database(logger: logging.Logger, is_stopped: Callable[[], bool] = lambda: False) -> bool:
    """Return True when the database can be worked with, and False when the process was to end before.

    Each reason to wait is logged once, and that it is over.
    """
    newest = set(MigrationLoader(None).graph.leaf_nodes())
    return _until_nothing_is_missing(lambda: _what_is_missing(newest), logger, is_stopped)


def for_database_to_migrate(logger: logging.Logger) -> None:
    """Return when the database answers, for who brings its migrations."""
    _until_nothing_is_missing(lambda: _what_is_missing(set()), logger, lambda: False)


def _until_nothing_is_missing(look: Callable[[], str], logger: logging.Logger, is_stopped: Callable[[], bool]) -> bool:
    said = ""
    while missing := look():
        if missing != said:
            logger.warning("Waiting for the database: %s", missing)
            said = missing
        if is_stopped():
            return False
        time.sleep(LOOK_EVERY_SECONDS)
    if said:
        logger.info("The database is there.")
    return True


def _what_is_missing(newest: set[tuple[str, str]]) -> str:
    """Why the database can't be worked with yet, as the end of a sentence; empty when it can.

    One that is ahead of this code, in the middle of an upgrade, is no reason to wait.
    """
    try:
        databases.knock()
        applied = MigrationRecorder(connection).applied_migrations()
    except DatabaseError as error:
        return str(error).strip()
    finally:
        connection.close()
    return NOT_MIGRATED if newest - applied.keys() else ""
