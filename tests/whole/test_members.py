"""Members, keys, settings: what one admin changes shows in another's open page, and what is taken away is gone."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.whole.accessibility import looked_at
from tests.whole.conftest import Window

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds


def mark(page: Page) -> Any:
    return page.get_by_test_id("live-mark")


def open_live(window: Window, path: str) -> Page:
    page = window.open(path)
    expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
    return page


def row(page: Page, name: str) -> Any:
    return page.get_by_test_id("member-row").filter(has_text=name)


def test_a_member_removed_by_the_page_loses_the_open_page_and_undo_lets_back_in(window, acme, alice, bob):
    bobs: Window = window(bob)
    bobs.expects_outage = True  # his last look at the page is a 404, which Chromium reports
    bobs_page = open_live(bobs, acme.path)
    page = open_live(window(alice), f"{acme.path}members/")
    page.get_by_role("button", name="Remove Bob").click()
    expect(page.get_by_test_id("undo")).to_contain_text("Bob was removed from Acme.", timeout=PATIENCE)
    undo = page.get_by_role("button", name="Undo")
    undo.hover()  # which keeps it there for longer than its ten seconds
    expect(bobs_page.get_by_test_id("ended")).to_contain_text("Nothing more comes to this page", timeout=PATIENCE)
    expect(mark(bobs_page)).to_contain_text("No access", timeout=PATIENCE)
    assert bob.get(acme.path).status_code == 404
    undo.click()
    expect(row(page, "Bob")).to_contain_text("Tenant user", timeout=PATIENCE)
    assert bob.get(acme.path).status_code == 200


def test_another_admins_changes_show_without_moving_a_row(window, acme, alice, bob):
    dora = acme.hire("Dora", "tenant_admin")
    alices_page = open_live(window(alice), f"{acme.path}members/")
    page = open_live(window(dora), f"{acme.path}members/")
    rows = alices_page.get_by_test_id("member-row")
    expect(rows).to_have_count(3)
    page.get_by_role("button", name="Make Bob admin").click()
    expect(row(alices_page, "Bob").get_by_test_id("role")).to_have_text("Tenant admin", timeout=PATIENCE)
    expect(row(alices_page, "Bob").get_by_role("button", name="Make Bob user")).to_be_visible()

    page.get_by_role("link", name="Invite", exact=True).click()
    page.get_by_label("E-mail").fill(f"anna@{acme.slug}.example")
    page.get_by_label("Name").fill("Anna")
    page.get_by_role("button", name="Invite").click()
    expect(row(page, "Anna")).to_contain_text("Invited", timeout=PATIENCE)
    expect(alices_page.get_by_test_id("pending")).to_contain_text("1 new", timeout=PATIENCE)
    expect(rows).to_have_count(3)
    alices_page.get_by_test_id("pending").get_by_role("link", name="Show").click()
    expect(rows).to_have_count(4)
    expect(alices_page.get_by_test_id("pending")).to_be_hidden()


def test_a_new_name_shows_in_another_admins_open_page(window, acme, alice):
    dora = acme.hire("Dora", "tenant_admin")
    doras_page = open_live(window(dora), f"{acme.path}keys/")
    page = open_live(window(alice), f"{acme.path}settings/")
    page.get_by_label("Name").fill("Acme & Sons")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_test_id("settings-now")).to_contain_text("Acme & Sons", timeout=PATIENCE)
    expect(doras_page.locator(".switcher")).to_contain_text("Acme & Sons", timeout=PATIENCE)


@pytest.mark.once
def test_a_key_is_created_and_revoked_by_keyboard_and_asks_before(window, acme, alice):
    page = open_live(window(alice), f"{acme.path}keys/new/")
    page.get_by_label("Name").fill("ci")
    page.get_by_label("Read events").check()
    page.get_by_role("button", name="Create key").press("Enter")
    expect(page.get_by_test_id("secret")).to_be_visible(timeout=PATIENCE)
    page = open_live(window(alice), f"{acme.path}keys/")
    page.get_by_role("link", name="Revoke ci").press("Enter")
    dialog = page.get_by_role("dialog", name="Revoke ci?")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.get_by_test_id("state")).to_have_text("Works")
    page.get_by_role("link", name="Revoke ci").press("Enter")
    dialog.get_by_role("button", name="Revoke it").press("Enter")
    expect(page.get_by_test_id("state")).to_have_text("Revoked", timeout=PATIENCE)


@pytest.mark.once
def test_the_three_pages_keep_nobody_out(window, acme, alice, bob):
    page = open_live(window(alice), f"{acme.path}keys/new/")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_test_id("error-summary")).to_be_focused(timeout=PATIENCE)
    found = {"errors in a form": looked_at(page)}
    page.get_by_label("Name").fill("ci")
    page.get_by_label("Read events").check()
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_test_id("secret")).to_be_visible(timeout=PATIENCE)
    found["a secret"] = looked_at(page)
    page.goto(f"{acme.path}keys/")
    expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
    found["keys"] = looked_at(page)
    page.get_by_role("link", name="Revoke ci").click()
    expect(page.locator("dialog[open]")).to_be_visible()
    found["asked before revoking"] = looked_at(page)
    for path in ("settings/", "members/invite/", "members/"):
        page.goto(f"{acme.path}{path}")
        expect(mark(page)).to_have_text("Live", timeout=PATIENCE)
        found[path] = looked_at(page)
    page.get_by_role("button", name="Remove Bob").click()
    expect(page.get_by_test_id("undo")).to_be_visible(timeout=PATIENCE)
    found["undo"] = looked_at(page)
    assert not {state: problems for state, problems in found.items() if problems}
