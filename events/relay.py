"""The relay: numbers what was committed and pushes it, for as long as it holds the lease of the push cursor."""

import logging
import random
import threading
import time

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from events import cursors, databases, metrics, numbering, pushing, waiting
from events.cursors import PUSH, Lease, LeaseLost
from events.engine_client import EngineAway
from events.generations import GenerationsAway
from events.heartbeats import Heart, without_failing
from events.waking import HandlerWaker

logger = logging.getLogger("events.relay")

STANDBY_SECONDS = 0.5
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0


class Drain:
    """Numbers and pushes, step by step, under a lease. While the engine is away numbering goes on."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.pusher = pushing.Pusher(lease)
        self.waits_for = ""
        #: The last seq that is known to have been given.
        self.newest = 0
        self._failures = 0
        self._push_not_before = 0.0

    def step(self) -> bool:
        """One batch of each. Returns whether there was something, so that it is worth looking again at once.

        Raises LeaseLost.
        """
        self.lease.renew()
        # With nothing else to push, what is numbered now is what goes out next.
        is_next = self.pusher.is_done and self.lease.position == self.newest
        log = numbering.number(with_rows=is_next)
        self.newest = log.newest
        pushed = self._push(log.rows) if time.monotonic() >= self._push_not_before else 0
        return pushed > 0 or log.is_due

    def _push(self, numbered: pushing.Rows) -> int:
        try:
            pushed = self.pusher.push(numbered) if self.newest > self.lease.position else 0
            self.pusher.disconnect_again()
        except (EngineAway, GenerationsAway) as error:
            metrics.PUSH_FAILURES.labels("engine" if isinstance(error, EngineAway) else "redis").inc()
            self._back_off(str(error))
            return 0
        self._failures, self.waits_for = 0, ""
        return pushed

    def _back_off(self, error: str) -> None:
        wait = backoff(self._failures)
        self._failures += 1
        self._push_not_before = time.monotonic() + wait
        self.waits_for = error
        self.lease.failed(error, wait)


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures: doubling to 5, with jitter so that not all come back at once."""
    longest: float = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


class Relay:
    """One relay process. Runs until `stop` is set."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._waker = HandlerWaker()
        self._heart = Heart("relay")
        self._said = ""

    def run(self) -> None:
        """Stand by, relay while holding the lease, and begin again when it was lost or the database went away."""
        failures = 0
        waiting.for_database(logger, self.stop.is_set)
        while not self.stop.is_set():
            try:
                self._relay_while_mine()
                failures = 0
            except DatabaseError as error:
                self._say(f"Waiting for the database: {error}".strip())
                connection.close()
                self.stop.wait(backoff(failures))
                failures += 1
        without_failing(self._heart.stop)
        self._say("Stopped.")

    def _relay_while_mine(self) -> None:
        lease = self._stand_by()
        if lease is None:
            return
        doorbell = databases.doorbell()
        try:
            with metrics.RELAY_ACTIVE.track_inprogress():
                self._relay(Drain(lease), doorbell)
        except LeaseLost:
            self._say("Another relay has taken over.")
        finally:
            doorbell.close()
        if self.stop.is_set():
            lease.release()

    def _stand_by(self) -> Lease | None:
        cursors.ensure(PUSH)
        while not self.stop.is_set():
            if lease := cursors.take(PUSH, settings.RELAY_LEASE_SECONDS):
                return lease
            self._say("Standing by: another relay holds the lease, or held it a moment ago.")
            self._heart.beat(self._said)
            self.stop.wait(STANDBY_SECONDS)
        return None

    def _relay(self, drain: Drain, doorbell: databases.Doorbell) -> None:
        busy = False
        while not self.stop.is_set():
            newest, was_busy = drain.newest, busy
            busy = drain.step()
            if drain.newest > newest:
                self._waker.wake()
            self._say(f"Waiting. {drain.waits_for}" if drain.waits_for else "Active: numbering and pushing.")
            self._heart.beat(self._said)
            # Just after a batch somebody may have committed who had rung for that batch, and not again.
            sweep = databases.RING_AT_MOST_EVERY_SECONDS if was_busy else settings.RELAY_SWEEP_SECONDS
            if not busy:
                doorbell.wait(sweep)

    def _say(self, state: str) -> None:
        """Log a change of state, once."""
        if state != self._said:
            logger.info(state)
            self._said = state


def drain_once(seconds: float) -> None:
    """Number, and push if no relay does, until nothing is left or so many seconds are over. Raises LeaseLost."""
    cursors.ensure(PUSH)
    lease = cursors.take(PUSH, settings.RELAY_LEASE_SECONDS)
    if lease is None:
        numbering.number()
        return
    deadline = time.monotonic() + seconds
    try:
        drain = Drain(lease)
        while drain.step() and time.monotonic() < deadline:
            pass
    finally:
        lease.release()
