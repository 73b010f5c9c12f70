"""Old state + events = fresh state: an old billing page, given each `usage_update` since, shows what a new one does."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from django_scopes import scopes_disabled
from playwright.sync_api import Page

from billing import actions
from billing.tests.conftest import used
from events import numbering
from events.models import Entry
from tests.replay import CHROMIUM, becomes_fresh, orders_of

pytestmark = [
    pytest.mark.once,  # what a page's script does knows neither database nor engine
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

PLAY = """async (events) => {
  const { applyUsage } = await import("/static/js/billing.js");
  for (const event of JSON.parse(events)) applyUsage(document.querySelector("[data-module=billing]"), event);
}"""
#: What a meter costs is worked out by the server and read anew.
GAUGES = """() => {
  for (const cost of document.querySelectorAll(".gauge .cost")) cost.remove();
  return document.getElementById("gauges").outerHTML.replaceAll("><", ">\\n<");
}"""


@pytest.fixture(autouse=True)
def keys_sign_by_the_real_clock(monkeypatch):
    monkeypatch.setattr("realtime.keys.timezone", SimpleNamespace(now=lambda: datetime.now(UTC)))


@scopes_disabled()
def told() -> list[dict]:
    numbering.number()
    entries = Entry.objects.select_related("event").order_by("seq")
    return [entry.event.wire(entry.seq) for entry in entries if entry.event.type == "usage_update"]


def test_an_old_billing_page_given_the_events_shows_the_usage_of_a_fresh_one(alice, acme, subscription):
    actions.record(acme, [used("a", quantity=400), used("seat", "seats", 2, day=5)])
    old, known = alice.get("/t/acme/billing/").content.decode(), len(told())
    for number, quantity in enumerate((1, "12.345678", 99, 500)):
        actions.record(
            acme, [used(f"b{number}", quantity=quantity), used(f"s{number}", "seats", number, day=10 + number)]
        )
    actions.record(acme, [used("disk", "disk", "0.5"), used("ann", "people", person="Ann")])
    fresh = alice.get("/t/acme/billing/").content.decode()
    events = told()
    assert len(events) > known
    becomes_fresh("/t/acme/billing/", old, fresh, orders_of(events, known), play, gauges)


def play(page: Page, events: list[dict]) -> None:
    page.evaluate(PLAY, json.dumps(events))


def gauges(page: Page) -> str:
    return str(page.evaluate(GAUGES))
