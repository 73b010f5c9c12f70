"""The operations home: what it says of the platform, to whom, and that old pages given the events are as fresh ones."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django_scopes import scopes_disabled

from deployments import actions
from deployments.models import Deployment, Stack
from deployments.tests.conftest import make_stack, python
from deployments.tests.test_pages_replay import advance
from events import cursors, engine_client, handling, numbering
from events.cursors import PUSH
from events.heartbeats import Heart
from events.models import Event, Heartbeat
from portal.models import PlatformFigures
from portal.ops import health, watch
from portal.ops.home import spark
from portal.tests.engine_stub import EngineStub
from tenants import actions as tenants
from tests.replay import CHROMIUM, becomes_fresh, orders_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def engine(db, monkeypatch, settings) -> EngineStub:
    settings.REDIS_URL = ""
    stub = EngineStub()
    monkeypatch.setattr(engine_client, "push", stub.push)
    monkeypatch.setattr(engine_client, "positions", lambda channels, timeout=0.2: None)
    for kind in health.PROCESSES:
        Heart(kind).beat()
    cursors.ensure(PUSH)
    handling.start_cursors()
    return stub


@pytest.fixture
def stack(platform_admin) -> Stack:
    return make_stack("web", python("print('hello')"), by=platform_admin.user)


@pytest.fixture
def acme_deployment(acme, alice, stack) -> Deployment:
    return actions.request_deployment(acme, stack, {}, by=alice.user)


def silence(kind: str) -> None:
    Heartbeat.objects.filter(kind=kind).update(expires_at=Now() - timedelta(seconds=1))


def text(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<template.*?</template>|<[^>]+>", " ", response.content.decode()))


def test_all_well_says_when(platform_admin):
    page = text(platform_admin.get("/ops/"))
    assert re.search(r"All well at \d\d:\d\d:\d\d UTC", page)


def test_a_silent_relay_is_named_with_since_when_and_what_to_do(platform_admin):
    silence("relay")
    page = text(platform_admin.get("/ops/"))
    assert "1 part needs help" in page
    assert re.search(r"Relay: silent since \d\d:\d\d:\d\d UTC", page)
    assert "manage.py relay" in page


def test_what_the_page_reads_anew_is_the_same_state_without_its_frame(platform_admin):
    silence("worker")
    part = platform_admin.get("/ops/health/").content.decode()
    assert "<html" not in part
    assert 'id="verdict"' in part
    assert "Worker" in part


def test_what_somebody_did_lately_stands_below_and_leads_to_the_activity_page(platform_admin, acme, alice):
    with scopes_disabled():
        tenants.create_api_key(acme, "ci", ["events:read"], by=alice.user)
    numbering.number()
    page = platform_admin.get("/ops/").content.decode()
    assert "Alice created the API key ci" in page
    assert f"/ops/activity/?by={alice.user.pk}" in page


def test_without_pulse_no_rate_is_claimed(platform_admin):
    watch.say({"events_per_second": 12.5}, datetime.now(UTC), emitting=False)
    assert "12.5" in text(platform_admin.get("/ops/"))
    silence("pulse")
    assert "12.5" not in text(platform_admin.get("/ops/health/"))


def test_looking_costs_the_same_however_much_runs(platform_admin, acme, alice, stack):
    platform_admin.get("/ops/")
    few = queries(platform_admin, "/ops/")
    with scopes_disabled():
        for _ in range(5):
            actions.request_deployment(acme, stack, {}, by=alice.user)
    assert queries(platform_admin, "/ops/") == few <= 20
    assert queries(platform_admin, "/ops/health/") <= 14


def queries(person, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert person.get(url).status_code == 200
    return len(captured)


def test_the_small_chart_is_the_one_that_the_pages_script_draws():
    """The same values stand in static/js/tests/ops.test.js."""
    now = datetime(2026, 11, 23, 15, 4, tzinfo=UTC)
    lately = [["2026-11-23T15:00:00.000Z", 5], ["2026-11-23T15:03:00.000Z", 10], ["2026-11-23T15:03:30.000Z", 0]]
    assert spark(lately, now) == "60.0,14.0 60.0,1.0 90.0,1.0 90.0,27.0 120.0,27.0"
    assert spark([], now) == "120.0,28.0"


# --- Old state + events = fresh state ---------------------------------------------------------------------------------

REPLAY = """async events => {
  const { OpsHome } = await import("/static/js/ops.js");
  const home = new OpsHome(document.querySelector("[data-module=ops]"), {});
  for (const event of JSON.parse(events)) home.take(event);
  for (const node of document.querySelectorAll("[data-checked], [data-running], [data-lately], polyline")) {
    for (const name of ["datetime", "data-running", "data-lately", "points"]) node.removeAttribute(name);
    if (node.matches("[data-checked]")) node.textContent = "";
  }
  for (const node of document.querySelectorAll("[data-detail], #activity")) node.remove();
  for (const node of document.querySelectorAll("time[data-field]")) node.title = "";
}"""


def wire_events() -> list[dict]:
    kinds = ["health_update", "metrics_update", "deployment_update"]
    with scopes_disabled():
        return [event.wire(event.id) for event in Event.objects.filter(type__in=kinds).order_by("id")]


def an_hour_passes(engine: EngineStub, deployment: Deployment) -> None:
    """Parts fail and come back, a deployment runs, another one goes on running, figures move."""

    def look(rate: float) -> None:
        found = health.look()
        health.note(found)
        figures = {"events_per_second": rate, "connections": float(found.engine.connections or 0)}
        watch.say(figures | dict.fromkeys(LAGS, 0.0) | {"dead_letters": 0.0}, found.at, emitting=True)

    silence("relay")
    advance(deployment, "starting")
    look(3.5)
    engine.is_away = True
    look(4.0)
    advance(deployment, "running")
    engine.is_away, engine.connections = False, 9
    Heart("relay").beat()
    silence("beat")
    look(7.0)


LAGS = ["push_lag", *(f"{handler.name}_lag" for handler in handling.all_handlers())]


@pytest.mark.browser
@pytest.mark.once
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.django_db(transaction=True)
def test_an_old_home_given_the_events_is_the_home_the_server_renders_now(platform_admin, engine, acme_deployment):
    with scopes_disabled():
        health.note(health.look())
        watch.say({"events_per_second": 0.0}, datetime.now(UTC), emitting=True)
        old = platform_admin.get("/ops/").content.decode()
        with transaction.atomic():
            an_hour_passes(engine, acme_deployment)
        fresh = platform_admin.get("/ops/").content.decode()
    events = wire_events()
    assert PlatformFigures.now().version == 4
    becomes_fresh("/ops/", old, fresh, orders_of(events), lambda page, told: page.evaluate(REPLAY, json.dumps(told)))
