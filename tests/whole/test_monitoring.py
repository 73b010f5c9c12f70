"""Alerts and metrics, at a tenant and at the platform's admins, in both windows at once; and from a real Prometheus."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.whole.accessibility import looked_at
from tests.whole.alertmanager import Watcher
from tests.whole.conftest import Window
from tests.whole.people import Company, Person
from tests.whole.platform import Platform, wait_until
from tests.whole.test_home import Agent, figure
from tests.whole.topology import Topology

pytestmark = pytest.mark.browser

PATIENCE = 60_000  # milliseconds
#: Were a worker killed by a test before, its alert comes back and is damped: it stays open for a minute or two longer.
DAMPED = 240_000


@pytest.fixture
def ada(platform: Platform) -> Person:
    email = f"ada-{uuid4().hex[:8]}@neostack.example"
    return Person(platform, **platform.inside.make_person(name="Ada", email=email, is_staff=True, is_superuser=True))


def opened(window: Callable[..., Window], person: Person, path: str) -> Page:
    page = window(person).open(path)
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)
    return page


def alert_of(page: Page, text: str) -> Any:
    return page.locator("#open-alerts").get_by_test_id("alert").filter(has_text=text)


def expect_new(page: Page, text: str) -> None:
    """It waits behind Show, and stands there after."""
    pending = page.locator("#firing").get_by_test_id("pending")
    expect(pending).to_contain_text("new", timeout=PATIENCE)
    pending.get_by_role("link", name="Show").click()
    expect(alert_of(page, text)).to_be_visible(timeout=PATIENCE)


def expect_unread(page: Page, count: int) -> None:
    expect(page.get_by_test_id("bell")).to_have_attribute("data-unread", str(count), timeout=PATIENCE)


def test_an_alert_comes_to_alice_and_ada_and_who_looks_after_it_too(window, platform, acme, alice, ada):
    platform.wait_caught_up()
    at_acme, at_ops = opened(window, alice, f"{acme.path}monitoring/"), opened(window, ada, "/ops/monitoring/")
    home = opened(window, alice, acme.path)
    unread = int(at_acme.get_by_test_id("bell").get_attribute("data-unread") or 0)
    expect(at_acme.get_by_test_id("verdict")).to_have_text("Nobody has to act")
    expect(home.locator("[data-field=alerts]")).to_have_text("No alert fires", timeout=PATIENCE)
    name = f"Disk of {acme.slug}"
    platform.inside.raise_alert(tenant=acme.id, key="disk", name=name, severity="critical", message="97 % full")
    expect(at_acme.get_by_test_id("verdict")).to_have_text("1 alert needs somebody", timeout=PATIENCE)
    expect(home.locator("[data-field=alerts]")).to_have_text("1 alert fires", timeout=PATIENCE)
    expect(home.locator("[data-verdict]")).to_have_text("1 thing needs you", timeout=PATIENCE)
    for page in (at_acme, at_ops):
        expect_new(page, name)
        expect(alert_of(page, name).get_by_test_id("state")).to_have_text("Firing")
    expect(at_acme).to_have_title(f"1 firing · Monitoring · {acme.name} · NEO_STACK")
    expect_unread(home, unread + 1)

    # Who looks after it knows: nobody is told.
    alert_of(at_acme, name).get_by_role("button", name=f"Acknowledge {name}").click()
    expect(at_acme.get_by_test_id("undo")).to_contain_text(f"You look after {name} now", timeout=PATIENCE)
    for page in (at_acme, at_ops):
        expect(alert_of(page, name).get_by_test_id("standing")).to_have_text("Alice looks after it", timeout=PATIENCE)
    expect(home.locator("[data-field=alerts]")).to_have_text("No alert fires", timeout=PATIENCE)
    platform.wait_caught_up()
    expect_unread(home, unread + 1)
    at_acme.get_by_role("button", name="Undo").click()
    expect(alert_of(at_ops, name).get_by_test_id("standing")).to_have_text("Nobody looks after it", timeout=PATIENCE)
    expect_unread(home, unread + 2)

    platform.inside.resolve_alert(tenant=acme.id, key="disk")
    for page in (at_acme, at_ops):
        expect(alert_of(page, name).get_by_test_id("state")).to_have_text("Resolved", timeout=PATIENCE)
    expect(at_acme.get_by_test_id("verdict")).to_have_text("Nobody has to act", timeout=PATIENCE)
    expect(home.locator("[data-verdict]")).to_have_text("Nothing needs you", timeout=PATIENCE)
    platform.wait_caught_up()
    for page in (home, at_acme):
        expect_unread(page, unread + 3)
    assert platform.inside.inbox(person=alice.id)["unread"] == unread + 3
    assert name not in ada.get("/notifications/").text, "it is Acme's to look after"


def test_a_silence_by_matchers_is_seen_before_it_is_made_and_then_in_every_window(window, platform, acme, alice, ada):
    """Alice's, and then Ada's of what is the platform's own."""
    name = f"Disk of {acme.slug}"
    for owner in (acme.id, None):
        platform.inside.raise_alert(tenant=owner, key=acme.slug, name=name, severity="error", message="97 % full")
    others = opened(window, alice, f"{acme.path}monitoring/"), opened(window, ada, "/ops/monitoring/")
    lists = "#open-alerts", "#own"
    try:
        for person, path, other, its in zip((alice, ada), (f"{acme.path}", "/ops/"), others, lists, strict=True):
            page = window(person).open(f"{path}monitoring/")
            page.get_by_test_id("silences").get_by_role("link", name="New silence").first.click()
            write = page.get_by_label("Matchers")
            write.fill(f"alertname {acme.slug}")
            page.get_by_role("button", name="Preview").click()
            expect(page.get_by_test_id("error-summary")).to_be_focused(timeout=PATIENCE)
            expect(page.get_by_test_id("error-summary")).to_contain_text("Line 1: no operator in it.")
            expect(write).to_have_value(f"alertname {acme.slug}")
            write.fill(f"alertname ~ *{acme.slug}")
            page.get_by_role("button", name="Preview").click()
            expect(page.get_by_test_id("preview")).to_be_focused(timeout=PATIENCE)
            expect(page.get_by_test_id("preview")).to_contain_text("It would silence 1 alert now")
            expect(page.get_by_test_id("preview").get_by_test_id("alert")).to_contain_text(name)
            page.get_by_label("Why").fill("A bigger one is on its way")
            page.get_by_role("button", name="Silence", exact=True).click()
            expect(page.get_by_test_id("undo")).to_contain_text(f"name like “*{acme.slug}”", timeout=PATIENCE)

            mine = other.locator(its).get_by_test_id("alert").filter(has_text=name)
            there = other.get_by_test_id("silence-row").filter(has_text=acme.slug)
            expect(mine.get_by_test_id("state")).to_have_text("Silenced", timeout=PATIENCE)
            expect(there).to_contain_text("A bigger one is on its way", timeout=PATIENCE)
            page.get_by_role("button", name="Undo").click()
            expect(mine.get_by_test_id("state")).to_have_text("Firing", timeout=PATIENCE)
            expect(there).to_have_count(0, timeout=PATIENCE)
    finally:
        platform.inside.resolve_alert(tenant=None, key=acme.slug)


