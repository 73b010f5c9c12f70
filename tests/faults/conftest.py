"""One stage for the whole module of faults."""

import os
from collections.abc import Iterator

import pytest

from tests.faults.stage import Stage
from tests.services import NotHere, has_centrifugo
from tests.whole.conftest import browser

__all__ = ["browser"]  # a fixture


@pytest.fixture
def stage(running_stage: Stage) -> Stage:
    """Whole: after a failure nothing is tried on what is left of it."""
    assert not running_stage.is_spoilt, "not tried: the stage is what a failed test has left"
    return running_stage


@pytest.fixture(scope="module")
def running_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if os.environ.get("NEO_ENGINE") != "centrifugo":
        pytest.skip("runs with the real engine only (NEO_ENGINE=centrifugo)")
    if not has_centrifugo():
        pytest.skip("Centrifugo is not built (make centrifugo)")
    try:
        stage = Stage(tmp_path_factory.mktemp("stage"))
    except NotHere as reason:
        pytest.skip(str(reason))
    try:
        yield opened(stage)
    finally:
        stage.close()


def opened(stage: Stage) -> Stage:
    try:
        return stage.open()
    except AssertionError as error:
        error.add_note(stage.last_words())
        raise


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure comes with the last lines of every process."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    running = getattr(item, "funcargs", {}).get("stage")
    if report.failed and running and not running.is_spoilt:
        running.is_spoilt = True
        report.sections.append(("The stage's logs", running.last_words()))
