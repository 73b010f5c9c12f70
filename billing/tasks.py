from celery import shared_task

from billing import actions, dunning, invoicing, payments


@shared_task
def begin_billing() -> None:
    """Subscribe tenants that nobody has subscribed yet, and begin the periods whose time has come."""
    actions.subscribe_everybody()
    actions.begin_what_is_due()


@shared_task
def close_periods() -> None:
    """Invoice the periods that are over."""
    invoicing.close_what_is_over()


@shared_task
def collect() -> None:
    """Collect what is due, and suspend who has not paid for too long."""
    dunning.run()


@shared_task
def ask_gateways() -> None:
    """Ask for what they have not decided. The local one also calls back, which others do by themselves."""
    payments.send_local_callbacks()
    payments.ask_again()


@shared_task
def forget_old_callbacks() -> None:
    """Gateways say things again for days, not for months."""
    payments.forget_old_callbacks()
