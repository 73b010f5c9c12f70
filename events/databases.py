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

logger = logging.getLogger("events.relay")

BELL = "neostack_events"
#: A process notifies at most this often. The relay looks once more so long after its last batch.
RING_AT_MOST_EVERY_SECONDS = 0.003
SQLITE_POLL_SECONDS = 0.02
RECONNECT_SECONDS = 1.0
CONNECT_TIMEOUT_SECONDS = 3

_last_rung = 0.0
_has_one_thread = False
_kept_aside: psycopg.Connection | None = None


def many_writers() -> bool:
    """Whether an event may become visible after another that has a higher id."""
    return connection.vendor == "postgresql"


def writes_in_with() -> bool:
    """Whether one statement may write into several tables, each write in a WITH of the next."""
    return connection.vendor == "postgresql"


def for_update() -> str:
    """What locks the rows of a SELECT. SQLite's transactions lock the whole database when they begin (IMMEDIATE)."""
    return "FOR UPDATE" if connection.vendor == "postgresql" else ""


def oldest_running_transaction() -> int:
    """Every transaction below this number has ended, and what it committed is seen by the next query."""
    return _number("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")


def next_transaction() -> int:
    """Every transaction that has a number now, running ones included, is below this one.

    It takes a new number, on a connection of its own: a snapshot's xmax is one past the highest *ended* transaction,
    and several that still run may be above it.
    """
    with connection.wrap_database_errors, _connection_aside() as other:
        row = other.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
        assert row
        return int(row[0])


@contextmanager
def _connection_aside() -> Iterator[psycopg.Connection]:
    """A second connection: opening one takes longer than a whole batch, so a process with one thread keeps it."""
    global _kept_aside
    if not _has_one_thread:
        with _direct_connection() as other:
            yield other
        return
    if _kept_aside is None or _kept_aside.closed:
        _kept_aside = _direct_connection()
    yield _kept_aside


def _number(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


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


def take_turns(name: str) -> None:
    """Wait for whoever called this with the same name, and hold up the next, until this transaction ends.

    For what has no row to lock. The lock is the transaction's own, so it holds behind a pooler too; a transaction of
    SQLite is alone as it is.
    """
    if many_writers():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [zlib.crc32(name.encode())])


def without_pool(has_one_thread: bool = True) -> None:
    """A connection for each thread, for a process with few: each notices at once that the database is back."""
    global _has_one_thread
    _has_one_thread = has_one_thread
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

    def wait(self, seconds: float) -> bool:
        """Return as soon as something may have been committed, and after so many seconds at the latest.

        True if it is sure that an event was, which saves looking.
        """
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

    def wait(self, seconds: float) -> bool:
        try:
            return len(list(self._listening().notifies(timeout=seconds, stop_after=1))) > 0
        except psycopg.OperationalError as error:
            self._lose(error)
            time.sleep(seconds)
            return False

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
    """SQLite counts, for each connection, what the others have committed; asking reads no page of the file.

    It can't tell an event from anything else, so it is never sure.
    """

    def __init__(self) -> None:
        self._seen = -1

    def wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before, self._seen = self._seen, _number("PRAGMA data_version")
            if self._seen != before:
                break
            time.sleep(SQLITE_POLL_SECONDS)
        return False

    def close(self) -> None:
        """Nothing is held."""
