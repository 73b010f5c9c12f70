"""How long each fault took to recover from: noted with the test that broke it, and told as a table at the end.

A plugin and not part of a conftest, so that the process that reports loads it, where others run the tests.
"""

from typing import NamedTuple

import pytest

PROPERTY = "recovery"


class Recovery(NamedTuple):
    """Seconds until pages and open connections were right again, and until every handler was.

    `reloads`: so many channels were told to read their state anew.
    """

    fault: str
    pages_seconds: float
    handlers_seconds: float
    reloads: int


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    properties = [one for report in terminalreporter.getreports("passed") for one in report.user_properties]
    if found := [Recovery(*value) for name, value in properties if name == PROPERTY]:
        terminalreporter.section("Time to recover")
        terminalreporter.line(f"{'':42} pages   handlers   channels reloaded")
        for one in found:
            times = f"{one.pages_seconds:6.1f} s {one.handlers_seconds:8.1f} s"
            terminalreporter.line(f"{one.fault:40} {times} {one.reloads:10}")
