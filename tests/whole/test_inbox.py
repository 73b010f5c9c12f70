"""The inbox as people have it open: in two tabs, live, while the API and the platform change it too."""

import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.whole.accessibility import looked_at
from tests.whole.conftest import Window
from tests.whole.people import Person
from tests.whole.platform import Platform, wait_until

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds
OPERATIONS = 1_000
INBOX = "/notifications/"


def live(page: Page) -> Page:
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)
    return page


def bell(page: Page) -> Any:
    return page.get_by_test_id("bell").locator("[data-field=count]")


def rows(page: Page) -> Any:
    return page.get_by_test_id("notification")


@pytest.fixture
def alice(platform: Platform, alice: Person) -> Person:
    """Alice, once she has been told that she was added: nothing else comes by itself then."""
    wait_until(lambda: platform.inside.inbox(person=alice.id)["stored"], "she has been told", 60)
    return alice


@pytest.fixture
def tabs(window, alice) -> Callable[..., tuple[Page, Page]]:
    """Two tabs of Alice's in one browser: `tabs("/notifications/", acme.path)`."""

    def open_both(one: str, other: str) -> tuple[Page, Page]:
        first: Window = window(alice)
        page = live(first.open(one))
        second = first.context.new_page()
        second.on("pageerror", lambda error: first.problems.append(f"uncaught: {error}"))
        second.goto(first.url + other)
        return page, live(second)

    return open_both


# --- A thousand operations --------------------------------------------------------------------------------------------

#: What one tab does, through the API with the page's own session, so many times in random order.
ACT = """([ids, count, seed]) => {
  const chance = () => (seed = (seed * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
  const pick = (all) => all[Math.floor(chance() * all.length)];
  const token = document.querySelector("meta[name=csrf-token]").content;
  const headers = { "Content-Type": "application/json", "X-CSRFToken": token };
  window.done = 0;
  window.refused = [];
  (async () => {
    for (let at = 0; at < count; at += 1) {
      const what = pick(["read", "mark-unread", "remove", "restore", "read", "mark-unread", "read-all"]);
      const body = what === "read-all" ? {} : { ids: [pick(ids), pick(ids), pick(ids)] };
      const answer = await fetch(`/api/notifications/${what}`, { method: "POST", headers, body: JSON.stringify(body) });
      if (!answer.ok) window.refused.push(answer.status);
      window.done += 1;
    }
  })();
}"""


def act(person: Person, platform: Platform, ids: list[str], count: int, chance: random.Random) -> None:
    """What a script does with the API, and what arrives meanwhile."""
    for number in range(count):
        what = chance.choice(["arrive", "arrive", "read", "mark-unread", "remove", "restore", "read-all"])
        if what == "arrive":
            assert platform.inside.notify(person=person.id, title=f"meanwhile {number}")
            continue
        body = {} if what == "read-all" else {"ids": chance.sample(ids, 3)}
        assert person.post(f"/api/notifications/{what}", json=body).status_code == 200


def test_after_a_thousand_operations_from_two_tabs_and_the_api_both_badges_say_what_the_database_says(
    platform, acme, alice, tabs
):
    """Real tabs, real events. Shuffled, repeated and late ones: notifications/tests/test_inbox.py."""
    ids = [platform.inside.notify(person=alice.id, title=f"{number}", tenant=acme.id) for number in range(40)]
    one, other = tabs(INBOX, acme.path)
    share = OPERATIONS // 3
    for seed, page in enumerate((one, other)):
        page.evaluate(ACT, [ids, share, seed])
    act(alice, platform, ids, OPERATIONS - 2 * share, random.Random(4))
    for page in (one, other):
        wait_until(lambda: page.evaluate("window.done") == share, "the tab has done its share", 120, every=0.2)  # noqa: B023
        assert page.evaluate("window.refused") == []

    truth = platform.inside.inbox(person=alice.id)
    assert truth["stored"] == truth["unread"]
    expected = "99+" if truth["unread"] > 99 else str(truth["unread"] or "")
    for page in (one, other):
        expect(page.get_by_test_id("bell")).to_have_attribute("data-unread", str(truth["unread"]), timeout=PATIENCE)
        expect(bell(page)).to_have_text(expected)
    wait_until(lambda: shown_after_show(one) == truth["rows"][:50], "the inbox shows what the database holds", 30, 0.5)


