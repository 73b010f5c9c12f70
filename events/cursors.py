"""Cursors over the numbered log, and the leases under which they move.

Whoever works for a cursor takes its lease, and names the lease's fence whenever the cursor moves. A process that was
stopped for longer than its lease finds the fence changed and can move nothing. Times are the database's own.
"""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from events import databases
from events.models import Cursor

PUSH = "push"


class LeaseLost(Exception):
    """Somebody else has taken the cursor over."""


def _free() -> Q:
    return Q(lease_expires_at=None) | Q(lease_expires_at__lte=Now())


@dataclass
class Lease:
    """The right to move one cursor for `seconds` at a time.

    `position` is the last seq dealt with, `attempts` how often the entry after it has failed: nobody else changes them.
    """

    cursor: str
    fence: int
    seconds: float
    position: int
    attempts: int
    _renewed_at: float = field(default_factory=time.monotonic)

    def advance(self, position: int) -> None:
        """Move the cursor, and renew. Do it in one transaction with what was made of the entries. Raises LeaseLost."""
        self._update(position=position, attempts=0, next_try_at=None, last_error="")
        self.position, self.attempts = position, 0

    def advance_and(self, position: int, insert: str, values: Sequence[object]) -> None:
        """Like `advance`, in one statement with an `INSERT ... SELECT` of these values, one row. Raises LeaseLost.

        It is its own transaction, whose commit does not wait for the disk (see `databases.commit_may_be_lost`).
        """
        parameters: list[Any] = [position, timedelta(seconds=self.seconds), self.cursor, self.fence, *values]
        with databases.prepared() as cursor:
            cursor.execute(
                f"""
                WITH moved AS (
                    UPDATE events_cursor SET position = %s, attempts = 0, next_try_at = NULL, last_error = '',
                        lease_expires_at = now() + %s, updated_at = now()
                    WHERE name = %s AND fence = %s RETURNING {databases.LET_COMMIT_BE_LOST}
                )
                {insert} FROM moved
                """,  # noqa: S608 - `insert` is the caller's own text, the values are parameters
                parameters,
            )
            if not cursor.rowcount:
                raise LeaseLost(self.cursor)
        self.position, self.attempts, self._renewed_at = position, 0, time.monotonic()

    def renew(self) -> None:
        """Keep the lease, if a third of its time has gone. Raises LeaseLost."""
        if time.monotonic() - self._renewed_at > self.seconds / 3:
            self._update()

    def failed(self, error: str, try_again_in: float) -> None:
        """Note, for people and for other processes, why the cursor does not move. Raises LeaseLost."""
        attempts = self.attempts + 1
        self._update(attempts=attempts, next_try_at=Now() + timedelta(seconds=try_again_in), last_error=error)
        self.attempts = attempts

    def release(self) -> None:
        """Give it back, so that somebody else need not wait until it runs out."""
        Cursor.objects.filter(name=self.cursor, fence=self.fence).update(owner="", lease_expires_at=None)

    def _update(self, **fields: object) -> None:
        expires = Now() + timedelta(seconds=self.seconds)
        moved = Cursor.objects.filter(name=self.cursor, fence=self.fence).update(
            lease_expires_at=expires, updated_at=Now(), **fields
        )
        if not moved:
            raise LeaseLost(self.cursor)
        self._renewed_at = time.monotonic()


def take(name: str, seconds: float) -> Lease | None:
    """Take the cursor's lease; None while somebody else has it. The cursor must exist (see `ensure`)."""
    return _take(Q(_free(), name=name), seconds)


def take_when_due(name: str, seconds: float) -> Lease | None:
    """The same, and None also while the cursor waits for its next try."""
    due = Q(next_try_at=None) | Q(next_try_at__lte=Now())
    return _take(Q(_free(), due, name=name), seconds)


def _take(wanted: Q, seconds: float) -> Lease | None:
    # Asked without a lock first: those who stand by ask all the time.
    if not Cursor.objects.filter(wanted).exists():
        return None
    with transaction.atomic():
        cursor = Cursor.objects.select_for_update().filter(wanted).first()
        if cursor is None:
            return None
        fence = cursor.fence + 1
        expires = Now() + timedelta(seconds=seconds)
        Cursor.objects.filter(name=cursor.name).update(owner=_me(), fence=fence, lease_expires_at=expires)
    return Lease(cursor.name, fence, seconds, cursor.position, cursor.attempts)


def pass_over(names: Sequence[str], position: int) -> None:
    """Move those of the cursors that nobody holds to `position`: what is up to there is none of their business."""
    Cursor.objects.filter(_free(), name__in=names, position__lt=position).update(position=position, updated_at=Now())


def ensure(name: str, position: int = 0) -> None:
    """Create the cursor at this position, unless it exists."""
    Cursor.objects.get_or_create(name=name, defaults={"position": position})


def _me() -> str:
    return f"{socket.gethostname()} pid {os.getpid()}"
