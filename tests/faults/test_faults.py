"""Whatever breaks while people work: afterwards everybody has what the log has, in order, each once.

One stage for all of it. Its faults follow each other; every test leaves it whole.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.faults.recoveries import PROPERTY, Recovery
from tests.faults.stage import PATIENCE_SECONDS, Stage
from tests.whole.conftest import Window
from tests.whole.platform import wait_until

pytestmark = pytest.mark.faults

#: Rounds of the producer that a fault lasts, beyond the time until it is seen.
ROUNDS = 3
#: Clocks this far apart are nothing that anybody notices; and so far that what one gives has ended for the other.
SOME_SECONDS, TOO_FAR_SECONDS = 30, 3700


class Fault(NamedTuple):
    """`seen` tells when the fault shows: what happens before that need not be survived, it is no fault yet.

    `meanwhile` is what works all the same. `heals_itself`: something else takes over, so the time to recover begins
    with the fault and not with its end.
    """

    name: str
    begins: Callable[[Stage], object]
    ends: Callable[[Stage], object]
    seen: Callable[[Stage], bool] = lambda stage: True
    meanwhile: Callable[[Stage], object] = lambda stage: None
    before_end: Callable[[Stage], object] = lambda stage: None
    heals_itself: bool = False
    stops_commits: bool = False


def part_is_away(name: str) -> Callable[[Stage], bool]:
    return lambda stage: not stage.is_well(name)


def relay_says(words: str) -> Callable[[Stage], bool]:
    return lambda stage: words in stage.said()


FAULTS = [
    Fault(
        "one of two Centrifugo nodes: kill -9",
        begins=lambda stage: stage.nodes[0].kill(),
        ends=lambda stage: stage.nodes[0].start(),
        heals_itself=True,
    ),
    Fault(
        "both Centrifugo nodes: kill -9",
        begins=lambda stage: [node.kill() for node in stage.nodes],
        ends=lambda stage: [node.start() for node in stage.nodes],
        seen=part_is_away("engine"),
    ),
    Fault(
        "Centrifugo hangs",
        begins=lambda stage: [node.freeze() for node in stage.nodes],
        ends=lambda stage: [node.thaw() for node in stage.nodes],
        seen=relay_says("did not answer in time"),
    ),
    Fault(
        "Centrifugo answers 500",
        begins=lambda stage: stage.api.answer_500(),
        ends=lambda stage: stage.api.mend(),
        seen=relay_says("answered with HTTP 500"),
    ),
    Fault(
        "network between relay and engine cut",
        begins=lambda stage: stage.api.cut(),
        ends=lambda stage: stage.api.mend(),
        seen=relay_says("can't be reached"),
    ),
    Fault(
        "network between relay and engine hangs",
        begins=lambda stage: stage.api.hang(),
        ends=lambda stage: stage.api.mend(),
        seen=relay_says("did not answer in time"),
    ),
    Fault(
        "Centrifugo's Redis: kill -9, back empty",
        begins=lambda stage: stage.engine_redis.kill(),
        before_end=lambda stage: stage.stop_pushing(),
        ends=lambda stage: (stage.engine_redis.start(), stage.api.mend()),
        seen=relay_says("Waiting."),
    ),
    Fault(
        "Centrifugo's Redis: back with older data",
        begins=lambda stage: stage.rewind_begins(),
        before_end=lambda stage: stage.stop_pushing(),
        ends=lambda stage: stage.rewind_ends(),
        seen=relay_says("Waiting."),
    ),
    Fault(
        "Centrifugo's Redis is full",
        begins=lambda stage: stage.engine_redis.fill(),
        before_end=lambda stage: stage.stop_pushing(),
        ends=lambda stage: (stage.engine_redis.make_room(), stage.api.mend()),
        seen=relay_says("internal server error (100)"),
    ),
    Fault(
        "our Redis: kill -9, back empty",
        begins=lambda stage: stage.redis.kill(),
        ends=lambda stage: stage.redis.start(),
        seen=part_is_away("redis"),
        meanwhile=lambda stage: stage.come_and_go(),
    ),
    Fault(
        "both Redis: kill -9, back with all their data",
        begins=lambda stage: stage.kill_both_redis(),
        before_end=lambda stage: stage.stop_pushing(),
        ends=lambda stage: (stage.start_both_redis(), stage.api.mend()),
        seen=part_is_away("redis"),
    ),
    Fault(
        "our Redis is full",
        begins=lambda stage: stage.redis.fill(),
        ends=lambda stage: stage.redis.make_room(),
        meanwhile=lambda stage: stage.come_and_go(),
    ),
    Fault(
        "Celery's broker emptied (FLUSHALL)",
        begins=lambda stage: stage.redis.empty(),
        ends=lambda stage: None,
        heals_itself=True,
    ),
    Fault(
        "PostgreSQL: kill -9",
        begins=lambda stage: stage.postgres.kill(),
        ends=lambda stage: stage.postgres.start(),
        seen=part_is_away("database"),
        stops_commits=True,
    ),
    Fault(
        "the active relay: kill -9",
        begins=lambda stage: stage.kill_active_relay(),
        ends=lambda stage: stage.ensure_all(),
        heals_itself=True,
    ),
    Fault(
        "the worker: kill -9",
        begins=lambda stage: stage.kill("worker"),
        ends=lambda stage: stage.start("worker"),
        seen=part_is_away("worker"),
    ),
    Fault(
        "web: kill -9",
        begins=lambda stage: stage.kill("web"),
        ends=lambda stage: stage.start("web"),
    ),
    Fault(
        "the gate: kill -9",
        begins=lambda stage: (stage.kill("gate"), stage.subscribers[0].disconnect()),
        ends=lambda stage: stage.start("gate"),
        seen=lambda stage: any("internal server error" in reason for reason in stage.subscribers[0].refusals[-1:]),
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_everybody_has_what_the_log_has_after(
    stage: Stage, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    reloads = stage.reloads()
    stage.listen()
    began = time.monotonic()
    fault.begins(stage)
    if fault.heals_itself:
        times = wait_recovered(stage, began)
    wait_until(lambda: fault.seen(stage), "the fault is seen", PATIENCE_SECONDS, every=0.1)
    fault.meanwhile(stage)
    if not fault.stops_commits:
        stage.producer.wait_for(ROUNDS)
    fault.before_end(stage)
    began_to_mend = time.monotonic()
    fault.ends(stage)
    if not fault.heals_itself:
        times = wait_recovered(stage, began_to_mend)
    stage.expect_what_the_log_has()
    stage.wait_well()
    record_property(PROPERTY, list(Recovery(fault.name, *times, stage.reloads() - reloads)))


def wait_recovered(stage: Stage, since: float) -> tuple[float, float]:
    """Seconds until pages open again and everybody has received what was committed, the first new event included; and
    until every handler has passed it.
    """
    company, person = stage.people[0]
    wait_until(lambda: stage.opens(person, company.path), "a page opens", PATIENCE_SECONDS)
    stage.producer.wait_for(1)
    wait_until(stage.received(), "everybody has received what is committed", PATIENCE_SECONDS)
    received = time.monotonic() - since
    wait_until(stage.handled(), "every handler has passed it", PATIENCE_SECONDS, every=0.05)
    return received, time.monotonic() - since


@pytest.mark.browser
@pytest.mark.parametrize("name", ["Centrifugo's Redis: kill -9, back empty", "PostgreSQL: kill -9"])
def test_a_page_that_was_open_all_the_while_equals_a_fresh_one_after(stage: Stage, browser: Browser, name: str) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    company, person = stage.people[0]
    context = browser.new_context(base_url=stage.url)
    context.add_cookies(person.cookies)  # type: ignore[arg-type]
    window = Window(context, stage.url)
    window.expects_outage = True
    page = window.open(f"{company.path}activity/")
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE_SECONDS * 1000)
    before = acts(page)
    stage.listen()
    fault.begins(stage)
    wait_until(lambda: fault.seen(stage), "the fault is seen", PATIENCE_SECONDS, every=0.1)
    if not fault.stops_commits:
        stage.producer.wait_for(ROUNDS)
    fault.before_end(stage)
    fault.ends(stage)
    wait_recovered(stage, time.monotonic())
    stage.producer.wait_for(ROUNDS)
    stage.producer.pause()
    wait_until(stage.received(), "everybody has received what is committed", PATIENCE_SECONDS)
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE_SECONDS * 1000)
    fresh = context.new_page()
    fresh.goto(page.url)
    wanted = acts(fresh)
    assert wanted[0] not in before
    wait_until(lambda: shown(page)[: len(wanted)] == wanted, "it shows what a fresh one shows", PATIENCE_SECONDS)
    assert not window.problems
    context.close()
    stage.producer.go_on()


def shown(page: Page) -> list[list[str]]:
    """The same after "Show", where that is offered: no row comes alone."""
    offered = page.get_by_test_id("pending").get_by_role("link", name="Show")
    if offered.is_visible():
        offered.click()
    return acts(page)


def acts(page: Page) -> list[list[str]]:
    """Of each notice which event it is, and its words. What else the producer says is of a type that no page knows."""
    rows: list[list[str]] = page.locator(".act", has_text="Notice").evaluate_all(
        "rows => rows.map(row => [row.dataset.key, row.querySelector('[data-row-link]').textContent])"
    )
    return rows


@pytest.mark.parametrize("seconds", [-SOME_SECONDS, SOME_SECONDS])
def test_tokens_of_a_clock_that_is_some_seconds_off_are_as_good_as_any(stage: Stage, seconds: int) -> None:
    page = stage.subscribers[0]
    page.go_away()
    refusals = len(page.refusals)
    tokens = stage.inside.tokens_by_a_clock(person=page.person.id, channels=page.channels, seconds=seconds)
    page.come_back(PATIENCE_SECONDS, tokens)
    assert page.refusals[refusals:] == []
    stage.expect_what_the_log_has()


@pytest.mark.parametrize("ended", ["connection", "subscriptions"])
def test_tokens_of_a_clock_too_far_behind_are_refused_for_that_and_the_page_comes_back_with_others(
    stage: Stage, ended: str
) -> None:
    page = stage.subscribers[0]
    page.go_away()
    refusals = len(page.refusals)
    behind, good = (
        stage.inside.tokens_by_a_clock(person=page.person.id, channels=page.channels, seconds=seconds)
        for seconds in (-TOO_FAR_SECONDS, 0)
    )
    page.come_back(PATIENCE_SECONDS, good | {ended: behind[ended]})
    assert any("token expired" in reason for reason in page.refusals[refusals:]), page.refusals[refusals:]
    stage.expect_what_the_log_has()


def test_each_notice_reached_everybody_once_whatever_happened_to_the_worker(stage: Stage) -> None:
    stage.producer.pause()
    for company, person in stage.people:

        def told() -> bool:
            counts = stage.inside.notices(tenant=company.id)  # noqa: B023
            return counts["sent"] > 0 and counts.get(person.id) == counts["sent"]  # noqa: B023

        wait_until(told, f"{person.name} was told of each", PATIENCE_SECONDS, every=0.2)
    wait_until(stage.received(), "everybody has received it", PATIENCE_SECONDS)
    stage.expect_what_the_log_has()
    assert stage.inside.dead_letters() == 0
