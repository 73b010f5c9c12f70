"""Alice watches who does what: what arrives is counted, and let in without moving the row she is at."""

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds


def opened(window, person, address: str) -> Page:
    page = window(person).open(address)
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)
    return page


def test_new_acts_are_counted_live_and_let_in_without_moving_the_focused_row(window, platform, acme, alice, bob):
    platform.inside.send_notices(tenant=acme.id, by=alice.id, count=30, title="Earlier")
    platform.wait_caught_up()
    page = opened(window, alice, f"{acme.path}activity/")
    bobs = opened(window, alice, f"{acme.path}activity/?by={bob.id}")
    rows, waiting = page.locator(".act [data-row-link]"), page.get_by_test_id("pending")
    count = rows.count()
    page.keyboard.press("j")
    expect(rows.first).to_be_focused()
    for _ in range(4):
        page.keyboard.press("j")
    text, top = rows.nth(4).inner_text(), rows.nth(4).bounding_box()["y"]

    platform.inside.send_notices(tenant=acme.id, by=bob.id, count=3, title="By Bob")
    platform.inside.send_notices(tenant=acme.id, by=alice.id, count=1, title="By Alice")
    expect(waiting).to_contain_text("4 new", timeout=PATIENCE)
    expect(bobs.get_by_test_id("pending")).to_contain_text("3 new", timeout=PATIENCE)
    assert rows.count() == count
    expect(rows.nth(4)).to_be_focused()
    assert rows.nth(4).bounding_box()["y"] == top

    waiting.get_by_role("link", name="Show").click()
    expect(rows).to_have_count(count + 4)
    expect(rows.first).to_have_text("Alice: By Alice 0")
    expect(rows.nth(8)).to_have_text(text)
    expect(rows.nth(8)).to_be_focused()
    assert abs(rows.nth(8).bounding_box()["y"] - top) < 2
    expect(waiting).to_be_hidden()
