from celery import shared_task

from billing import actions, invoicing


@shared_task
def begin_billing() -> None:
    """Subscribe tenants that nobody has subscribed yet, and begin the periods whose time has come."""
    actions.subscribe_everybody()
    actions.begin_what_is_due()


@shared_task
def close_periods() -> None:
    """Invoice the periods that are over."""
    invoicing.close_what_is_over()
