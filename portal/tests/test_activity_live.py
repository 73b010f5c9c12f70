"""An open page of activity: what arrives waits and is counted, and after Show the page is what a fresh one would be."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django_scopes import scopes_disabled
from playwright.sync_api import Page

from events.models import Event
from portal.tests.test_activity import ACTIVITY, OPS, happens
from tests.replay import CHROMIUM, SITE, Old, all_become_fresh, browser_page, orders_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.once,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

NOW = datetime(2026, 11, 23, 22, 30, tzinfo=UTC)


def wire_events() -> list[dict]:
    with scopes_disabled():
        events = Event.objects.exclude(entry=None).select_related("entry").order_by("entry__seq")
        return [event.wire(event.entry.seq) for event in events]


def heard(path: str, events: list[dict]) -> list[dict]:
    """What of them goes to the channel that the page listens to."""
    if path == OPS:
        return events
    return [event for event in events if event["actor"] and event["tenantId"]]


def take(page: Page, events: list[dict]) -> str:
    """Let the page hear them. Returns what its bar says."""
    return page.evaluate(
        """async events => {
          const [{ listOf }] = await Promise.all([import("/static/js/rows.js"), import("/static/js/feed.js")]);
          const body = document.getElementById("acts");
          for (const event of JSON.parse(events)) listOf(body).take(event, body.dataset.channel);
          const bar = document.querySelector("[data-live-pending=acts]");
          return bar.hidden ? "" : bar.querySelector("[data-field=pending]").textContent;
        }""",
        json.dumps(events),
    )


def show(page: Page) -> None:
    page.evaluate("""async () => {
      const { listOf } = await import("/static/js/rows.js");
      listOf(document.getElementById("acts")).show();
    }""")


def an_hour(acme, alice, bob) -> None:
    """Over midnight, so that a day begins; some by nobody, some of other kinds."""
    for n in range(12):
        at = NOW + timedelta(minutes=10 * n)
        happens(acme, f"Alice's {n}", by=alice, at=at, type=["tenant_updated", "tenant_notice"][n % 2])
        happens(acme, f"Bob's {n}", by=bob, at=at, type="deployment_update", data={"number": n + 1})
        happens(acme, f"Nobody's {n}", at=at, type="deployment_update", data={"number": n + 1})


def test_an_old_page_given_the_events_is_the_page_the_server_renders_now(acme, alice, bob, platform_admin):
    acme.time_zone = "Asia/Kolkata"
    acme.save()
    happens(acme, "Before", by=alice, at=NOW - timedelta(hours=6))
    queries = ["", f"?by={bob.user.id}", f"?kind=tenant_notice&by={alice.user.id}&day=2026-11-24", "?day=2026-11-23"]
    pages = [(alice, ACTIVITY, query) for query in queries]
    pages += [(platform_admin, OPS, query) for query in ("", "?by=neo_stack")]
    old = {place + query: who.get(place + query).content.decode() for who, place, query in pages}
    known = len(wire_events())
    an_hour(acme, alice, bob)
    events = wire_events()
    fresh = {place + query: who.get(place + query).content.decode() for who, place, query in pages}

    def play(page: Page, told: list[dict]) -> None:
        before = page.locator("#acts").inner_text()
        take(page, told)
        assert page.locator("#acts").inner_text() == before, "nothing moves by itself"
        show(page)

    def open_page(place: str, query: str) -> Old:
        path = place + query
        orders = orders_of(heard(place, events), len(heard(place, events[:known])), shuffles=1)
        return Old(path, old[path], fresh[path], orders)

    all_become_fresh([open_page(place, query) for _, place, query in pages], play)


def test_only_what_the_filters_let_in_is_counted(acme, alice, bob):
    happens(acme, "Before", by=alice, at=NOW)
    page_of_bobs = alice.get(f"{ACTIVITY}?by={bob.user.id}").content.decode()
    an_hour(acme, alice, bob)
    events = wire_events()
    with browser_page({ACTIVITY: page_of_bobs}) as page:
        page.goto(SITE + ACTIVITY)
        assert take(page, [event for event in events if event["actor"] and event["actor"]["name"] == "Alice"]) == ""
        assert take(page, heard(ACTIVITY, events)) == "12 new"
        assert take(page, heard(ACTIVITY, events)) == "12 new", "repeated, they count once"
        assert page.locator(".act").count() == 0
        show(page)
        assert page.locator(".act").count() == 12
        assert take(page, heard(ACTIVITY, events)) == ""


def test_a_page_left_open_keeps_one_page_and_counts_on(acme, alice):
    for n in range(60):
        happens(acme, f"Thing {n}.", by=alice, at=NOW + timedelta(seconds=n))
    opened = alice.get(ACTIVITY).content.decode()
    for n in range(60, 190):
        happens(acme, f"Thing {n}.", by=alice, at=NOW + timedelta(seconds=n))
    events, fresh = wire_events(), alice.get(ACTIVITY).content.decode()
    with browser_page({ACTIVITY: opened, "/fresh/": fresh}) as page:
        page.goto(SITE + ACTIVITY)
        assert take(page, events) == "130 new"
        assert take(page, events[::-1]) == "130 new"
        show(page)
        assert page.locator(".act .title").all_inner_texts() == [f"Thing {n}." for n in reversed(range(140, 190))]
        assert take(page, events) == "", "what is on older pages by now does not come back"


def test_after_a_gap_the_page_read_anew_is_counted_and_waits_too(acme, alice):
    happens(acme, "Before.", by=alice, at=NOW)
    opened = alice.get(ACTIVITY).content.decode()
    for n in range(3):
        happens(acme, f"Missed {n}.", by=alice, at=NOW + timedelta(seconds=n))
    events = wire_events()
    with browser_page({ACTIVITY: opened, "/fresh/": alice.get(ACTIVITY).content.decode()}) as page:
        page.goto(SITE + ACTIVITY)
        take(page, events[-1:])
        page.evaluate("""async () => {
          const { listOf } = await import("/static/js/rows.js");
          const fresh = new DOMParser().parseFromString(await (await fetch("/fresh/")).text(), "text/html");
          listOf(document.getElementById("acts")).merge(fresh.getElementById("acts"), () => {});
        }""")
        assert take(page, events) == "3 new"
        assert page.locator(".act .title").all_inner_texts() == ["Before."]
        show(page)
        assert page.locator(".act .title").all_inner_texts() == ["Missed 2.", "Missed 1.", "Missed 0.", "Before."]
