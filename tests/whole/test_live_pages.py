"""Alice in two windows, Charlie in a third: pages move together, stay apart, and never lie about being live."""

import re
import sys
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.whole.accessibility import looked_at
from tests.whole.conftest import Window
from tests.whole.people import Company
from tests.whole.platform import Platform, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.spine]

LINES = 150  # fewer than a fresh page shows at once
SECONDS_FOR_A_RUN = 30_000  # of patience, in milliseconds
FRESH_PARTS = ["#deployment", "#steps", "#history", "[data-log-view]"]


@pytest.fixture
def stack(platform: Platform, acme: Company) -> str:
    """An approved stack whose log takes a few seconds."""
    script = f"import time\nfor n in range({LINES}): print('line', n, flush=True); time.sleep(0.04)"
    slug = f"talker-{acme.slug}"
    steps = [{"name": "talk", "command": [sys.executable, "-c", script]}]
    platform.inside.make_stack(slug=slug, name=f"Talker of {acme.slug}", steps=steps)
    return slug


def press_deploy(window: Window, company: Company, stack: str) -> str:
    """Deploy the stack from its page. Returns the path of the new deployment's page."""
    page = window.open(f"{company.path}deployments/new/?stack={stack}")
    page.get_by_role("button", name="Deploy").click()
    page.wait_for_url(re.compile(r"/deployments/\d+/$"))
    return page.url.removeprefix(window.url)


def line_numbers(page: Page) -> list[int]:
    return page.eval_on_selector_all("[data-log-view] [data-n]", "nodes => nodes.map(node => Number(node.dataset.n))")


def status(page: Page) -> Any:
    return page.locator("#deployment").get_by_test_id("status")


def mark(page: Page) -> Any:
    return page.get_by_test_id("live-mark")


def expect_ended(page: Page, word: str = "Completed") -> None:
    expect(status(page)).to_have_text(word, timeout=SECONDS_FOR_A_RUN)
    every_line = list(range(1, LINES + 1))
    wait_until(lambda: len(line_numbers(page)) >= LINES, "every line is there")
    assert line_numbers(page) == every_line


def shown(page: Page) -> dict[str, str]:
    """What a person reads, without what depends on the moment of looking."""
    return {part: " ".join(page.locator(part).inner_text().split()) for part in FRESH_PARTS}


def test_what_one_window_starts_moves_in_both_and_not_at_charlies(window, alice, charlie, acme, globex, stack):
    charlies = window(charlie)
    heard: list[str] = []
    charlies.page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: heard.append(str(frame))))
    page = charlies.open(f"{globex.path}deployments/")
    expect(mark(page)).to_contain_text("Live")
    before = page.locator("main").inner_text()

    first, second = window(alice), window(alice)
    overview = second.open(f"{acme.path}deployments/")
    expect(mark(overview)).to_contain_text("Live")
    path = press_deploy(first, acme, stack)
    expect(overview.locator("#deployments")).to_contain_text("1 new")
    second.open(path)

    for each in (first, second):
        expect(status(each.page)).to_have_text("Running", timeout=SECONDS_FOR_A_RUN)
        expect(mark(each.page)).to_contain_text("Live")
    for each in (first, second):
        expect_ended(each.page)
    assert shown(first.page) == shown(second.page)

    assert page.locator("main").inner_text() == before
    assert not [frame for frame in heard if acme.id in frame]
    assert charlie.get(path).status_code == 404


def test_the_engine_is_killed_and_comes_back_and_the_page_is_as_a_fresh_one(window, platform, alice, acme, stack):
    watching = window(alice)
    watching.expects_outage = True
    path = press_deploy(watching, acme, stack)
    wait_until(lambda: len(line_numbers(watching.page)) > LINES // 10, "the log moves")
    platform.kill_every("engine")
    expect(mark(watching.page)).not_to_contain_text("Live")
    expect(mark(watching.page)).to_contain_text(re.compile(r"Every 30 s · \d\d:\d\d:\d\d"), timeout=15_000)
    platform.start_every("engine")
    expect(mark(watching.page)).to_contain_text("Live", timeout=SECONDS_FOR_A_RUN)
    expect_ended(watching.page)

    fresh = window(alice)
    fresh.open(path)
    expect(mark(fresh.page)).to_contain_text("Live")
    expect_ended(fresh.page)
    assert shown(watching.page) == shown(fresh.page)


@pytest.mark.once
def test_without_javascript_everything_is_there(window, platform, acme, stack):
    acme.hire("Alice", "tenant_admin")
    plain = window(java_script_enabled=False)
    page = plain.open("/accounts/login/")
    page.get_by_label("E-mail").fill(f"alice@{acme.slug}.example")
    page.get_by_label("Password").fill("correct-horse-battery")
    page.get_by_role("button", name="Sign in").click()
    path = press_deploy(plain, acme, stack)

    def has_ended() -> bool:
        page.goto(plain.url + path)
        return status(page).inner_text() == "Completed"

    wait_until(has_ended, "a reload says Completed", 30, every=0.5)
    assert line_numbers(page)[-1] == LINES
    page.goto(plain.url + acme.path + "deployments/")
    expect(page.locator("main")).to_contain_text("Completed")
    expect(mark(page)).to_contain_text("As of")


def test_with_the_engine_off_pages_render_and_say_that_they_poll(window, platform, alice, acme, stack):
    platform.kill_every("engine")
    quiet = window(alice)
    quiet.expects_outage = True
    page = quiet.open(f"{acme.path}deployments/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Deployments")
    expect(mark(page)).to_contain_text(re.compile(r"Every 30 s · \d\d:\d\d:\d\d"))


@pytest.mark.once
def test_no_page_keeps_anybody_out(window, platform, alice, acme, stack):
    one = window(alice)
    path = press_deploy(one, acme, stack)
    expect_ended(one.page)
    stranger = window()
    visits = [(one, address) for address in (path, "/", acme.path, f"{acme.path}deployments/", f"{acme.path}activity/")]
    visits += [(one, f"{acme.path}deployments/new/"), (one, f"{acme.path}deployments/new/?stack={stack}")]
    visits += [(stranger, "/accounts/login/"), (stranger, "/accounts/password/reset/")]
    found = {address: looked_at(seen.open(address)) for seen, address in visits}
    assert not {address: problems for address, problems in found.items() if problems}
