"""Everything in which PostgreSQL and SQLite differ for the log. Nothing else here asks which one it is.

PostgreSQL has many writers: an event id is handed out before its transaction commits, so ids appear out of order, and
NOTIFY tells the relay of a commit. SQLite has one writer: ids appear in order, and the relay looks every few
milliseconds whether another connection has written.
"""

import logging
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import OperationalError, connection
from django.db.backends.utils import CursorWrapper

logger = logging.getLogger("events.relay")

BELL = "neostack_events"
#: A process notifies at most this often. The relay looks once more so long after its last batch.
RING_AT_MOST_EVERY_SECONDS = 0.003
SQLITE_POLL_SECONDS = 0.02
RECONNECT_SECONDS = 1.0
CONNECT_TIMEOUT_SECONDS = 3

_last_rung = 0.0


def many_writers() -> bool:
    """Whether an event may become visible after another that has a higher id."""
    return connection.vendor == "postgresql"


def writes_in_with() -> bool:
    """Whether one statement may write into several tables, each write in a WITH of the next."""
    return connection.vendor == "postgresql"


def _number(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


@contextmanager
def prepared() -> Iterator[psycopg.Cursor | CursorWrapper]:
    """A cursor whose statements PostgreSQL parses and plans once for a connection, and not each time.

    For what is asked hundreds of times a second: parsing and planning takes longer than doing it. Django's own cursors
    put the values into the text. Behind a pooler (DATABASE_DIRECT_URL) the next statement may go to a server that was
    not told, so it is Django's there, as it is on SQLite. A text for jsonb must say so: nothing else does.
    """
    with connection.cursor() as cursor:
        if not many_writers() or settings.DATABASE_DIRECT_URL:
            yield cursor
            return
        with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as preparing:
            yield preparing


def as_uuid(value: UUID | str | None) -> UUID | None:
    """A UUID as plain SQL gives it; SQLite keeps it as text."""
    return UUID(value) if isinstance(value, str) else value


def as_datetime(value: datetime) -> datetime:
    """A moment as plain SQL gives it; SQLite keeps it in UTC without saying so."""
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def ring() -> None:
    """Tell the relay that something was committed. After the commit, not in it: NOTIFY makes commits queue."""
    global _last_rung
    if not many_writers() or time.monotonic() - _last_rung < RING_AT_MOST_EVERY_SECONDS:
        return
    _last_rung = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {BELL}")


#: An expression that does it from within a statement of PostgreSQL.
LET_COMMIT_BE_LOST = "set_config('synchronous_commit', 'off', true)"


def commit_may_be_lost() -> None:
    """Let this transaction's commit not wait for the disk. Only for what may be done again after a crash."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {LET_COMMIT_BE_LOST}")


def forbid_transaction(what: str) -> None:
    """Raise RuntimeError inside a transaction; that in which a test of Django's runs is none."""
    if connection.in_atomic_block and not connection.atomic_blocks[-1]._from_testcase:  # type: ignore[attr-defined]
        raise RuntimeError(f"{what} is a transaction of its own: not inside another.")


def take_turns(name: str) -> None:
    """Wait for whoever called this with the same name, and hold up the next, until this transaction ends.

    For what has no row to lock. The lock is the transaction's own, so it holds behind a pooler too; a transaction of
    SQLite is alone as it is.
    """
    if many_writers():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [zlib.crc32(name.encode())])


def without_pool() -> None:
    """A connection for each thread, for a process with few: each notices at once that the database is back."""
    connection.settings_dict["OPTIONS"].pop("pool", None)


def knock() -> None:
    """Raise OperationalError, with what the server or the network said, unless the database answers.

    Not through the pool: that would try for as long as a page may wait for a connection, and tell less.
    """
    if not many_writers():
        return
    try:
        _direct_connection().close()
    except psycopg.Error as error:
        raise OperationalError(str(error)) from error


class Doorbell(Protocol):
    """What a relay waits at between two looks at the log."""

    def wait(self, seconds: float) -> None:
        """Return as soon as something may have been committed, and after so many seconds at the latest."""
        ...

    def close(self) -> None: ...


def doorbell() -> Doorbell:
    return ListeningDoorbell() if many_writers() else PollingDoorbell()


class ListeningDoorbell:
    """LISTEN on a connection of its own: behind a pooler in transaction mode it would hear nothing.

    While that connection is away, waiting is sleeping: the sweep finds what it would have told.
    """

    def __init__(self) -> None:
        self._connection: psycopg.Connection | None = None
        self._try_again_at = 0.0

    def wait(self, seconds: float) -> None:
        try:
            for _ in self._listening().notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.OperationalError as error:
            self._lose(error)
            time.sleep(seconds)

    def _listening(self) -> psycopg.Connection:
        if self._connection is None:
            if time.monotonic() < self._try_again_at:
                raise psycopg.OperationalError("not yet")
            self._connection = _direct_connection()
            self._connection.execute(f"LISTEN {BELL}")
        return self._connection

    def _lose(self, error: Exception) -> None:
        if time.monotonic() >= self._try_again_at:
            logger.warning("Can't listen for commits, looking by itself every few milliseconds: %s", error)
            self._try_again_at = time.monotonic() + RECONNECT_SECONDS
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _direct_connection() -> psycopg.Connection:
    if settings.DATABASE_DIRECT_URL:
        return psycopg.connect(settings.DATABASE_DIRECT_URL, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS)
    database = connection.settings_dict
    # What the pooled connections are opened with, sslmode for one, holds here too.
    options = {name: value for name, value in database["OPTIONS"].items() if name != "pool"}
    return psycopg.connect(
        dbname=database["NAME"],
        user=database["USER"] or None,
        password=database["PASSWORD"] or None,
        host=database["HOST"] or None,
        port=database["PORT"] or None,
        autocommit=True,
        **{"connect_timeout": CONNECT_TIMEOUT_SECONDS, **options},
    )


class PollingDoorbell:
    """SQLite counts, for each connection, what the others have committed; asking reads no page of the file."""

    def __init__(self) -> None:
        self._seen = -1

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before, self._seen = self._seen, _number("PRAGMA data_version")
            if self._seen != before:
                break
            time.sleep(SQLITE_POLL_SECONDS)

    def close(self) -> None:
        """Nothing is held."""
