"""What a process beside the tests' own does about alerts. See `tests/processes.py`."""

import django

django.setup()

from contextlib import suppress  # noqa: E402
from datetime import datetime  # noqa: E402

from django_scopes import scopes_disabled  # noqa: E402

from accounts.actions import Refused  # noqa: E402
from accounts.models import User  # noqa: E402
from monitoring.alerting import actions, escalation, evaluation  # noqa: E402
from monitoring.alerting.actions import Raised  # noqa: E402
from monitoring.alerting.models import Alert, Source  # noqa: E402
from tenants.models import Tenant  # noqa: E402
from tests.worker import work  # noqa: E402


def raise_and_resolve(tenant: str, keys: int, at: str) -> None:
    """The same of each key as every other process: it fires, and is over."""
    owner, began = Tenant.objects.get(pk=tenant), datetime.fromisoformat(at)
    for number in range(keys):
        said = Raised(Source.API, f"key {number}", "Backup failed", "error", "No space left.", started_at=began)
        actions.raise_alert(owner, said)
        actions.resolve_alert(owner, said.key)


def acknowledge(alert: str, by: str) -> bool:
    """From a page that shows the first version. Returns whether it was this one."""
    with scopes_disabled(), suppress(Refused):
        known = Alert.objects.select_related("tenant").get(pk=alert)
        actions.acknowledge(known, User.objects.get(pk=by), expected_version=1)
        return True
    return False


def step(times: int) -> None:
    """So many looks of pulse."""
    for _ in range(times):
        evaluation.step()


def escalate(at: str) -> int:
    """The steps that are due at this moment. Returns how many it took."""
    return escalation.escalate_due(datetime.fromisoformat(at))


if __name__ == "__main__":
    work(raise_and_resolve, acknowledge, step, escalate)
