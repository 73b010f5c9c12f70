"""Celery's part here: housekeeping, which may be lost, doubled or late without harm."""

from celery import shared_task

from notifications import actions


@shared_task
def forget_old_notifications() -> None:
    actions.forget_old()
