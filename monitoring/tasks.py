from celery import shared_task

from monitoring import actions


@shared_task
def prune() -> None:
    """Delete samples and roll-ups that are older than their retention."""
    actions.prune()