def shown_after_show(page: Page) -> list[list[Any]]:
    """Each row's id, and whether it is read, once what waits was let in."""
    show = page.get_by_test_id("pending").get_by_role("link", name="Show")
    if show.is_visible():
        show.click()
    return page.evaluate(THERE)


#: The id of each row, and whether it is read.
THERE = """() => [...document.querySelectorAll("[data-notification]")].map(
  row => [row.dataset.notification, row.dataset.read === "yes"])"""


# --- The page ---------------------------------------------------------------------------------------------------------


def test_what_arrives_waits_and_what_is_removed_can_be_brought_back_in_every_tab(platform, acme, alice, tabs):
    for title in ("first", "second"):
        platform.inside.notify(person=alice.id, title=title, tenant=acme.id)
    one, other = tabs(INBOX, INBOX)
    count = int(bell(one).inner_text())
    shown = rows(one).count()
    platform.inside.notify(person=alice.id, title="third", tenant=acme.id)
    for page in (one, other):
        expect(page.get_by_test_id("pending")).to_contain_text("1 new", timeout=PATIENCE)
        expect(bell(page)).to_have_text(str(count + 1))
        expect(rows(page)).to_have_count(shown)
    one.get_by_role("link", name="Show").click()
    expect(rows(one).first).to_contain_text("third")
    expect(rows(one).first).to_contain_text("Acme")

    rows(one).first.get_by_role("button", name="Remove").click()
    expect(rows(one).first.get_by_text("Removed.")).to_be_visible(timeout=PATIENCE)
    expect(bell(other)).to_have_text(str(count), timeout=PATIENCE)
    rows(one).first.get_by_role("button", name="Undo").click()
    expect(bell(other)).to_have_text(str(count + 1), timeout=PATIENCE)
    expect(rows(one).first.get_by_role("link", name="third")).to_be_visible()

    one.get_by_role("button", name="Mark all read").click()
    one.get_by_test_id("undone").get_by_role("button", name="Undo").click()
    expect(one.get_by_test_id("undone")).to_be_empty(timeout=PATIENCE)
    expect(bell(other)).to_have_text(str(count + 1), timeout=PATIENCE)
    one.get_by_role("button", name="Mark all read").click()
    expect(bell(other)).to_be_hidden(timeout=PATIENCE)
    expect(rows(other).first.get_by_role("button", name="Mark unread")).to_be_visible()

    rows(other).last.get_by_role("button", name="Remove").click()
    expect(one.get_by_test_id("pending")).to_contain_text("1 no longer matches", timeout=PATIENCE)

    other.goto(other.url + "?show=archive")
    expect(rows(live(other))).to_have_count(0)
    rows(one).first.get_by_role("button", name="Archive").click()
    expect(rows(one).first.get_by_text("Put into the archive.")).to_be_visible(timeout=PATIENCE)
    expect(other.get_by_test_id("pending")).to_contain_text("1 new", timeout=PATIENCE)
    other.get_by_role("link", name="Show").click()
    rows(other).first.get_by_role("button", name="Move to inbox").click()
    expect(rows(other).first.get_by_text("Moved to the inbox.")).to_be_visible(timeout=PATIENCE)


def test_who_loses_a_tenant_sees_nothing_of_it_any_more(window, platform, acme, globex, alice):
    platform.inside.join(tenant=globex.id, person=alice.id, role="tenant_user")
    wait_until(lambda: platform.inside.inbox(person=alice.id)["stored"] == 2, "she has been told", 60)
    platform.inside.notify(person=alice.id, title="of globex", tenant=globex.id)
    page = live(window(alice).open(INBOX))
    expect(page.get_by_role("link", name="of globex")).to_be_visible()
    platform.inside.remove_member(tenant=globex.id, person=alice.id)
    expect(page.get_by_text("of globex")).to_have_count(0, timeout=PATIENCE)
    truth = lambda: str(platform.inside.inbox(person=alice.id)["stored"] or "")  # noqa: E731
    wait_until(lambda: bell(page).inner_text() == truth(), "the bell says what is left", 30)


