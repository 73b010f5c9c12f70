"""A pytest plugin: keeps what was skipped and why, so that a run can say what it left out.

With NEO_REPORT=FILE it writes {test: reason or null} there: null for a test that ran. `scripts/run_tests.py` reads
those of several runs, since what one database cannot run another may.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest


class LeftOut:
    def __init__(self) -> None:
        self.reasons: dict[str, str | None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.reasons[report.nodeid] = reason_of(report)
        elif report.when == "call":
            self.reasons[report.nodeid] = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:  # a module that skips itself
            self.reasons[report.nodeid] = reason_of(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        if target := os.environ.get("NEO_REPORT"):
            Path(target).write_text(json.dumps(self.reasons))


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def by_reason(reasons: dict[str, str | None]) -> Counter[str]:
    return Counter(reason for reason in reasons.values() if reason)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # under xdist only the process that hears all reports
        config.pluginmanager.register(LeftOut(), "left-out")
