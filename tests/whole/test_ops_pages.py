"""The operations portal in a real browser: every page in both themes and at both widths, and what moves on it."""

import re
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from portal.navigation import ops_links
from tests.whole.accessibility import looked_at
from tests.whole.conftest import Window
from tests.whole.people import Company, Person, found_company
from tests.whole.platform import Platform

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds


@pytest.fixture
def ada(platform: Platform) -> Person:
    made = platform.inside.make_person(
        name="Ada", email=f"ada-{uuid4().hex[:8]}@neostack.example", is_staff=True, is_superuser=True
    )
    return Person(platform, **made)


@pytest.fixture
def stack(platform: Platform, acme: Company) -> str:
    slug = f"quick-{acme.slug}"
    steps = [{"name": "say", "command": [sys.executable, "-c", "print('hello')"]}]
    platform.inside.make_stack(slug=slug, name=slug, steps=steps)
    return slug


@pytest.fixture
def deployed(platform: Platform, acme: Company, alice: Person, stack: str) -> str:
    """The id of a deployment of Alice's."""
    return str(platform.inside.deploy(tenant=acme.id, by=alice.id, stack=stack)["id"])


@pytest.fixture
def left_behind(platform: Platform, deployed: str) -> Iterator[str]:
    """The id of an event with more dead letters than one request tries."""
    event = platform.inside.leave_behind(deployment=deployed, letters=25)
    yield event
    platform.inside.forget_dead_letters(event=event)


def mark(page: Page) -> Any:
    return page.get_by_test_id("live-mark")


def test_ada_watches_every_tenants_deployments_while_alice_deploys(window, platform, ada, acme, alice, stack):
    page = window(ada).open(f"/ops/deployments/?tenant={acme.slug}")
    expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
    platform.inside.deploy(tenant=acme.id, by=alice.id, stack=stack)
    pending = page.get_by_test_id("pending")
    expect(pending).to_contain_text("1 new", timeout=PATIENCE)
    expect(page.get_by_test_id("deployment-row")).to_have_count(0)
    pending.get_by_role("link", name="Show").click()
    row = page.get_by_test_id("deployment-row")
    expect(row).to_have_count(1)
    expect(row).to_contain_text(acme.name)
    expect(row.get_by_test_id("status")).to_have_text("Completed", timeout=PATIENCE)
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("#1")
    expect(page.locator("#journey")).to_contain_text("Pushed on admin:deployments:status", timeout=PATIENCE)


def test_a_new_tenant_and_its_first_deployment_come_to_whoever_watches(window, platform, ada, stack):
    slug = f"initech-{uuid4().hex[:8]}"
    tenants, deployments = window(ada).open(f"/ops/tenants/?q={slug}"), window(ada).open("/ops/deployments/")
    for page in (tenants, deployments):
        expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
    initech = found_company(platform, "Initech", slug)
    came = tenants.locator("[data-came]")
    expect(came).to_contain_text("1 new", timeout=PATIENCE)
    expect(tenants.get_by_test_id("tenant-row")).to_have_count(0)
    came.get_by_role("link", name="Show").click()
    expect(tenants.get_by_test_id("tenant-row")).to_contain_text("Initech")

    peter = initech.hire("Peter", "tenant_admin")
    deployment = platform.inside.deploy(tenant=initech.id, by=peter.id, stack=stack)["id"]
    pending = deployments.get_by_test_id("pending")
    expect(pending).to_contain_text("new", timeout=PATIENCE)
    pending.get_by_role("link", name="Show").click()
    row = deployments.locator(f"[data-deployment='{deployment}']")
    expect(row).to_contain_text("Initech")
    expect(row.get_by_test_id("status")).to_have_text("Completed", timeout=PATIENCE)


def test_what_happens_waits_in_the_log_until_she_asks_for_it(window, platform, ada, acme, alice):
    page = window(ada).open(f"/ops/events/?tenant={acme.slug}&type=tenant_notice")
    expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
    (event,) = platform.inside.send_notices(tenant=acme.id, by=alice.id, count=1, title="Maintenance")
    expect(page.get_by_test_id("pending")).to_contain_text("1 new", timeout=PATIENCE)
    page.get_by_test_id("pending").get_by_role("link", name="Show").click()
    row = page.get_by_test_id("event-row")
    expect(row).to_have_count(1)
    expect(row).to_contain_text(acme.name)
    expect(row).to_contain_text("Alice")
    row.get_by_role("link").click()
    page.wait_for_url(re.compile(event))
    expect(page.locator("#journey")).to_contain_text("Numbered")


@pytest.mark.once
def test_all_that_waits_is_tried_in_batches_and_she_sees_how_far_it_is(window, ada, left_behind):
    page = window(ada).open("/ops/dead-letters/")
    expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
    page.get_by_role("button", name="Retry all").click()
    said = page.locator("[data-field=said]")
    expect(said).to_have_text("0 delivered, 25 failed again, 0 to try", timeout=PATIENCE)
    expect(page.get_by_text("No handler is named").first).to_be_visible()


@pytest.mark.once
def test_no_page_of_the_operations_portal_keeps_anybody_out(window, platform, ada, acme, bob, deployed, left_behind):
    platform.inside.make_person(name="Ada " + "of-a-long-name-" * 3, email=f"{uuid4().hex}@long.neostack.example")
    one: Window = window(ada)
    one.expects_outage = True  # Chromium says of the page for an event that is gone that it "failed to load" it
    question = f"/ops/access/?who={bob.email}&action=subscribe&channel="
    visits = [
        *(link.url for link in ops_links()),
        "/ops/deployments/?tenant=never-used",
        f"/ops/deployments/{deployed}/",
        "/ops/events/?dead=1",
        f"/ops/events/{left_behind}/",
        f"/ops/events/{uuid4()}/",
        "/ops/dead-letters/",
        f"{question}{acme.channel('deployments')}",
        f"{question}{acme.channel('dashboard')}",
        "/ops/access/?who=nobody&action=subscribe&channel=nowhere",
        "/ops/access/?who=@&action=subscribe",
    ]
    found = {address: looked_at(one.open(address)) for address in dict.fromkeys(visits)}
    assert not {address: problems for address, problems in found.items() if problems}
