"""The tenants as the platform's staff see them: who needs help, suspending and resuming, and the jump dialog."""

import json
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_scopes import scopes_disabled

from deployments import actions as deployments
from deployments.models import Deployment
from deployments.tests.conftest import make_stack, python
from events import numbering
from events.models import Event
from monitoring.actions import Measured, record
from tenants import actions
from tenants.models import Membership, Role, Tenant
from tests.replay import CHROMIUM, becomes_fresh, orders_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def every_tenant():
    with scopes_disabled():
        yield


@pytest.fixture(autouse=True)
def engine_away(monkeypatch):
    monkeypatch.setattr("events.engine_client.positions", lambda channels, timeout=0.2: None)


def text(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<template.*?</template>|<[^>]+>", " ", response.content.decode()))


def rows(response) -> list[str]:
    """The text of each row of the list."""
    found = re.findall(r"<tr id=\"tenant-.*?</tr>", response.content.decode(), re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip() for row in found]


def fail_one(tenant: Tenant, alice, platform_admin) -> Deployment:
    stack = make_stack("web", python("raise SystemExit(3)"), by=platform_admin.user)
    made = deployments.request_deployment(tenant, stack, {}, by=alice.user)
    now = timezone.now()
    Deployment.objects.filter(pk=made.pk).update(status="failed", started_at=now, ended_at=now, reason="It broke.")
    return made


# --- The list ---------------------------------------------------------------------------------------------------------


def test_where_all_goes_well_nobody_needs_help(platform_admin, acme):
    assert "Nobody needs help" in text(platform_admin.get("/ops/tenants/"))


def test_a_tenant_whose_deployment_failed_today_needs_help(platform_admin, acme, globex, alice, bob):
    fail_one(acme, alice, platform_admin)
    page = platform_admin.get("/ops/tenants/?show=help")
    (row,) = rows(page)
    assert row.startswith("Acme acme Active 2 0 1")
    assert "1 tenant had deployments fail today" in text(page)


def test_a_suspended_tenant_stands_among_those_that_need_help(platform_admin, acme, globex):
    actions.suspend(globex, platform_admin.user)
    assert [row[:16] for row in rows(platform_admin.get("/ops/tenants/?show=help"))] == ["Globex globex Su"]


def test_a_tenant_is_found_by_a_piece_of_its_name_or_address(platform_admin, acme, globex):
    assert [row[:4] for row in rows(platform_admin.get("/ops/tenants/?q=CM"))] == ["Acme"]
    assert rows(platform_admin.get("/ops/tenants/?q=zzz")) == []


def test_last_activity_is_what_somebody_did(platform_admin, acme, alice):
    assert "Nothing yet" in rows(platform_admin.get("/ops/tenants/"))[0]
    actions.create_api_key(acme, "ci", ["events:read"], by=alice.user)
    numbering.number()
    assert "just now" in rows(platform_admin.get("/ops/tenants/"))[0]


@pytest.fixture
def many(db) -> list[Tenant]:
    return Tenant.objects.bulk_create(Tenant(slug=f"t{n:04}", name=f"Tenant {n:04}") for n in range(1000))


def test_a_thousand_tenants_are_pages_of_fifty_that_lead_to_each_other(platform_admin, many):
    first = platform_admin.get("/ops/tenants/")
    assert [row.split()[1] for row in rows(first)] == [f"{n:04}" for n in range(50)]
    second = platform_admin.get("/ops/tenants/?after=t0049")
    assert [row.split()[1] for row in rows(second)] == [f"{n:04}" for n in range(50, 100)]
    assert "?before=t0050" in second.content.decode()
    assert [row.split()[1] for row in rows(platform_admin.get("/ops/tenants/?before=t0050"))][-1] == "0049"
    assert 'rel="next"' not in platform_admin.get("/ops/tenants/?after=t0949").content.decode()


def test_a_thousand_tenants_cost_as_many_queries_as_one(platform_admin, acme, request):
    platform_admin.get("/ops/tenants/")
    one = queries(platform_admin, "/ops/tenants/")
    request.getfixturevalue("many")
    assert queries(platform_admin, "/ops/tenants/") == one <= 14


def queries(person, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert person.get(url).status_code == 200
    return len(captured)


# --- One tenant -------------------------------------------------------------------------------------------------------


def test_a_tenants_page_names_its_people_and_what_was_deployed(platform_admin, acme, alice, bob):
    fail_one(acme, alice, platform_admin)
    page = text(platform_admin.get("/ops/tenants/acme/"))
    for words in ("Alice", "bob@acme.example", "web #1", "Failed", "/t/acme/"):
        assert words in page


def test_a_tenants_page_has_its_newest_figures_and_follows_them(platform_admin, acme, globex):
    record(acme, [Measured("cpu_percent", 12.34, timezone.now(), "%")])
    record(globex, [Measured("load_1m", 7.0, timezone.now())])
    response = platform_admin.get("/ops/tenants/acme/")
    assert "Samples arrive CPU 12.3 %" in text(response)
    assert "Load" not in text(response)
    assert f'data-samples="tenant:{acme.id}:dashboard"' in response.content.decode()
    assert f"tenant:{globex.id}" not in response.content.decode()


def test_a_tenants_page_costs_the_same_for_many_people(platform_admin, acme, alice):
    platform_admin.get("/ops/tenants/acme/")
    few = queries(platform_admin, "/ops/tenants/acme/")
    for n in range(10):
        actions.add_member(acme, f"person{n}@acme.example", Role.TENANT_USER, by=alice.user, name=f"Person {n}")
    assert Membership.objects.filter(tenant=acme).count() == 11
    assert queries(platform_admin, "/ops/tenants/acme/") == few <= 14


def test_suspending_asks_why(platform_admin, acme):
    page = text(platform_admin.post("/ops/tenants/acme/suspend/", {"reason": "  "}))
    assert "Nobody was suspended" in page
    assert not Tenant.objects.get(slug="acme").is_suspended


def test_a_suspended_tenants_people_read_why(platform_admin, acme, alice):
    response = platform_admin.post("/ops/tenants/acme/suspend/", {"reason": "Invoices unpaid since May."})
    assert (response.status_code, response["Location"]) == (302, "/ops/tenants/acme/")
    assert "Invoices unpaid since May." in text(platform_admin.get("/ops/tenants/acme/"))
    page = alice.get("/t/acme/")
    assert page.status_code == 403
    assert "Invoices unpaid since May." in text(page)
    event = Event.objects.get(type="tenant_updated")
    assert event.summary == "Ada suspended Acme: Invoices unpaid since May."


def test_resuming_gives_access_back_and_forgets_the_reason(platform_admin, acme, alice):
    actions.suspend(acme, platform_admin.user, "Invoices unpaid.")
    assert platform_admin.post("/ops/tenants/acme/resume/").status_code == 302
    assert alice.get("/t/acme/").status_code == 200
    assert Tenant.objects.get(slug="acme").suspended_reason == ""


def test_what_somebody_else_has_done_meanwhile_is_a_conflict_with_the_difference(platform_admin, acme):
    actions.suspend(acme, None, "By somebody else.")
    response = platform_admin.post("/ops/tenants/acme/suspend/", {"reason": "Mine."})
    assert response.status_code == 409
    assert "Nothing was changed now" in text(response)
    assert "By somebody else." in text(response)
    actions.resume(acme, None)
    assert platform_admin.post("/ops/tenants/acme/resume/").status_code == 409


def test_whoever_makes_keys_meanwhile_is_suspended_all_the_same(platform_admin, acme, alice):
    platform_admin.get("/ops/tenants/acme/suspend/")
    actions.create_api_key(acme, "ci", ["events:read"], by=alice.user)
    assert platform_admin.post("/ops/tenants/acme/suspend/", {"reason": "Abuse."}).status_code == 302


def test_nobody_else_can_tell_that_these_pages_are_there(alice, acme):
    never = alice.get("/ops/tenants/never-used/")
    for url in ("/ops/tenants/", "/ops/tenants/acme/", "/ops/jump/"):
        found = alice.get(url)
        assert (found.status_code, found.content) == (404, never.content)


# --- Jump -------------------------------------------------------------------------------------------------------------


def test_staff_jump_to_tenants_pages_and_events(platform_admin, acme, alice):
    actions.create_api_key(acme, "ci", ["events:read"], by=alice.user)
    numbering.number()
    event = Event.objects.get()
    assert "/ops/tenants/acme/" in found(platform_admin, "acm")
    assert "/ops/events/" in found(platform_admin, "event")
    for asked in (str(event.uuid), str(event.entry.seq)):
        assert f"/ops/events/{event.uuid}/" in found(platform_admin, asked)


@pytest.mark.parametrize("asked", ["9" * 40, "0" * 32, "²", "not-an-id", "\x00", "'"])
def test_whatever_is_asked_is_answered(platform_admin, asked):
    assert platform_admin.client.get("/ops/jump/", {"q": asked}).status_code == 200
    for name in ("q", "after", "before", "show"):
        assert platform_admin.client.get("/ops/tenants/", {name: asked}).status_code == 200


def found(person, asked: str) -> list[str]:
    page = person.get(f"/ops/jump/?q={asked}").content.decode()
    return re.findall(r'href="([^"]+)" data-row-link', page)


def test_the_dialog_asks_where_the_page_belongs(platform_admin, alice, acme):
    assert 'data-url="/ops/jump/"' in platform_admin.get("/ops/tenants/").content.decode()
    assert 'data-url="/t/acme/jump/"' in alice.get("/t/acme/").content.decode()


# --- Old state + events = fresh state ---------------------------------------------------------------------------------

#: Names and states come by event; figures, and who needs help, are read anew a moment later.
REPLAY = """async events => {
  const { OpsTenants } = await import("/static/js/ops.js");
  const tenants = new OpsTenants(document.querySelector("[data-module=ops]"), { isOver: true });
  for (const event of JSON.parse(events)) tenants.take(event);
  for (const node of document.querySelectorAll("#help, [data-label], .cell-when, [data-came]")) node.remove();
}"""


@pytest.mark.browser
@pytest.mark.once
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.django_db(transaction=True)
def test_an_old_list_given_the_events_is_the_list_the_server_renders_now(platform_admin, acme, globex):
    old = platform_admin.get("/ops/tenants/").content.decode()
    actions.suspend(acme, None, "Unpaid.")
    actions.update_tenant(globex, None, name="Globex Corporation")
    actions.resume(acme, None)
    actions.suspend(globex, None)
    fresh = platform_admin.get("/ops/tenants/").content.decode()
    events = [event.wire(event.id) for event in Event.objects.filter(type="tenant_updated").order_by("id")]
    becomes_fresh("/ops/", old, fresh, orders_of(events), lambda page, told: page.evaluate(REPLAY, json.dumps(told)))
