"""Celery's part here: housekeeping, which may be lost, doubled or late without harm."""

from celery import shared_task

from realtime import keys, publishing


@shared_task
def forget_old_idempotency_keys() -> None:
    publishing.forget_old_keys()


@shared_task
def forget_ended_signing_keys() -> None:
    keys.forget_ended()
