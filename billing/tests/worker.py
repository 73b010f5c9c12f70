"""What a process beside the tests' own does about billing. See `tests/processes.py`."""

import time
from decimal import Decimal

import django

django.setup()

from django.utils import timezone  # noqa: E402

from billing import actions, invoicing, payments  # noqa: E402
from billing.actions import Used  # noqa: E402
from billing.models import Invoice  # noqa: E402
from tenants.models import Tenant  # noqa: E402
from tests.worker import say, work  # noqa: E402


def record(tenant: str, name: str, count: int, quantity: str) -> None:
    """So many batches of one record of `minutes`, each sent a second time, as a client does that had no answer."""
    for number in range(count):
        batch = [Used(f"{name}-{number}", "minutes", Decimal(quantity), timezone.now())]
        actions.record(Tenant.objects.get(pk=tenant), batch)
        actions.record(Tenant.objects.get(pk=tenant), batch)


def close() -> int:
    return invoicing.close_what_is_over()


def close_until(number: int) -> None:
    """Everything of this invoice is written and nothing is committed when it stops, for ever."""
    next_number = invoicing.next_number

    def slowly(prefix: str) -> str:
        taken = next_number(prefix)
        if taken == f"{prefix}-{number:06}":
            say("half-way")
            time.sleep(300)
        return taken

    invoicing.next_number = slowly
    invoicing.close_what_is_over()


def pay(invoice: str) -> str | None:
    """What the payment has come to, as this process sees it."""
    paid = payments.pay(Invoice.objects.with_scopes_disabled().select_related("tenant").get(pk=invoice))
    return paid and paid.status


def take_callback(gateway: str, body: str, headers: dict[str, str]) -> bool:
    return payments.take_callback(gateway, body.encode(), headers)


if __name__ == "__main__":
    work(record, close, close_until, pay, take_callback)
