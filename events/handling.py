"""Handlers: what the platform does after something happened, each at its own pace.

A handler is a function registered in an app's `handlers.py`. It has a cursor of its own, so one that is stuck holds
nobody else back; it is called for each event of its types, in order, at least once.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from events import cursors, log, metrics
from events.cursors import Lease, LeaseLost
from events.models import Cursor, DeadLetter, Entry, Event, Handled

logger = logging.getLogger("events.handlers")

Function = Callable[[Event, int], None]
#: Who is further behind than so many entries looks by itself whether one is of its types.
GLANCE = 2_000


@dataclass(frozen=True, slots=True)
class Handler:
    name: str
    types: frozenset[str]
    function: Function

    @property
    def cursor(self) -> str:
        return f"handler:{self.name}"


_HANDLERS: dict[str, Handler] = {}


def handler(name: str, *, types: Sequence[str]) -> Callable[[Function], Function]:
    """Register `function(event, seq)` for events of these types. `name` names its cursor: never change or reuse it.

    It is called outside a transaction and outside a tenant scope. What it raises is retried with growing waits, then
    left behind as a dead letter. It may be called twice for the same event.
    """

    def register(function: Function) -> Function:
        known = _HANDLERS.get(name)
        if known and known.function.__qualname__ != function.__qualname__:
            raise TypeError(f"A handler is already named {name!r}: {known.function.__qualname__}.")
        _HANDLERS[name] = Handler(name, frozenset(types), function)
        return function

    return register


def all_handlers() -> list[Handler]:
    return [_HANDLERS[name] for name in sorted(_HANDLERS)]


def get(name: str) -> Handler:
    """The handler of this name. Raises LookupError."""
    try:
        return _HANDLERS[name]
    except KeyError:
        raise LookupError(f"No handler is named {name[:100]!r}.") from None


def with_work() -> list[Handler]:
    """The handlers for which something may wait, and whose next try is not in the future.

    The cursors of those for which nothing came go to the end of the log right here: waking each of them, to find that
    out by itself, was most of what a worker did.
    """
    newest = log.newest_seq()
    due = Q(next_try_at=None) | Q(next_try_at__lte=Now())
    behind = dict(Cursor.objects.filter(due, position__lt=newest).values_list("name", "position"))
    came = {position: _types_between(position, newest) for position in set(behind.values())}
    waiting = [found for found in all_handlers() if found.cursor in behind]
    busy = [found for found in waiting if not came[behind[found.cursor]].isdisjoint(found.types)]
    cursors.pass_over([found.cursor for found in waiting if found not in busy], newest)
    return busy


def _types_between(position: int, newest: int) -> set[str]:
    """The types of the entries after `position`; of all there are, where looking would take long."""
    if newest - position > GLANCE:
        return {name for found in all_handlers() for name in found.types}
    entries = Entry.objects.filter(seq__gt=position, seq__lte=newest).order_by()
    return set(entries.values_list("type", flat=True).distinct())


def start_cursors() -> None:
    """Give each new handler its cursor. It starts at the end of the log: what was before it is not its business."""
    newest = log.newest_seq()
    for found in all_handlers():
        cursors.ensure(found.cursor, position=newest)


def drain(handler: Handler, seconds: float) -> None:
    """Call the handler for what waits for it, in order, for about so many seconds. Does nothing while another does."""
    cursors.ensure(handler.cursor, position=log.newest_seq())
    lease = cursors.take_when_due(handler.cursor, settings.HANDLER_LEASE_SECONDS)
    if lease is None:
        return
    deadline = time.monotonic() + seconds
    try:
        while _handle_next(handler, lease) and time.monotonic() < deadline:
            pass
    except LeaseLost:
        # Its call took longer than the lease; whoever took over calls it again for the same event.
        logger.warning("Handler %s took longer than HANDLER_LEASE_SECONDS for one event.", handler.name)
    finally:
        lease.release()


def _handle_next(handler: Handler, lease: Lease) -> bool:
    """Call the handler for the next event of its types. Returns whether to go on. Raises LeaseLost."""
    lease.renew()
    newest = log.newest_seq()
    unread = Entry.objects.filter(seq__gt=lease.position, seq__lte=newest, type__in=handler.types)
    entry = unread.select_related("event").order_by("seq").first()
    if entry is None:
        if newest > lease.position:
            lease.advance(newest)
        return False
    begun = time.monotonic()
    try:
        handler.function(entry.event, entry.seq)
    except Exception as error:
        metrics.HANDLER_SECONDS.labels(handler.name, "failed").observe(time.monotonic() - begun)
        logger.exception("Handler %s failed for entry %s.", handler.name, entry.seq)
        return _failed(handler, lease, entry, f"{type(error).__name__}: {error}")
    metrics.HANDLER_SECONDS.labels(handler.name, "done").observe(time.monotonic() - begun)
    with transaction.atomic():
        attempts = lease.attempts + 1
        lease.advance(entry.seq)
        Handled.objects.get_or_create(entry=entry, handler=handler.name, defaults={"attempts": attempts})
    return True


def _failed(handler: Handler, lease: Lease, entry: Entry, error: str) -> bool:
    """Wait before the next attempt or, after the last one, leave a dead letter and go on. Returns whether to go on."""
    if lease.attempts + 1 < settings.HANDLER_MAX_ATTEMPTS:
        lease.failed(error, try_again_in=2.0**lease.attempts)
        return False
    attempts = lease.attempts + 1
    with transaction.atomic():
        lease.advance(entry.seq)
        DeadLetter.objects.get_or_create(
            cursor=handler.cursor,
            event=entry.event,
            channel="",
            defaults={"error": error, "attempts": attempts},
        )
    return True
