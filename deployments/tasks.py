from celery import shared_task

from deployments import leases
from deployments.demo import life


@shared_task
def mark_lost() -> None:
    """End deployments whose runner is silent. Runners do it too; this is for when none is left."""
    leases.mark_lost()


@shared_task
def live_demo() -> None:
    """Scheduled in a demo only, and refused elsewhere."""
    life.deploy_now_and_then()
