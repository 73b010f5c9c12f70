"""Celery's part here: wake-ups and housekeeping, which may be lost, doubled or late without harm."""

from celery import shared_task

from notifications import actions, mails

#: A task sends mails for about this long and leaves the rest to the next wake-up.
SENDING_SECONDS = 30.0


@shared_task
def send_mails() -> None:
    mails.send_due(SENDING_SECONDS)


@shared_task
def forget_old_notifications() -> None:
    actions.forget_old()
    mails.forget_old()