@pytest.mark.faults
def test_a_worker_that_dies_alerts_the_operations_portal_until_it_is_back(window, platform, ada):
    page = opened(window, ada, "/ops/monitoring/")
    own = page.get_by_test_id("own").get_by_test_id("alert").filter(has_text="Worker: silent since")
    late = page.get_by_test_id("own").get_by_test_id("alert").filter(has_text="events wait since")
    expect(own).to_have_count(0)
    expect(late).to_have_count(0, timeout=DAMPED)
    platform.kill_every("worker")
    expect(own).to_be_visible(timeout=PATIENCE)
    expect(own.get_by_test_id("state")).to_have_text("Firing")
    expect(own.get_by_text("Critical")).to_be_visible()
    expect_new(page, "Worker: silent since")
    # What waits for it is shown, and is no alert.
    wait_until(lambda: "events wait since" in ada.get("/ops/health/").text, "handlers are late", 60, every=0.5)
    page.wait_for_timeout(3_000)  # pulse looks once a second
    expect(late).to_have_count(0)

    # Whoever is told of it hears it by a worker, when there is one again.
    platform.start_every("worker")
    row = alert_of(page, "Worker: silent since")
    expect(row.get_by_test_id("state")).to_have_text("Resolved", timeout=DAMPED)
    expect(own).to_have_count(0, timeout=PATIENCE)
    expect(page.get_by_test_id("bell")).not_to_have_attribute("data-unread", "0", timeout=PATIENCE)
    for said in ("Worker fires", "Worker is over"):
        wait_until(lambda said=said: said in ada.get("/notifications/").text, f"Ada reads: {said}", 60, every=0.5)


