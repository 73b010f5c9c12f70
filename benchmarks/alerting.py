"""How many alert rules are evaluated in a second, by one process with the database to itself.

    python -m benchmarks.alerting      in the stage's own process: tells rules a second, quiet and firing, as JSON

So many tenants have so many rules of all kinds on metrics with an hour of minutes each. Most looks of a real platform
find nothing to do; the first one here fires a tenth of the rules, which is as many events.
"""

import json
import subprocess
import sys
import time
from statistics import median

from benchmarks.stage import Stage

TENANTS = 100
RULES = 50
METRICS = 10
MINUTES = 60
LOOKS = 5


def rates(stage: Stage) -> dict[str, float]:
    """Rules a second while nothing changes, and transitions a second while many fire at once."""
    command, options = stage.python("benchmarks.alerting")
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def measure() -> dict[str, float]:
    import django

    django.setup()
    from django_scopes import scopes_disabled

    from monitoring.alerting.evaluation import evaluate_all

    with scopes_disabled():
        _furnish()
    began = time.perf_counter()
    looked = evaluate_all()
    first = time.perf_counter() - began
    took = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        assert evaluate_all() == looked
        took.append(time.perf_counter() - began)
    quiet = median(took)
    return {"evaluated": looked / quiet, "fired": looked / 10 / max(first - quiet, 0.001)}


def _furnish() -> None:
    """Rows only. A rule in ten is about a metric that is beyond its threshold."""
    from django.utils import timezone

    from monitoring.models import AlertRule, LatestMetrics, MinuteRollup
    from tenants.models import Tenant

    now = timezone.now()
    last = MinuteRollup.period_of(now)
    tenants = [Tenant(slug=f"alerting-{number}", name=f"Alerting {number}") for number in range(TENANTS)]
    Tenant.objects.bulk_create(tenants)
    for tenant in tenants:
        names = [f"metric_{number}" for number in range(METRICS)]
        MinuteRollup.objects.bulk_create(
            MinuteRollup(tenant=tenant, name=name, minute=last - ago, count=12, sum=12.0 * place, min=0.0, max=20.0)
            for place, name in enumerate(names)
            for ago in range(MINUTES)
        )
        newest = {"value": 1.0, "unit": "", "at": now.isoformat()}
        LatestMetrics.objects.create(tenant=tenant, metrics=dict.fromkeys(names, newest), version=1, as_of=now)
        kinds = ("threshold", "threshold", "threshold", "change", "absence")
        AlertRule.objects.bulk_create(
            AlertRule(
                tenant=tenant,
                name=f"Rule {number}",
                metric="metric_9" if number % 10 == 0 else f"metric_{number % (METRICS - 1)}",
                kind="threshold" if number % 10 == 0 else kinds[number % len(kinds)],
                threshold=8.5,
            )
            for number in range(RULES)
        )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure()) + "\n")
