"""One deployment moves, and everything that shows it moves: Alice's pages and the platform admin's, side by side."""

import re
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.whole.people import Company, Person
from tests.whole.platform import Platform, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.spine]

PATIENCE = 30_000  # milliseconds

#: Says so, waits until the test has looked round, and breaks.
STEP = """
import os, time
print("on my way", flush=True)
while not os.path.exists({gate!r}):
    time.sleep(0.05)
raise SystemExit(3)
"""


@pytest.fixture
def ada(platform: Platform) -> Person:
    """The platform's admin."""
    rights = {"is_staff": True, "is_superuser": True}
    email = f"ada-{uuid4().hex[:8]}@neostack.example"
    return Person(platform, **platform.inside.make_person(name="Ada", email=email, **rights))


@pytest.fixture
def gate(tmp_path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def stack(platform: Platform, acme: Company, gate: Path) -> str:
    """The slug of an approved stack that fails once the gate is open."""
    slug = f"breaks-{acme.slug}"
    command = [sys.executable, "-c", STEP.format(gate=str(gate))]
    platform.inside.make_stack(slug=slug, name=slug, steps=[{"name": "walk", "command": command}])
    return slug


def live(page: Page) -> Page:
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)
    return page


def let_in(page: Page, what: str) -> None:
    """Press Show of the list whose pending bar this is: what came waits there, and moves nothing."""
    bar = page.locator(f"[data-live-pending={what}]")
    expect(bar).to_contain_text("new", timeout=PATIENCE)
    bar.get_by_role("link", name="Show").click()


def status_in(page: Page, where: str, deployment: str) -> Locator:
    return page.locator(f"{where} [data-deployment='{deployment}']").get_by_test_id("status")


def test_everything_that_shows_a_deployment_moves_with_it(window, platform, acme, alice, ada, stack, gate):
    # Everybody looks before it begins, and after Alice has heard that she was made an admin.
    platform.wait_caught_up()
    home, activity = live(window(alice).open(acme.path)), live(window(alice).open(f"{acme.path}activity/"))
    operations, all_of_them = live(window(ada).open("/ops/")), live(window(ada).open("/ops/deployments/"))
    everybodys = live(window(ada).open(f"/ops/activity/?tenant={acme.id}"))
    unread = int(home.get_by_test_id("bell").get_attribute("data-unread") or 0)

    # Alice deploys.
    page = window(alice).open(f"{acme.path}deployments/new/?stack={stack}")
    page.get_by_role("button", name="Deploy").click()
    page.wait_for_url(re.compile(r"/deployments/\d+/$"))
    live(page)
    deployment = str(page.locator("#deployment").get_attribute("data-deployment"))
    title = f"{stack} #1"

    # It runs: status, step and log on its own page, the tenant's home, both operations pages.
    expect(page.locator("#deployment").get_by_test_id("status")).to_have_text("Running", timeout=PATIENCE)
    expect(page.get_by_test_id("step")).to_have_attribute("data-status", "running", timeout=PATIENCE)
    expect(page.get_by_test_id("log")).to_contain_text("on my way", timeout=PATIENCE)
    let_in(home, "active")
    expect(status_in(home, "#active", deployment)).to_have_text("Running", timeout=PATIENCE)
    expect(home.locator("#figures").get_by_test_id("running")).to_have_text("1", timeout=PATIENCE)
    let_in(all_of_them, "list")
    expect(status_in(all_of_them, "#list", deployment)).to_have_text("Running", timeout=PATIENCE)
    expect(all_of_them.locator(f"[data-deployment='{deployment}']")).to_contain_text("Acme")
    says_what_is_so(operations, platform)
    let_in(activity, "acts")
    let_in(everybodys, "acts")
    for acts in (activity, everybodys):
        expect(acts.locator("#acts")).to_contain_text(f"Alice deployed {title}", timeout=PATIENCE)

    # It breaks, and each of them says so without being asked.
    gate.touch()
    expect(page.locator("#deployment").get_by_test_id("status")).to_have_text("Failed", timeout=PATIENCE)
    expect(page.get_by_test_id("log")).to_contain_text("Step walk ended with exit code 3.", timeout=PATIENCE)
    expect(page.get_by_role("button", name="Retry")).to_be_visible(timeout=PATIENCE)
    expect(status_in(home, "#active", deployment)).to_have_text("Failed", timeout=PATIENCE)
    expect(home.locator("#figures").get_by_test_id("running")).to_have_text("0", timeout=PATIENCE)
    let_in(home, "attention")
    expect(home.get_by_test_id("attention")).to_contain_text("Step walk ended with exit code 3.", timeout=PATIENCE)
    expect(status_in(all_of_them, "#list", deployment)).to_have_text("Failed", timeout=PATIENCE)
    says_what_is_so(operations, platform)
    for seen in (home, page, activity):  # all of Alice's windows count alike
        expect(seen.get_by_test_id("bell")).to_have_attribute("data-unread", str(unread + 1), timeout=PATIENCE)

    # What each page came to by itself is what a fresh one shows.
    inbox = live(window(alice).open("/notifications/"))
    expect(inbox.locator("#inbox")).to_contain_text(f"{title} failed")
    home.reload()
    live(home)
    expect(status_in(home, "#ended", deployment)).to_have_text("Failed")


def says_what_is_so(operations: Page, platform: Platform) -> None:
    """The number of running deployments is the database's: other tests' may run or end meanwhile."""
    shown = operations.get_by_test_id("running")
    wait_until(
        lambda: shown.text_content() == str(platform.inside.running_deployments()),
        "operations say how many deployments run",
        seconds=30,
        every=0.1,
    )
