"""Old state + events = fresh state for the lists over all tenants, as deployments/tests/test_pages_replay.py has it."""

import json

import pytest
from django.db import transaction
from django_scopes import scopes_disabled
from playwright.sync_api import expect

from deployments import actions
from deployments.models import Deployment
from deployments.tests.conftest import stack  # noqa: F401  a fixture
from deployments.tests.test_pages_replay import (
    live_through_an_hour,
    replay,
)
from events import numbering
from events.channels import ADMIN_EVENTS
from events.models import Entry
from portal.ops import tenant_filter
from tests.replay import CHROMIUM, SITE, Old, all_become_fresh, browser_page, differences, orders_of, shown

pytestmark = [
    pytest.mark.once,  # what a page's script does knows neither database nor engine
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def without_journey(page) -> str:
    """The journey is read anew, not told."""
    page.evaluate("() => document.getElementById('journey')?.remove()")
    return shown(page)


@scopes_disabled()
def told() -> list[dict]:
    """What has been pushed on the platform's channel, in the log's order."""
    numbering.number()
    entries = Entry.objects.select_related("event").order_by("seq")
    return [entry.event.wire(entry.seq) for entry in entries if ADMIN_EVENTS.name in entry.event.channels]


def paths() -> list[str]:
    with scopes_disabled():
        pages = Deployment.objects.filter(number=1).values_list("id", flat=True)
    lists = ["", "?status=active", "?tenant=acme", "?tenant=globex", "?status=failed&q=web"]
    return [f"/ops/deployments/{address}" for address in lists] + [f"/ops/deployments/{pk}/" for pk in pages]


def test_an_old_page_of_all_tenants_given_the_events_is_the_fresh_page(
    platform_admin,
    acme,
    globex,
    alice,
    charlie,
    stack,  # noqa: F811
):
    for _ in range(3):
        actions.request_deployment(acme, stack, {"TITLE": "Acme"}, by=alice.user)
    actions.request_deployment(globex, stack, {"TITLE": "Globex"}, by=charlie.user)
    addresses = paths()
    old = {path: platform_admin.get(path).content.decode() for path in addresses}
    known = len(told())
    with transaction.atomic():
        live_through_an_hour(acme, alice, stack)
        actions.request_deployment(globex, stack, {"TITLE": "Globex"}, by=charlie.user, name="web")
    events = [event for event in told() if event["type"] == "deployment_update"]
    fresh = {path: platform_admin.get(path).content.decode() for path in addresses}
    assert len(told()) > known
    orders = orders_of(events, shuffles=2)
    all_become_fresh([Old(path, old[path], fresh[path], orders) for path in addresses], replay, without_journey)


def test_an_old_log_given_the_events_is_the_fresh_log(platform_admin, acme, globex, alice, charlie, stack):  # noqa: F811
    actions.request_deployment(acme, stack, {"TITLE": "Acme"}, by=alice.user)
    told()
    addresses = ["/ops/events/", "/ops/events/?tenant=acme", "/ops/events/?type=deployment_update"]
    old = {path: platform_admin.get(path).content.decode() for path in addresses}
    for _ in range(2):
        actions.request_deployment(globex, stack, {"TITLE": "Globex"}, by=charlie.user)
        actions.request_deployment(acme, stack, {"TITLE": "Acme"}, by=alice.user)
    events = told()
    fresh = {path: platform_admin.get(path).content.decode() for path in addresses}
    orders = orders_of(events, shuffles=1)
    all_become_fresh([Old(path, old[path], fresh[path], orders) for path in addresses], feed)


NAMES = "/ops/tenant-names/"


def test_rows_of_tenants_that_the_page_has_not_named_get_their_names_by_one_request(
    platform_admin,
    acme,
    globex,
    alice,
    charlie,
    stack,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setattr(tenant_filter, "LISTED", 0)
    actions.request_deployment(acme, stack, {"TITLE": "Acme"}, by=alice.user)
    told()
    plays = {"/ops/events/": feed, "/ops/deployments/": replay}
    old = {path: platform_admin.get(path).content.decode() for path in plays}
    for _ in range(2):
        actions.request_deployment(globex, stack, {"TITLE": "Globex"}, by=charlie.user)
    events = told()
    names = platform_admin.get(f"{NAMES}?id={globex.id}").content.decode()
    for path, play in plays.items():
        fresh = platform_admin.get(path).content.decode()
        with browser_page({path: old[path], "/fresh/": fresh, NAMES: names}) as page:
            page.goto(f"{SITE}/fresh/")
            play(page, [])
            expected = without_names(page)
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url) if NAMES in request.url else None)
            page.goto(SITE + path)
            play(
                page, [event for event in events if path != "/ops/deployments/" or event["type"] == "deployment_update"]
            )
            expect(page.locator("main .cell-tenant", has_text="Globex")).to_have_count(2, timeout=30_000)
            assert asked == [f"{SITE}{NAMES}?id={globex.id}"]
            assert not differences(without_names(page), expected)


def without_names(page) -> str:
    """What a page knows of names shows in its rows."""
    page.evaluate("() => document.getElementById('tenant-names').remove()")
    return shown(page)


def feed(page, events: list[dict]) -> None:
    page.evaluate(
        """async ([events, channel]) => {
          await import("/static/js/feed.js");
          const { listOf } = await import("/static/js/rows.js");
          const list = listOf(document.getElementById("log"));
          for (const event of JSON.parse(events)) list.take(event, channel);
          list.show();
        }""",
        [json.dumps(events), ADMIN_EVENTS.name],
    )
