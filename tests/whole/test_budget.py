"""What a page may cost a browser that has nothing in its cache: requests, bytes, and nothing that jumps.

How long it takes is measured by `make bench`: here nothing depends on this machine's speed.
"""

import gzip
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Response, expect

from tests.whole.conftest import Window
from tests.whole.people import Company, Person
from tests.whole.platform import Platform

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds
#: And the WebSocket.
REQUESTS = 14
#: By Playwright's `resource_type`, compressed; KB are 1024 bytes.
BUDGET_KB = {"document": 30, "stylesheet": 40, "script": 80}
SCRIPT_WITH_CHARTS_KB = 105
LAYOUT_SHIFT = 0.02
#: What holds up the first picture: two style sheets and one of the page's own, and the theme before them.
BLOCKING = 4

SHIFTS = """window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });"""
BLOCKED_BY = "performance.getEntriesByType('resource').filter((one) => one.renderBlockingStatus == 'blocking').length"


@dataclass
class Cost:
    """What one page came to until it was live and had fetched all it wants."""

    names: list[str]
    kb: dict[str, float]
    shift: float
    blocking: int

    def exceeds(self) -> list[str]:
        """What is above the budget, each as a sentence."""
        allowed = BUDGET_KB | ({"script": SCRIPT_WITH_CHARTS_KB} if "uplot.js" in self.names else {})
        found = [f"{kb:.1f} KB of {kind}" for kind, kb in self.kb.items() if kb > allowed[kind]]
        found += [f"{len(self.names)} requests: {' '.join(self.names)}"] if len(self.names) > REQUESTS else []
        found += [f"content moved by {self.shift}"] if self.shift > LAYOUT_SHIFT else []
        return found + ([f"{self.blocking} requests hold up the first picture"] if self.blocking > BLOCKING else [])


@pytest.fixture
def visited(window: Callable[..., Window]) -> Callable[[Person, str], Cost]:
    def visit(person: Person, path: str) -> Cost:
        one = window(person)
        one.page.add_init_script(SHIFTS)
        answers: list[Response] = []
        one.page.on("response", lambda answer: answers.append(answer))
        page = live(one.open(path))
        page.wait_for_load_state("networkidle")
        found = cost(page, answers)
        one.context.close()
        return found

    return visit


def live(page: Page) -> Page:
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)
    return page


def cost(page: Page, answers: list[Response]) -> Cost:
    sizes: Counter[str] = Counter()
    for answer in answers:
        if (kind := answer.request.resource_type) in BUDGET_KB:
            sizes[kind] += len(gzip.compress(answer.body()))
    names = [answer.url.partition("?")[0].rpartition("/")[2] or "page" for answer in answers]
    kb = {kind: size / 1024 for kind, size in sizes.items()}
    return Cost(names, kb, page.evaluate("window.shift"), page.evaluate(BLOCKED_BY))


@pytest.fixture
def busy(platform: Platform, acme: Company, alice: Person) -> Company:
    """A company with a deployment, samples, and something in Alice's inbox."""
    stack = f"says-{acme.slug}"
    platform.inside.make_stack(slug=stack, name=stack, steps=[{"name": "say", "command": ["echo", "hello"]}])
    platform.inside.deploy(tenant=acme.id, by=alice.id, stack=stack)
    for name in ("cpu_percent", "memory_percent"):
        platform.inside.measure(tenant=acme.id, name=name, count=2)
    platform.inside.send_notices(tenant=acme.id, by=alice.id, count=3)
    platform.wait_caught_up()
    return acme


@pytest.mark.once
def test_no_page_of_a_tenant_costs_more_than_its_budget(visited, busy, alice):
    paths = ["", "deployments/", "deployments/1/", "monitoring/", "activity/", "members/"]
    found = {path: visited(alice, busy.path + path) for path in paths} | {
        "inbox": visited(alice, "/notifications/"),
        "preferences": visited(alice, "/notifications/preferences/"),
    }
    assert "uplot.js" in found[""].names
    assert {path: above for path, one in found.items() if (above := one.exceeds())} == {}


@pytest.mark.once
def test_no_page_of_the_operations_portal_costs_more(visited, busy, platform):
    email = f"ada-{uuid4().hex[:8]}@neostack.example"
    ada = Person(platform, **platform.inside.make_person(name="Ada", email=email, is_superuser=True))
    paths = ["/ops/", f"/ops/tenants/{busy.slug}/", "/ops/deployments/", "/ops/monitoring/", "/ops/events/"]
    found = {path: visited(ada, path) for path in paths}
    assert {path: above for path, one in found.items() if (above := one.exceeds())} == {}


#: Before any script of the page runs.
COMES_WITH = """document.addEventListener("readystatechange", () => {
  const config = document.getElementById("live-config");
  config.textContent = JSON.stringify({ ...JSON.parse(config.textContent), tokens: %s });
}, { once: true });"""


def test_a_page_that_was_kept_until_its_tokens_ended_asks_for_others(window, platform, acme, alice):
    own = [*map(acme.channel, ("dashboard", "activity", "notifications")), f"user:{alice.id}:inbox"]
    one = window(alice)
    one.page.add_init_script(COMES_WITH % platform.inside.ended_tokens(person=alice.id, channels=own))
    asked: list[str] = []
    one.page.on("request", lambda request: asked.append(request.url.removeprefix(platform.url)))
    live(one.open(acme.path))
    assert "/api/realtime/token" in asked
    assert "/api/realtime/subscriptions" in asked