def test_a_failure_is_toasted_once_unless_it_is_on_screen(window, platform, acme, alice):
    steps = [{"name": "break", "command": ["python3", "-c", "raise SystemExit(3)"]}]
    platform.inside.make_stack(slug=f"breaker-{acme.slug}", name="Breaker", steps=steps)
    elsewhere = live(window(alice).open(f"{acme.path}notices/"))
    made = platform.inside.deploy(tenant=acme.id, by=alice.id, stack=f"breaker-{acme.slug}")
    watching = live(window(alice).open(f"{acme.path}deployments/{made['number']}/"))
    toast = elsewhere.get_by_test_id("toast")
    expect(toast).to_contain_text("failed", timeout=PATIENCE)
    expect(toast).to_have_attribute("data-level", "error")
    expect(bell(watching)).to_have_text(bell(elsewhere).inner_text(), timeout=PATIENCE)
    expect(watching.get_by_test_id("toast")).to_have_count(0)
    platform.inside.send_notices(tenant=acme.id, by=alice.id, count=1, title="Maintenance", level="warning")
    expect(toast).to_have_count(2, timeout=PATIENCE)
    expect(elsewhere.get_by_role("link", name="Open")).to_have_count(2, timeout=PATIENCE)  # it is in the inbox, too
    toast.first.get_by_role("link", name="Open").click()
    elsewhere.wait_for_url(re.compile(r"/deployments/\d+/$"))


@pytest.mark.once
def test_without_javascript_the_inbox_is_read_and_undone_with_forms(window, platform, acme, alice):
    platform.inside.notify(person=alice.id, title="plain", tenant=acme.id)
    page = window(alice, java_script_enabled=False).open(INBOX)
    plain = rows(page).filter(has_text="plain")
    plain.get_by_role("button", name="Remove").click()
    expect(plain).to_have_count(0)
    page.get_by_test_id("undo").get_by_role("button", name="Undo").click()
    plain.get_by_role("button", name="Mark read").click()
    expect(plain.get_by_role("button", name="Mark unread")).to_be_visible()


@pytest.mark.once
def test_keys_lead_to_the_inbox_and_through_it(window, platform, acme, alice):
    for title in ("older", "newer"):
        platform.inside.notify(person=alice.id, title=title, tenant=acme.id)
    page = live(window(alice).open(acme.path))
    page.keyboard.press("g")
    page.keyboard.press("n")
    page.wait_for_url(f"**{INBOX}")
    live(page)
    for key, title in (("j", "newer"), ("j", "older"), ("k", "newer")):
        page.keyboard.press(key)
        expect(page.get_by_role("link", name=title, exact=True)).to_be_focused(timeout=PATIENCE)


@pytest.mark.once
def test_no_state_of_inbox_and_notices_keeps_anybody_out(window, platform, acme, alice):
    for title in ("one", "two"):
        platform.inside.notify(person=alice.id, title=title, tenant=acme.id)
    platform.inside.send_notices(tenant=acme.id, by=alice.id, count=1)
    page = window(alice).open(INBOX)
    live(page)
    found = {"inbox": looked_at(page)}
    rows(page).first.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Mark all read").click()
    expect(page.get_by_test_id("undone")).to_contain_text("marked as read", timeout=PATIENCE)
    found["undo"] = looked_at(page)
    for name, path in {
        "nothing unread": f"{INBOX}?show=unread",
        "archive": f"{INBOX}?show=archive",
        "preferences": f"{INBOX}preferences/",
        "notices": f"{acme.path}notices/",
        "form": f"{acme.path}notices/new/",
    }.items():
        page.goto(path)
        live(page)
        found[name] = looked_at(page)
    page.get_by_role("button", name="Send to everybody").click()
    expect(page.get_by_test_id("error-summary")).to_be_visible(timeout=PATIENCE)
    found["errors"] = looked_at(page)
    page.goto(platform.inside.unsubscribing(person=alice.id, kind="alert_firing"))
    found["unsubscribing"] = looked_at(page)
    page.get_by_role("button", name="No more e-mails like this").click()
    expect(page.get_by_test_id("unsubscribed")).to_be_visible(timeout=PATIENCE)
    found["unsubscribed"] = looked_at(page)
    assert not {state: problems for state, problems in found.items() if problems}
