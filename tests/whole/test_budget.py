"""What a page may cost a browser that has nothing in its cache: requests, bytes, and nothing that jumps.

How long it takes is measured by `make bench`: here nothing depends on this machine's speed.
"""

import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Response, WebSocketRoute, expect

from tests.test_access_matrix import ROWS
from tests.whole.conftest import Window
from tests.whole.people import Company, Person, found_company
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
#: Once what has changed is on the screen, and the observer has been told.
PAINTED = "new Promise((told) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(told))))"
BLOCKED_BY = "performance.getEntriesByType('resource').filter((one) => one.renderBlockingStatus == 'blocking').length"


@dataclass
class Cost:
    """What one page came to until it was live, where it is, and had fetched all it wants."""

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
        page = one.open(path)
        if page.get_by_test_id("live-mark").count():  # what was searched for, for one, is not live
            live(page)
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


#: What the table of access lets Alice or Ada read and is no page: parts of one, files, and what answers machines.
#: Signing in and unsubscribing have pages without the shell: nothing on them is live.
NO_PAGES = {
    *("healthz", "readyz", "metrics", "ops/health/", "ops/tenant-names/", "notifications/unsubscribe/<str:token>/"),
    *(f"t/<slug:slug>/deployments/<int:number>/{part}/" for part in ("log", "log/lines", "log/search")),
    *(f"ops/deployments/<uuid:deployment_id>/{part}/" for part in ("log", "log/lines", "log/search")),
}


def pages_of(who: str) -> list[str]:
    """The routes of every page that this one may look at and who stands before them may not."""
    first = "alice" if who == "ada" else "nobody"
    read = {row.route: row for row in ROWS if row.method == "GET" and row.expected[who] == 200}
    return sorted(
        route
        for route, row in read.items()
        if row.expected.get(first) != 200 and route not in NO_PAGES and not route.startswith(("api/", "accounts/"))
    )


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


@pytest.fixture
def ada(platform: Platform) -> Person:
    """The platform's admin."""
    email = f"ada-{uuid4().hex[:8]}@neostack.example"
    return Person(platform, **platform.inside.make_person(name="Ada", email=email, is_staff=True, is_superuser=True))


@pytest.fixture
def filled(platform: Platform, busy: Company, alice: Person, ada: Person) -> Iterator[Callable[[str], str]]:
    """A route's address, with something of Alice's to look at: `filled("t/<slug:slug>/")`.

    Her other company has closed a month, so that it has invoices: one is paid.
    """
    other = found_company(platform, f"Initech {busy.slug}", f"initech-{busy.slug}")
    platform.inside.join(tenant=other.id, person=alice.id, role="tenant_admin")
    for company in (busy, other):
        platform.inside.begin_billing(tenant=company.id, plan="team")
        platform.inside.use(tenant=company.id, meter="deployment_minutes", quantity="1200")
    paid = platform.inside.issue_invoice(tenant=other.id, minor=4_900)
    platform.inside.pay(number=paid)
    number = platform.inside.close_period(tenant=other.id)
    busy.hire("Bob", "tenant_user")
    platform.inside.make_api_key(tenant=busy.id, scopes=["events:read"])
    disk = {"key": busy.slug, "name": "Disk", "severity": "critical", "message": "97 % full"}

    own_alert = platform.inside.raise_alert(tenant=None, **disk)

    def named(pattern: str, path: str, person: Person = alice) -> str:
        """What a link on that page names."""
        found = re.search(pattern, person.get(path).text)
        assert found, f"{path} has no link {pattern}"
        return found[1]

    def rule_of(tenant: str | None) -> str:
        return platform.inside.make_rule(tenant=tenant, name=f"Busy {busy.slug}", metric="cpu_percent", threshold=90)

    def policy_of(tenant: str | None) -> str:
        return platform.inside.make_policy(tenant=tenant, name=f"On call for {busy.slug}")

    projected, invoice = f"{busy.path}billing/projected/", f"{other.path}billing/invoices/{number}/"
    places = {
        "ops/monitoring/alerts/<uuid:alert_id>": f"ops/monitoring/alerts/{own_alert}",
        "ops/monitoring/rules/<uuid:rule_id>": f"ops/monitoring/rules/{rule_of(None)}",
        "ops/monitoring/policies/<uuid:policy_id>": f"ops/monitoring/policies/{policy_of(None)}",
        "invoices/<slug:number>/refund": f"invoices/{paid}/refund",
        "invoices/<slug:number>/lines/<int:position>": f"invoices/{number}/lines/{named(r'/lines/(.+?)/', invoice)}",
        "<slug:slug>/billing/invoices": f"{other.slug}/billing/invoices",
        "<slug:number>": number,
        "<int:position>": named(r"/projected/lines/(.+?)/", projected),
        "<slug:slug>": busy.slug,
        "<int:number>": "1",
        "<uuid:deployment_id>": named(r"/ops/deployments/([0-9a-f-]{36})/", f"/ops/tenants/{busy.slug}/", ada),
        "<slug:stack>": f"says-{busy.slug}",
        "<int:membership>": named(r"/members/(\d+)/remove/", f"{busy.path}members/"),
        "<uuid:key_id>": named(r"/keys/([0-9a-f-]{36})/revoke/", f"{busy.path}keys/"),
        "<uuid:event_id>": named(r"/ops/events/([0-9a-f-]{36})/", "/ops/events/", ada),
        "<uuid:alert_id>": platform.inside.raise_alert(tenant=busy.id, **disk),
        "<uuid:rule_id>": rule_of(busy.id),
        "<uuid:policy_id>": policy_of(busy.id),
    }

    def address(route: str) -> str:
        for name, value in places.items():
            route = route.replace(name, value)
        assert "<" not in route, f"A new page: say above what there is to look at on {route}"
        return f"/{route}"

    yield address
    platform.inside.resolve_alert(tenant=None, key=busy.slug)


