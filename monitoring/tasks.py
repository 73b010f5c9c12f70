from celery import shared_task

from monitoring import actions
from monitoring.alerting.actions import forget_old


@shared_task
def prune() -> None:
    """Delete samples and roll-ups that are older than their retention."""
    actions.prune()


@shared_task
def forget_old_alerts() -> None:
    """Delete alerts that were resolved, and silences that ended, longer ago than they are kept."""
    forget_old()
