"""How fast usage is taken, and how long the end of a month takes."""

import subprocess

from benchmarks.stage import Stage

#: Services that send at the same time, each for its own tenant.
SERVICES = 8
SECONDS = 10
TENANTS = 1_000


def accepted(stage: Stage) -> float:
    """Records of usage accepted a second over HTTP, in batches of 100, everything else of the product running."""
    keys = _said(stage, "keys", SERVICES)
    return float(_said(stage, "post", stage.platform.url, SECONDS, given=keys))


def closing(stage: Stage) -> float:
    """Seconds until the month of 1,000 tenants is invoiced, by one process."""
    return float(_said(stage, "close", TENANTS))


def _said(stage: Stage, *arguments: object, given: str = "") -> str:
    command, options = stage.python("benchmarks.metering", *arguments)
    run = subprocess.run(command, check=True, input=given, stdout=subprocess.PIPE, text=True, **options)
    return run.stdout.strip().splitlines()[-1]
