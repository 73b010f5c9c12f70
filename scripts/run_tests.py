"""The whole suite on SQLite, then on PostgreSQL, Redis and Centrifugo; at the end what could not be run here, and why.

    python -m scripts.run_tests [pytest's arguments]

With arguments only SQLite is used, unless DATABASE_URL says otherwise: that is for the work at hand. With
NEO_REQUIRE_ALL=1 nothing may be left out: a test that was skipped in every run fails this one.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests import services

#: Each waits for something now and then: with two at once for two cores a third of the cores' time goes unused.
SIDE_BY_SIDE = ["-q", "-n", "3"]
#: These have real processes, a set for each that runs side by side; the tests of one file follow each other on one.
WHOLE = "whole or browser or faults"
BY_FILE = [*SIDE_BY_SIDE, "--dist", "loadfile", "--durations=8"]
#: Where production's parts are all here, the others of the whole run on these alone: both took CI half an hour.
ON_BOTH = "(once or spine or faults)"
#: The engine's contract starts both engines by itself, and knows no database.
ONCE = "(once or conformance)"
PRODUCTION_PARTS = {"DATABASE_URL": "PostgreSQL", "REDIS_URL": "Redis", "NEO_ENGINE": "Centrifugo"}
NOTHING_COLLECTED = 5  # pytest's exit status


class Suite:
    """Runs pytest several times and adds up what each of them left out."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.reasons: dict[str, list[str | None]] = {}
        self.missing: list[str] = []

    def run(self, title: str, arguments: list[str], **environ: str) -> None:
        print(f"\n=== {title} ===", flush=True)
        began, cpu = time.monotonic(), cpu_seconds()
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            command = [sys.executable, "-m", "pytest", "-p", "tests.left_out", *arguments]
            status = subprocess.run(command, env=os.environ | environ | {"NEO_REPORT": report.name}).returncode
            written = Path(report.name).read_text()
        print(f"{title}: {time.monotonic() - began:.0f} s, {cpu_seconds() - cpu:.0f} s of CPU", flush=True)
        for test, reason in json.loads(written or "{}").items():
            self.reasons.setdefault(test, []).append(reason)
        if status not in (0, NOTHING_COLLECTED):
            self.failed.append(title)

    @property
    def left_out(self) -> Counter[str]:
        """How many tests no run could do, by reason."""
        never = (reasons for reasons in self.reasons.values() if all(reasons))
        return Counter(str(reasons[0]) for reasons in never)

    def conclude(self) -> int:
        ran = sum(1 for reasons in self.reasons.values() if not all(reasons))
        left_out = self.left_out
        required = bool(os.environ.get("NEO_REQUIRE_ALL"))
        print(f"\n=== {ran} tests ran ===")
        if left_out or self.missing:
            print("Not run here:")
        for what in self.missing:
            print(f"  everything again with {what}")
        for reason, count in left_out.most_common():
            print(f"  {count:4}  {reason}")
        if required and (left_out or self.missing):
            self.failed.append("nothing may be left out (NEO_REQUIRE_ALL=1)")
        print(f"FAILED: {'; '.join(self.failed)}" if self.failed else "All of them passed.", flush=True)
        return 1 if self.failed else 0


def cpu_seconds() -> float:
    """Of every process that was started from here and has ended, and of those that these waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def whole_suite(suite: Suite) -> None:
    """What a newcomer runs, then what production runs."""
    suite.run("SQLite", [*SIDE_BY_SIDE, "-m", f"not ({WHOLE})"])
    with ExitStack() as stack:
        found: dict[str, str] = {}
        for name, start in (("DATABASE_URL", services.postgres), ("REDIS_URL", services.redis)):
            try:
                found[name] = stack.enter_context(start())
            except services.NotHere as reason:
                suite.missing.append(f"{start.__name__}: {reason}")
        if services.has_centrifugo():
            found["NEO_ENGINE"] = "centrifugo"
        else:
            suite.missing.append("centrifugo: it is not built (make centrifugo)")
        production = topology(suite, found)
        suite.run("SQLite, the whole", [*BY_FILE, "-m", f"({WHOLE}) and {ON_BOTH}" if production else WHOLE])
        if found:
            title = ", ".join(PRODUCTION_PARTS[name] for name in found)
            suite.run(title, [*SIDE_BY_SIDE, "-m", f"not ({WHOLE}) and not {ONCE}"], **found)
            whole = [*BY_FILE, "-m", f"({WHOLE}) and not {ONCE}"]
            suite.run(f"{title}, the whole", whole, **found, **production)


def topology(suite: Suite, found: dict[str, str]) -> dict[str, str]:
    """Have the whole run as production does, behind a proxy, where everything for that is here."""
    if found.keys() != PRODUCTION_PARTS.keys():
        return {}
    try:
        services.nginx()
    except services.NotHere as reason:
        suite.missing.append(f"production's topology: {reason}")
        return {}
    return {"NEO_TOPOLOGY": "1"}


def main(arguments: list[str]) -> int:
    suite = Suite()
    if arguments:
        suite.run("SQLite" if "DATABASE_URL" not in os.environ else "DATABASE_URL", arguments)
    else:
        whole_suite(suite)
    return suite.conclude()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
