"""Celery's part: wake-ups and schedules. Every one of these may be lost, doubled or late without harm."""

from celery import shared_task
from django.conf import settings

from events import handling, numbering, relay, retention

#: A task works for about this long and leaves the rest to the next wake-up.
WORK_SECONDS = 30.0


@shared_task
def publish_pending() -> None:
    """What the relay does, where no relay runs."""
    relay.drain_once(WORK_SECONDS)


@shared_task
def wake_handlers() -> None:
    """Number what was committed, and wake each handler that has work."""
    while numbering.number().is_due:
        pass
    for handler in handling.with_work():
        # Behind a worker that is slow or away they would pile up, and nothing be done but to find that nothing is left.
        run_handler.apply_async((handler.name,), expires=settings.WAKE_UP_SECONDS)


@shared_task
def run_handler(name: str) -> None:
    handling.drain(handling.get(name), WORK_SECONDS)


@shared_task
def prune() -> None:
    """Delete what is older than its retention."""
    retention.prune()