@pytest.mark.once
def test_no_page_of_a_tenant_costs_more_than_its_budget(visited, filled, alice):
    """Nor of a person's own: every page that the table of access lets Alice open."""
    found = {route: visited(alice, filled(route)) for route in pages_of("alice")}
    assert "uplot.js" in found["t/<slug:slug>/"].names
    assert {route: above for route, one in found.items() if (above := one.exceeds())} == {}


@pytest.mark.once
def test_no_page_of_the_operations_portal_costs_more(visited, filled, ada):
    found = {route: visited(ada, filled(route)) for route in pages_of("ada")}
    assert {route: above for route, one in found.items() if (above := one.exceeds())} == {}


@pytest.mark.once
def test_what_is_taken_for_no_page_is_in_the_table():
    assert {row.route for row in ROWS if row.method == "GET"} >= NO_PAGES


def test_channels_that_come_up_one_by_one_move_nothing(window, platform, acme, alice):
    """As on a machine or a link that is slow enough for the page to be drawn in between."""
    alert = platform.inside.raise_alert(
        tenant=acme.id, key="disk", name="Disk", severity="critical", message="97 % full"
    )
    platform.wait_caught_up()
    one = window(alice)
    one.page.add_init_script(SHIFTS)
    slow = SlowSubscriptions(one.page)
    page = one.open(f"{acme.path}monitoring/alerts/{alert}/")
    while not slow.held:
        page.evaluate(PAINTED)
    page.evaluate(PAINTED)
    slow.release()
    page = live(page)
    page.evaluate(PAINTED)
    assert page.evaluate("window.shift") <= LAYOUT_SHIFT


class SlowSubscriptions:
    """Between the page and the engine: the reply to one subscription passes, the others are held until released."""

    def __init__(self, page: Page) -> None:
        self.held: list[str] = []
        self._has_passed = False
        page.route_web_socket(re.compile("^wss?:"), self._connect)

    def _connect(self, browser: WebSocketRoute) -> None:
        self._browser = browser
        browser.connect_to_server().on_message(self._answer)

    def _answer(self, message: str | bytes) -> None:
        for line in str(message).splitlines():
            if '"subscribe":' in line and self._has_passed:
                self.held.append(line)
            else:
                self._has_passed |= '"subscribe":' in line
                self._browser.send(line)

    def release(self) -> None:
        self._browser.send("\n".join(self.held))


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
