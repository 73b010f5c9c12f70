"""What an open page says and locks when its link, its network or its reader's access goes away."""

import re
import sys
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.whole.accessibility import looked_at
from tests.whole.conftest import Window
from tests.whole.people import Company
from tests.whole.platform import Platform, wait_until

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds


@pytest.fixture
def failed(platform: Platform, acme: Company, alice) -> str:
    """The path of a deployment that failed."""
    slug = f"breaker-{acme.slug}"
    steps = [{"name": "break", "command": [sys.executable, "-c", "raise SystemExit(3)"]}]
    platform.inside.make_stack(slug=slug, name=slug, steps=steps)
    made = platform.inside.deploy(tenant=acme.id, by=alice.id, stack=slug)
    return f"{acme.path}deployments/{made['number']}/"


def mark(page: Page) -> Any:
    return page.get_by_test_id("live-mark")


def test_without_a_network_it_says_since_when_and_locks_retry_until_it_is_back(window, alice, failed):
    one: Window = window(alice)
    one.expects_outage = True
    page = one.open(failed)
    expect(mark(page)).to_have_text("Live")
    retry = page.get_by_role("button", name="Retry")
    expect(retry).to_be_visible(timeout=PATIENCE)
    expect(retry).not_to_have_attribute("aria-disabled", "true")

    one.context.set_offline(True)
    expect(mark(page)).to_have_text(re.compile(r"Offline since \d\d:\d\d:\d\d"))
    expect(retry).to_have_attribute("aria-disabled", "true")
    expect(page.get_by_test_id("actions")).to_contain_text("Refresh to continue")
    retry.click(force=True)
    assert page.url.endswith(failed)

    one.context.set_offline(False)
    expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
    expect(retry).not_to_have_attribute("aria-disabled", "true")
    retry.click()
    expect(page.get_by_text("Tries again")).to_be_visible()


@pytest.mark.once
def test_keys_typed_right_after_a_dialog_has_closed_are_heard(window, acme, alice):
    page = window(alice).open(acme.path)
    expect(mark(page)).to_have_text("Live")
    for _ in range(10):  # faster than the frame in which Chromium takes the focus out of the closed dialog
        for keys in ("Control+k", "Escape", "?"):
            page.keyboard.press(keys)
        assert page.locator("dialog#keys[open]").count() == 1
        page.keyboard.press("Escape")


@pytest.mark.once
def test_notices_are_toasts_of_which_three_show(window, platform, acme, alice, bob):
    # That he was added is news too: it must not come among these.
    wait_until(lambda: platform.inside.inbox(person=bob.id)["stored"], "he has been told that he was added", 60)
    page = window(bob).open(acme.path)
    expect(mark(page)).to_have_text("Live")
    platform.inside.send_notices(tenant=acme.id, by=alice.id, count=5, title="Maintenance", level="warning")
    expect(page.get_by_test_id("toast")).to_have_count(3)
    expect(page.locator("#toasts")).to_contain_text("2 more")
    page.get_by_test_id("toast").first.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_test_id("toast")).to_have_count(3)
    expect(page.locator("#toasts")).to_contain_text("1 more")


def test_a_page_whose_reader_was_removed_says_so_and_stops(window, platform, acme, alice, bob):
    one: Window = window(bob)
    one.expects_outage = True  # its last look at the page is a 404, which Chromium reports
    page = one.open(f"{acme.path}deployments/")
    expect(mark(page)).to_have_text("Live")
    platform.inside.remove_member(tenant=acme.id, person=bob.id)
    expect(mark(page)).to_contain_text("No access", timeout=PATIENCE)
    expect(page.get_by_test_id("ended")).to_contain_text("Nothing more comes to this page")


def test_a_tab_that_comes_back_asks_before_it_says_live(window, acme, alice):
    page = window(alice).open(acme.path)
    expect(mark(page)).to_have_text("Live")
    page.evaluate(
        """() => {
          const say = (hidden) => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange"));
          };
          const now = Date.now;
          say(true);
          Date.now = () => now() + 20_000;
          window.words = [];
          new MutationObserver(() => words.push(document.querySelector("#live-mark [data-live-word]").textContent))
            .observe(document.getElementById("live-mark"), { subtree: true, childList: true });
          say(false);
        }"""
    )
    expect(mark(page)).to_have_text("Live")
    assert page.evaluate("words") == ["Catching up", "Live"]


@pytest.mark.once
def test_no_state_of_a_page_keeps_anybody_out(window, platform, acme, alice, bob, failed):
    seen: Window = window(alice)
    seen.expects_outage = True  # Chromium says of each refusal below that it "failed to load" it
    found = {}

    page = seen.open(failed)
    expect(page.get_by_role("button", name="Retry")).to_be_visible(timeout=PATIENCE)
    expect(mark(page)).to_have_text("Live")
    found["failed"] = looked_at(page)
    for keys, what in (("Control+k", "jump"), ("?", "keys")):
        page.keyboard.press(keys)
        expect(page.locator("dialog[open]")).to_be_visible()
        found[what] = looked_at(page)
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)
    platform.inside.send_notices(tenant=acme.id, by=alice.id, count=5, title="Maintenance", level="warning")
    expect(page.get_by_test_id("toast")).to_have_count(3)
    found["toasts"] = looked_at(page)
    seen.context.set_offline(True)
    expect(mark(page)).to_contain_text("Offline since")
    found["offline, locked"] = looked_at(page)
    seen.context.set_offline(False)

    page = seen.open(failed)
    page.locator("input[name=version]").first.evaluate("field => { field.value = '1' }")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_test_id("refused")).to_be_visible()
    found["changed meanwhile"] = looked_at(page)
    found["nowhere"] = looked_at(seen.open("/t/never-used/"))
    page = seen.open(f"{acme.path}deployments/new/?stack=breaker-{acme.slug}")
    page.get_by_label("Name").fill("no name with a \u2028 in it")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_test_id("error-summary")).to_be_focused()
    found["errors in a form"] = looked_at(page)
    bobs: Window = window(bob)
    bobs.expects_outage = True
    found["not allowed"] = looked_at(bobs.open(f"{acme.path}deployments/new/"))

    assert not {state: problems for state, problems in found.items() if problems}
