"""The log of a page in a real browser: lines come repeated, late, with gaps and by the thousand."""

import json
import shutil

import pytest
from django.utils import timezone
from django_scopes import scope
from playwright.sync_api import Page, Route

from deployments.models import LogBlock
from tests.replay import SITE, browser_page

pytestmark = [
    pytest.mark.once,  # what a page's script does knows neither database nor engine
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed"),
]

START = """async () => {
  const { start } = await import("/static/js/log.js");
  const section = document.getElementById("log");
  window.live = { onEvent: (handler) => (live.give = handler), onCatchUp: (run) => (live.catchUp = run) };
  window.write = (line, ...texts) =>
    live.give(
      { type: "deployment_log", line, log: texts.join("\\n"), level: "info", timestamp: "2026-11-23T15:04:05Z" },
      section.dataset.log,
    );
  start(section, live, () => {});
}"""
AT_END = "view => view.scrollTop + view.clientHeight >= view.scrollHeight - 4"
NUMBERS = "() => [...document.querySelectorAll('.l')].map((line) => Number(line.id.slice(1)))"


@pytest.fixture
def detail_page(alice, acme_deployment) -> str:
    """The page of a deployment that wrote three lines so far."""
    write(acme_deployment, 1, 3)
    return alice.get("/t/acme/deployments/1/").content.decode()


def write(deployment, first: int, count: int) -> None:
    with scope(tenant=deployment.tenant):
        LogBlock.objects.create(
            tenant=deployment.tenant,
            deployment=deployment,
            first_line=first,
            line_count=count,
            at=timezone.now(),
            level="info",
            text="\n".join(f"line {number}" for number in range(first, first + count)),
        )


def open_log(page: Page) -> None:
    page.goto(f"{SITE}/")
    page.evaluate(START)


def serve_lines(page: Page, last: int) -> None:
    """The server's answer for `after` and `limit`, of a log that has `last` lines."""

    def answer(route: Route) -> None:
        asked = dict(part.split("=") for part in route.request.url.partition("?")[2].split("&"))
        after, limit = int(asked["after"]), int(asked["limit"])
        numbers = range(after + 1, min(last, after + limit) + 1)
        lines = [[number, "info", "2026-11-23T15:04:05Z", f"line {number}"] for number in numbers]
        route.fulfill(body=json.dumps({"lines": lines, "last": last}), content_type="application/json")

    page.route("**/log/lines/**", answer)


def test_lines_that_come_again_are_not_doubled(detail_page):
    with browser_page({"/": detail_page}) as page:
        open_log(page)
        page.evaluate("() => { write(2, 'b', 'c', 'd', 'e'); write(4, 'd', 'e', 'f'); write(1, 'a'); write(7, 'g'); }")
        page.wait_for_selector("#L7")
        assert page.evaluate(NUMBERS) == [1, 2, 3, 4, 5, 6, 7]
        assert page.inner_text("#L3 span") == "line 3"


def test_lines_that_are_missing_say_so_until_they_are_loaded(detail_page):
    with browser_page({"/": detail_page}) as page:
        serve_lines(page, last=12)
        open_log(page)
        page.evaluate("() => write(10, 'x', 'y', 'z')")
        page.wait_for_selector("#L12")
        assert page.evaluate(NUMBERS) == [1, 2, 3, 10, 11, 12]
        assert page.inner_text("[data-gap]").startswith("Lines 4–9 missing")
        page.click("[data-gap] a")
        page.wait_for_selector("#L9")
        assert page.evaluate(NUMBERS) == list(range(1, 13))
        assert page.locator("[data-gap]").count() == 0


def test_after_a_loss_it_asks_for_the_lines_after_its_last_and_events_meanwhile_wait(detail_page):
    with browser_page({"/": detail_page}) as page:
        serve_lines(page, last=2_500)
        open_log(page)
        page.evaluate("() => { const done = live.catchUp(); write(2499, 'again', 'again', 'new'); return done; }")
        page.wait_for_selector("#L2501", state="attached")
        assert page.evaluate(NUMBERS) == list(range(1, 2_502))


def test_whoever_scrolled_up_stays_there_and_is_told_how_much_is_new(detail_page):
    with browser_page({"/": detail_page}) as page:
        open_log(page)
        page.evaluate("() => write(4, ...Array.from({ length: 500 }, (_, i) => `line ${i + 4}`))")
        page.wait_for_selector("#L503")
        view = page.locator("[data-log-view]")
        view.hover()
        page.mouse.wheel(0, -4_000)
        page.wait_for_selector("[data-log-follow][aria-pressed=false]")
        before = view.evaluate("view => view.scrollTop")
        page.evaluate("() => write(504, 'a', 'b')")
        page.wait_for_selector("#L505", state="attached")
        assert page.inner_text("[data-new-lines]").strip() == "2 new lines"
        assert view.evaluate("view => view.scrollTop") == before
        page.click("[data-new-lines]")
        page.wait_for_selector("[data-log-follow][aria-pressed=true]")
        page.wait_for_function(f"({AT_END})(document.querySelector('[data-log-view]'))")


def test_ten_thousand_lines_arrive_whole_and_in_order(detail_page):
    with browser_page({"/": detail_page}) as page:
        open_log(page)
        page.evaluate(
            "() => { for (let line = 4; line <= 10000; line += 10) "
            "write(line, ...Array.from({ length: Math.min(10, 10001 - line) }, (_, i) => `line ${line + i}`)); }"
        )
        page.wait_for_selector("#L10000", timeout=60_000)
        assert page.evaluate(NUMBERS) == list(range(1, 10_001))
        assert page.inner_text("[data-line-count]") == "10000"


def test_what_a_deployment_prints_is_text_never_markup(detail_page):
    with browser_page({"/": detail_page}) as page:
        open_log(page)
        page.evaluate("() => write(4, '\\u001b[31m<img src=x onerror=alert(1)>\\u001b[0m done\\rreally done')")
        page.wait_for_selector("#L4")
        assert page.inner_text("#L4 span") == "really done"
        page.evaluate("() => write(5, '\\u001b[31m<img src=x>\\u001b[0m')")
        page.wait_for_selector("#L5 .ansi-red-fg")
        assert page.inner_text("#L5 .ansi-red-fg") == "<img src=x>"
