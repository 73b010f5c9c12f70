from celery import shared_task

from deployments import leases


@shared_task
def mark_lost() -> None:
    """End deployments whose runner is silent. Runners do it too; this is for when none is left."""
    leases.mark_lost()
