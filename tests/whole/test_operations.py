"""The operations portal on the running platform: what dies is named, and whoever is suspended has no access."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.whole.accessibility import looked_at
from tests.whole.conftest import Window
from tests.whole.hostile import Hostile
from tests.whole.people import Person
from tests.whole.platform import Platform, wait_until

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds
SECRETS = 100


@pytest.fixture
def ada(platform: Platform) -> Person:
    rights = {"is_staff": True, "is_superuser": True}
    return Person(platform, **platform.inside.make_person(name="Ada", email=f"ada-{uuid4().hex}@example.com", **rights))


def mark(page: Page) -> Any:
    return page.get_by_test_id("live-mark")


def problem(page: Page, part: str) -> Any:
    return page.locator(f"[data-problem={part}]")


@pytest.mark.faults
def test_a_killed_relay_and_a_killed_engine_are_named_until_they_are_back(window, platform, ada):
    watching: Window = window(ada)
    watching.expects_outage = True
    page = watching.open("/ops/")
    expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
    for part in ("relay", "engine"):
        expect(problem(page, part)).to_be_hidden(timeout=PATIENCE)

    platform.kill_every("relay")
    expect(problem(page, "relay")).to_be_visible(timeout=PATIENCE)
    expect(problem(page, "relay")).to_contain_text(re.compile(r"Relay: silent since .*\d\d:\d\d:\d\d UTC"))
    expect(problem(page, "relay")).to_contain_text("manage.py relay")
    expect(page.get_by_test_id("verdict")).to_have_attribute("data-state", "failed")

    platform.start_every("relay")
    platform.kill_every("engine")
    expect(problem(page, "engine")).to_be_visible(timeout=PATIENCE)
    expect(problem(page, "relay")).to_be_hidden(timeout=PATIENCE)

    platform.start_every("engine")
    expect(problem(page, "engine")).to_be_hidden(timeout=PATIENCE)
    expect(mark(page)).to_have_text("Live", timeout=PATIENCE)


@pytest.fixture
def hostile(bob, acme) -> Iterator[Hostile]:
    client = Hostile(bob, acme.channel("notifications"))
    yield client
    client.close()


def test_a_suspended_tenants_people_have_no_access_two_seconds_later(window, platform, ada, acme, alice, hostile):
    wait_until(lambda: hostile.answers["subscribed"], "the client listens", 30)
    (before,) = platform.inside.send_notices(tenant=acme.id, by=alice.id, count=1)
    hostile.wait_for(before)
    alices: Window = window(alice)
    alices.expects_outage = True  # its last look at the page is a 403, which Chromium reports
    page = alices.open(f"{acme.path}deployments/")
    expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
    adas = window(ada).open(f"/ops/tenants/{acme.slug}/")
    expect(mark(adas)).to_have_text("Live", timeout=PATIENCE)

    reason = {"reason": "Invoices unpaid."}
    assert ada.post(f"/ops/tenants/{acme.slug}/suspend/", data=reason).status_code == 302
    adas.wait_for_timeout(2_000)  # what is promised: from then on nothing
    secret = platform.inside.send_notices(tenant=acme.id, by=alice.id, count=SECRETS)
    platform.wait_caught_up()
    seen = hostile.attempts
    wait_until(lambda: hostile.attempts >= seen + 12, "it has tried everything once more", 30)
    assert not hostile.ids & set(secret), hostile.answers

    expect(mark(page)).to_contain_text("No access", timeout=PATIENCE)
    expect(page.get_by_test_id("ended")).to_contain_text("Nothing more comes to this page")
    assert "Invoices unpaid." in alice.get(acme.path).text
    expect(adas.get_by_test_id("standing")).to_contain_text("Invoices unpaid.", timeout=PATIENCE)
    adas.get_by_role("button", name="Resume").click()
    expect(adas.get_by_test_id("standing")).to_have_count(0, timeout=PATIENCE)
    assert alice.get(acme.path).status_code == 200


@pytest.mark.once
def test_no_page_about_tenants_keeps_anybody_out(window, platform, ada, acme, alice):
    one: Window = window(ada)
    own = f"/ops/tenants/{acme.slug}/"
    visits = [
        "/ops/",
        "/ops/activity/?by=all",
        f"/ops/tenants/?q={acme.slug}",
        own,
        f"{own}suspend/",
        f"/ops/jump/?q={acme.slug}",
    ]
    found = {path: looked_at(one.open(path)) for path in visits}
    page = one.open("/ops/tenants/")
    expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
    for keys, what in (("Control+k", "jump"), ("?", "keys")):
        page.keyboard.press(keys)
        expect(page.locator(f"dialog#{what}[open]")).to_be_visible()
        found[what] = looked_at(page)
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)
    assert not {state: problems for state, problems in found.items() if problems}
