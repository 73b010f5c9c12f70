"""A tenant's home in a browser: figures and charts that move with a posted sample, and are read by keyboard."""

import re
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.whole.accessibility import violations
from tests.whole.conftest import Window
from tests.whole.people import Company
from tests.whole.platform import Platform

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds
MINUTE = 60
CLS_BUDGET = 0.02
UNITS = {"cpu_percent": "%", "memory_percent": "%", "network_in_bytes_per_second": "B/s"}


class Agent:
    """Sends samples with a key, as a service would."""

    def __init__(self, platform: Platform, company: Company) -> None:
        self.url = f"{platform.url}/api/monitoring/metrics"
        secret = platform.inside.make_api_key(tenant=company.id, scopes=["metrics:write"])
        self.headers = {"Authorization": f"Api-Key {secret}"}

    def send(self, *, age: float = 0, **values: float) -> None:
        self.send_all((age, values))

    def send_all(self, *batches: tuple[float, dict[str, float]]) -> None:
        """Each batch with its age in seconds, all in one request."""
        samples = [
            {"name": name, "value": value, "unit": UNITS[name], "at": moment(age)}
            for age, values in batches
            for name, value in values.items()
        ]
        httpx.post(self.url, json={"samples": samples}, headers=self.headers, timeout=20).raise_for_status()


def moment(age: float) -> str:
    return datetime.fromtimestamp(time.time() - age, UTC).isoformat()


@pytest.fixture
def agent(platform: Platform, acme: Company) -> Agent:
    """It has sent samples for an hour, but for ten minutes in the middle."""
    made = Agent(platform, acme)
    minutes = [*range(55, 35, -1), *range(25, 0, -1)]
    made.send_all(*((one * MINUTE, {"cpu_percent": 20 + one % 7, "memory_percent": 60}) for one in minutes))
    made.send(cpu_percent=12.34, memory_percent=61, network_in_bytes_per_second=1_500_000)
    return made


def open_live(window: Window, company: Company, query: str = "") -> Page:
    page = window.open(company.path + query)
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)
    return page


def figure(page: Page, name: str) -> Any:
    return page.locator(f'[data-metric="{name}"] [data-field=value]')


def times(page: Page) -> dict[str, str]:
    """When each figure was measured, as the page says it."""
    return page.locator("#figure-list [data-metric]").evaluate_all(
        "found => Object.fromEntries(found.map(one => [one.dataset.metric, one.querySelector('time').dateTime]))"
    )


def test_figures_and_charts_move_with_a_posted_sample_and_no_request(window, acme, alice, agent):
    one = window(alice)
    page = open_live(one, acme)
    expect(figure(page, "cpu_percent")).to_have_text("12.3 %")
    chart = page.get_by_test_id("chart").first
    expect(chart.locator("canvas")).to_be_visible()
    before = chart.locator("[data-line=memory_percent] [data-field=value]").inner_text()
    sampled_at = times(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    agent.send(cpu_percent=98.7, memory_percent=99)
    expect(figure(page, "cpu_percent")).to_have_text("98.7 %", timeout=PATIENCE)
    expect(chart.locator("[data-line=memory_percent] [data-field=value]")).not_to_have_text(before)
    assert asked == []
    said = times(page)
    changed = {name for name in said if said[name] != sampled_at[name]}
    assert changed == {"cpu_percent", "memory_percent"}, "no network sample came: its time stands"
    assert times(open_live(one, acme)) == said


def test_bob_sees_the_same_figures_and_charlie_none_of_them(window, platform, acme, globex, bob, charlie, agent):
    page = open_live(window(bob), acme)
    charlies = open_live(window(charlie), globex)
    agent.send(cpu_percent=55.5)
    expect(figure(page, "cpu_percent")).to_have_text("55.5 %", timeout=PATIENCE)
    assert page.get_by_test_id("activity").count() == 0
    expect(charlies.get_by_test_id("samples")).to_have_text("No samples yet")
    assert charlies.get_by_test_id("chart").count() == 0


@pytest.mark.once
def test_arrow_keys_go_through_the_moments_of_every_chart_and_say_them(window, acme, alice, agent):
    page = open_live(window(alice), acme)
    expect(page.get_by_test_id("chart").first.locator("canvas")).to_be_visible()
    page.locator("[data-plot]").first.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    moment = page.locator("[data-field=moment]")
    expect(moment).to_have_text(re.compile(r"^\d\d:\d\d$"))
    said = page.locator("#announcer")
    expect(said).to_have_text(re.compile(r"^\d\d:\d\d, CPU \d+\.\d %, Memory 60\.0 %$"))
    other = page.get_by_test_id("chart").nth(1)
    expect(other.locator("[data-line] [data-field=value]")).to_have_text("no samples")
    expect(other.locator(".u-cursor-x")).not_to_have_class(re.compile("u-off"))
    page.keyboard.press("Escape")
    expect(moment).to_have_text("Latest")
    expect(other.locator("[data-line] [data-field=value]")).to_have_text("1.50 MB/s")


@pytest.mark.once
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_home_with_charts_keeps_nobody_out_and_nothing_moves(window, acme, alice, agent, theme, width):
    one = window(alice, color_scheme=theme, viewport={"width": width, "height": 900}, reduced_motion="reduce")
    one.page.add_init_script(
        """window.shift = 0;
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
        }).observe({ type: "layout-shift", buffered: true });"""
    )
    page = open_live(one, acme)
    expect(page.get_by_test_id("chart").first.locator("canvas")).to_be_visible()
    assert violations(page) == []
    agent.send(cpu_percent=100, memory_percent=100)
    expect(figure(page, "cpu_percent")).to_have_text("100.0 %", timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("window.shift") < CLS_BUDGET
    page = open_live(one, acme, "?view=table")
    assert violations(page) == []


@pytest.mark.once
def test_without_javascript_there_are_figures_a_sketch_and_the_table(window, acme, alice, agent):
    page = window(alice, java_script_enabled=False).open(acme.path)
    expect(figure(page, "cpu_percent")).to_have_text("12.3 %")
    expect(page.locator(".sketch path").first).to_be_visible()
    page.get_by_role("link", name="Show as table").click()
    expect(page.locator("#chart-table tbody tr").first).to_contain_text("%")


def test_samples_that_stop_are_not_a_link_that_is_lost(window, platform, acme, alice):
    agent = Agent(platform, acme)
    agent.send(age=40, cpu_percent=10)
    one = window(alice)
    one.expects_outage = True
    page = open_live(one, acme)
    samples = page.get_by_test_id("samples")
    expect(samples).to_have_text("Samples arrive")
    expect(samples).to_have_text(re.compile(r"No samples since \d\d:\d\d:\d\d UTC"), timeout=PATIENCE)
    expect(page.locator("[data-verdict]")).to_have_text("1 thing needs you")
    expect(page.get_by_test_id("live-mark")).to_have_text("Live")
    one.context.set_offline(True)
    expect(page.get_by_test_id("live-mark")).to_contain_text("Offline since", timeout=PATIENCE)
    expect(samples).to_contain_text("Not known since", timeout=PATIENCE)
    one.context.set_offline(False)
    agent.send(cpu_percent=11)
    expect(samples).to_have_text("Samples arrive", timeout=PATIENCE)
    expect(page.locator("[data-verdict]")).to_have_text("Nothing needs you")
    expect(figure(page, "cpu_percent")).to_have_text("11.0 %", timeout=PATIENCE)