def test_a_sample_moves_alices_home_and_what_ada_sees_of_acme_and_of_the_platform(window, platform, acme, alice, ada):
    agent = Agent(platform, acme)
    agent.send(cpu_percent=12.34)
    at_acme, of_acme = opened(window, alice, acme.path), opened(window, ada, f"/ops/tenants/{acme.slug}/")
    at_ops = opened(window, ada, "/ops/")
    for page in (at_acme, of_acme):
        expect(figure(page, "cpu_percent")).to_have_text("12.3 %")
    asked: list[str] = []
    of_acme.on("request", lambda request: asked.append(request.url))
    told = version_of(at_ops)

    agent.send(cpu_percent=98.7)
    for page in (at_acme, of_acme):
        expect(figure(page, "cpu_percent")).to_have_text("98.7 %", timeout=PATIENCE)
        expect(page.get_by_test_id("samples")).to_have_text("Samples arrive")
    assert asked == []
    wait_until(lambda: version_of(at_ops) > told, "the platform's events a second move")


def version_of(operations: Page) -> int:
    """Of the platform's figures, as they stand on the page."""
    return int(operations.locator("#vital-events").get_attribute("data-version") or 0)


@pytest.mark.once
def test_what_prometheus_finds_and_alertmanager_tells_stands_on_both_pages(
    window, platform, acme, alice, ada, tmp_path
):
    if isinstance(platform, Topology):
        pytest.skip("Here one web process is scraped, without a key")
    if not Watcher.is_here():
        pytest.skip("Prometheus and Alertmanager are not installed")
    name = f"Lost {acme.slug}"
    rule = {
        "alert": name,
        "expr": "sum by (job) (increase(neostack_requests_total{status='4xx'}[8s])) > 0",
        "labels": {"severity": "critical"},
        "annotations": {"summary": "Somebody asks {{ $labels.job }} for what is not there."},
    }
    watcher = Watcher(platform, tmp_path, rule)
    at_acme, at_ops = opened(window, alice, f"{acme.path}monitoring/"), opened(window, ada, "/ops/monitoring/")
    try:
        watcher.open(platform.inside.make_api_key(tenant=acme.id, scopes=["alerts:write"]))

        def it_is_told() -> bool:
            alice.get(f"/no/such/{uuid4().hex}")
            return bool(platform.inside.open_alerts(tenant=acme.id))

        wait_until(it_is_told, "the alert fires", 60, every=0.25)
        for page in (at_acme, at_ops):
            expect_new(page, name)
            row = alert_of(page, name)
            expect(row).to_contain_text("Somebody asks web for what is not there.")
            expect(row).to_contain_text("Critical")
        for page in (at_acme, at_ops):
            expect(alert_of(page, name).get_by_test_id("state")).to_have_text("Resolved", timeout=PATIENCE)
    except AssertionError as failed:
        raise AssertionError(f"{failed}\n{watcher.last_words()}") from failed
    finally:
        watcher.close()


