"""A process of its own that records usage, or closes periods: what the tests of concurrency and of crashes start.

python -m billing.tests.recording TENANT NAME COUNT QUANTITY     so many batches of one record of `minutes`
python -m billing.tests.recording close NUMBER                   closes; stops for ever with invoice NUMBER half-way
"""

import sys
import time
from decimal import Decimal
from uuid import UUID

import django

django.setup()

from django.utils import timezone  # noqa: E402

from billing import actions, invoicing  # noqa: E402
from billing.actions import Used  # noqa: E402
from tenants.models import Tenant  # noqa: E402


def say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def record(tenant: Tenant, name: str, count: int, quantity: Decimal) -> None:
    """Begins with the others, and sends each record a second time, as a client does that had no answer."""
    say("ready")
    sys.stdin.readline()
    for number in range(count):
        batch = [Used(f"{name}-{number}", "minutes", quantity, timezone.now())]
        actions.record(tenant, batch)
        actions.record(tenant, batch)


def close_until(number: int) -> None:
    """Everything of this invoice is written and nothing is committed when it stops."""
    next_number = invoicing.next_number

    def slowly(prefix: str) -> str:
        taken = next_number(prefix)
        if taken == f"{prefix}-{number:06}":
            say("half-way")
            time.sleep(300)
        return taken

    invoicing.next_number = slowly
    invoicing.close_what_is_over()


if __name__ == "__main__":
    if sys.argv[1] == "close":
        close_until(int(sys.argv[2]))
    else:
        tenant, name, count, quantity = sys.argv[1:]
        record(Tenant.objects.get(pk=UUID(tenant)), name, int(count), Decimal(quantity))