def test_one_series_is_chosen_without_script_and_stays_over_the_ranges(window, platform, acme, alice):
    for metric in ("cpu_percent", "memory_percent"):
        platform.inside.measure(tenant=acme.id, name=metric, count=2)
    page = window(alice, java_script_enabled=False).open(f"{acme.path}monitoring/")
    page.get_by_label("Series", exact=True).select_option("memory_percent")
    page.get_by_role("button", name="Show", exact=True).click()
    legend = page.locator(".legend [data-line]")
    expect(legend).to_have_count(1)
    expect(legend).to_contain_text("Memory")
    page.get_by_role("navigation", name="Range").get_by_role("link", name="24h").click()
    expect(page.get_by_role("navigation", name="Range").locator("[aria-current]")).to_have_text("24h")
    expect(legend).to_contain_text("Memory")
    page.get_by_role("link", name="Show all series").click()
    expect(legend).to_have_count(2)


@pytest.fixture
def watched(platform: Platform, acme: Company, alice: Person) -> Iterator[dict[str, str]]:
    """Paths of pages with something on them, by what they are called."""
    for metric in ("cpu_percent", "memory_percent"):
        platform.inside.measure(tenant=acme.id, name=metric, count=5)
    rule = platform.inside.make_rule(tenant=acme.id, name="CPU is busy", metric="cpu_percent", threshold=90)
    alert = platform.inside.raise_alert(
        tenant=acme.id, key="disk", name="Disk is full", severity="error", message="97 % of /data"
    )
    platform.inside.raise_alert(tenant=acme.id, key="web", name="Web is slow", severity="warning", message="2 s")
    platform.inside.silence_alert(tenant=acme.id, key="web", by=alice.id, reason="Known: being moved")
    platform.inside.call(tenant=acme.id, key="disk")
    own = platform.inside.raise_alert(tenant=None, key=f"own-{acme.slug}", name="Own", severity="error", message="It")
    yield {
        "page": f"{acme.path}monitoring/",
        "one series": f"{acme.path}monitoring/?series=cpu_percent",
        "no such series": f"{acme.path}monitoring/?series=no_such",
        "alert": f"{acme.path}monitoring/alerts/{alert}/",
        "rule": f"{acme.path}monitoring/rules/{rule}/",
        "new rule": f"{acme.path}monitoring/rules/new/",
        "policies": f"{acme.path}monitoring/policies/",
        "new policy": f"{acme.path}monitoring/policies/new/",
        "new silence": f"{acme.path}monitoring/silences/new/",
        "ops": "/ops/monitoring/",
        "ops alert": f"/ops/monitoring/alerts/{own}/",
        "ops rules": "/ops/monitoring/rules/",
        "ops new rule": "/ops/monitoring/rules/new/",
        "ops policies": "/ops/monitoring/policies/",
        "ops new silence": "/ops/monitoring/silences/new/",
    }
    platform.inside.resolve_alert(tenant=None, key=f"own-{acme.slug}")


@pytest.mark.once
def test_no_page_of_monitoring_keeps_anybody_out(window, watched, alice, ada):
    found = {}
    hers, staff = window(alice), window(ada)
    for name, path in watched.items():
        page = (staff if name.startswith("ops") else hers).open(path)
        if name in ("page", "ops"):
            expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)
        if name == "ops":
            expect(page.get_by_test_id("call")).not_to_have_count(0)
        if name == "rule":
            expect(page.get_by_test_id("dry-run")).to_be_visible()
        found[name] = looked_at(page)
        if name in ("new rule", "new policy", "ops new rule"):
            page.get_by_role("button", name="Save").click()
            expect(page.get_by_test_id("error-summary")).to_be_focused(timeout=PATIENCE)
            found[f"{name}, refused"] = looked_at(page)
        if name.endswith("new silence"):
            page.get_by_role("button", name="Silence", exact=True).click()
            expect(page.get_by_test_id("error-summary")).to_be_focused(timeout=PATIENCE)
            found[f"{name}, refused"] = looked_at(page)
            page.get_by_label("Matchers").fill("severity = error")
            page.get_by_role("button", name="Preview").click()
            expect(page.get_by_test_id("preview")).to_be_focused(timeout=PATIENCE)
            found[f"{name}, previewed"] = looked_at(page)
    assert {where: above for where, above in found.items() if above} == {}
