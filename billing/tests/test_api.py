"""Usage comes in whole or not at all, each refusal names the record and the field; what is sold and used goes out."""

import json
from base64 import b64encode
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_scopes import scope

from billing import actions, handlers
from billing.models import Subscription, Threshold, UsageRecord
from billing.tests.conftest import used
from conftest import Person
from events.models import Event
from tenants import rates
from tenants.actions import create_api_key

pytestmark = pytest.mark.django_db
RECORDS = "/api/billing/usage/records"
USAGE, SUBSCRIPTION, THRESHOLDS = "/api/billing/usage", "/api/billing/subscription", "/api/billing/thresholds"
GOOD = {"idempotency_key": "a", "meter": "minutes", "quantity": "0.1", "at": "2026-11-14T12:00:00Z"}


@pytest.fixture(autouse=True)
def a_count_of_this_tests_own(settings):
    settings.REDIS_URL = ""
    rates._limiter.cache_clear()


def service(tenant, by: Person, *scopes: str) -> Person:
    _, secret = create_api_key(tenant, "a service", scopes, by=by.user)
    return Person(user=None, client=Client(headers={"Authorization": f"Api-Key {secret}"}))


def problems(response, status: int = 400) -> dict[str, str]:
    assert response.status_code == status, response.content
    return {one["attr"]: one["detail"] for one in response.json()["errors"]}


def stored(tenant) -> int:
    with scope(tenant=tenant):
        return UsageRecord.objects.count()


def test_a_service_with_a_key_records_usage_and_sends_it_again(acme, alice, subscription):
    meter = service(acme, alice, "usage:write")
    batch = {"records": [GOOD, GOOD | {"idempotency_key": "b", "quantity": 0.2, "properties": {"branch": "main"}}]}
    assert meter.api_post(USAGE, batch).json() == {"stored": 2, "known": 0, "late": 0}
    assert meter.api_post(USAGE, batch).json() == {"stored": 0, "known": 2, "late": 0}
    found = alice.api_get(USAGE, tenant="acme").json()
    assert found["period"] == {
        "startsAt": "2026-11-01T00:00:00Z",
        "endsAt": "2026-12-01T00:00:00Z",
        "zone": "Europe/Lisbon",
    }
    assert found["meters"] == [
        {
            "resource": "minutes",
            "name": "Minutes",
            "unit": "minute",
            "version": 1,
            "usage": "0.300000",
            "limit": "500.000000",
            "percentage": 0.06,
            "reached": [],
        }
    ]


@pytest.mark.parametrize(
    ("record", "field", "words"),
    [
        (GOOD | {"idempotency_key": ""}, "idempotency_key", "at least 1"),
        (GOOD | {"idempotency_key": "x" * 201}, "idempotency_key", "at most 200"),
        (GOOD | {"idempotency_key": "a\u0000"}, "idempotency_key", "printable"),
        (GOOD | {"idempotency_key": 7}, "idempotency_key", "string"),
        (GOOD | {"idempotency_key": "samples:1"}, "idempotency_key", "Begin it otherwise"),
        (GOOD | {"idempotency_key": "x", "meter": "fuel"}, "meter", "no meter 'fuel'"),
        (GOOD | {"quantity": -1}, "quantity", "greater than or equal to 0"),
        (GOOD | {"quantity": 1e12}, "quantity", "less than"),
        (GOOD | {"quantity": "1e-7"}, "quantity", "decimal places"),
        (GOOD | {"quantity": True}, "quantity", "a number"),
        (GOOD | {"quantity": "NaN"}, "quantity", "finite"),
        (GOOD | {"quantity": "much"}, "quantity", "decimal"),
        (GOOD | {"at": 1764000000}, "at", "as text"),
        (GOOD | {"at": "2026-11-14T12:00:00"}, "at", "timezone"),
        (GOOD | {"at": "0001-01-01T00:00:00+14:00"}, "at", "greater than"),
        (GOOD | {"idempotency_key": "x", "at": "9999-12-31T23:59:59-14:00"}, "at", "60 s ahead: look at your clock"),
        (GOOD | {"idempotency_key": "x", "at": "2026-10-14T12:00:00Z"}, "at", "before the subscription"),
        (GOOD | {"properties": {"x": 1}}, "properties.x", "string"),
        (GOOD | {"properties": {str(n): "x" for n in range(11)}}, "properties", "10"),
        (GOOD | {"colour": "red"}, "colour", "not permitted"),
    ],
)
def test_a_record_that_cannot_be_is_named_and_none_of_its_batch_is_taken(
    acme, alice, subscription, record, field, words
):
    found = problems(alice.api_post(USAGE, {"records": [GOOD | {"idempotency_key": "ok"}, record]}, tenant="acme"))
    assert list(found) == [f"records.1.{field}"]
    assert words in found[f"records.1.{field}"]
    assert stored(acme) == 0


def test_a_key_that_came_with_something_else_is_a_conflict(acme, alice, subscription):
    alice.api_post(USAGE, {"records": [GOOD]}, tenant="acme")
    again = alice.api_post(USAGE, {"records": [GOOD | {"quantity": "0.2"}]}, tenant="acme")
    assert "came before with another content" in problems(again, 409)["records.0.idempotency_key"]
    assert again.json()["errors"][0]["code"] == "idempotency_conflict"


def test_who_asks_again_hears_of_usage_and_the_plan_only_what_is_new(acme, alice, bob, subscription):
    tags = {here: bob.api_get(here, tenant="acme")["ETag"] for here in (USAGE, SUBSCRIPTION)}
    for here, tag in tags.items():
        assert bob.api_get(here, tenant="acme", if_none_match=f'"other", {tag}').status_code == 304
    alice.api_post(USAGE, {"records": [GOOD]}, tenant="acme")
    alice.api_post(f"{SUBSCRIPTION}/cancel", tenant="acme")
    for here, tag in tags.items():
        assert bob.api_get(here, tenant="acme", if_none_match=tag).status_code == 200


@pytest.mark.parametrize("body", [{}, {"records": []}, {"records": {}}, [], "x", {"records": [GOOD], "more": 1}])
def test_what_is_no_batch_is_refused(acme, alice, subscription, body):
    assert alice.api_post(USAGE, json.dumps(body), tenant="acme").status_code == 400
    assert stored(acme) == 0


def test_a_tenant_that_is_not_billed_is_told_so(globex, charlie, meters):
    refused = charlie.api_post(USAGE, {"records": [GOOD]}, tenant="globex")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (409, "no_subscription")
    assert charlie.api_get(SUBSCRIPTION, tenant="globex").status_code == 404
    assert charlie.api_get(USAGE, tenant="globex").json() == {"period": None, "meters": []}


def test_who_records_too_often_is_told_when_to_go_on(acme, alice, subscription, settings):
    settings.USAGE_POSTED_PER_SECOND = 1
    answers = [alice.api_post(USAGE, {"records": [GOOD]}, tenant="acme") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1]["Retry-After"] == "1"


def test_more_meters_cost_no_more_queries(acme, bob, subscription):
    actions.record(acme, [used("a", quantity=500)])
    bob.api_get(USAGE, tenant="acme")
    for number, meter in enumerate(("seats", "disk", "people")):
        with CaptureQueriesContext(connection) as queries:
            found = bob.api_get(USAGE, tenant="acme").json()
        assert len(queries) == 7
        assert [one["reached"] for one in found["meters"] if one["resource"] == "minutes"] == [[50, 80, 100]]
        actions.record(acme, [used(f"b{number}", meter, 5, person="Ann")])


def test_bob_reads_the_records_as_they_were_reported_the_newest_first(acme, bob, subscription):
    """More of them at one moment than there are on a page: none is left out, none comes twice."""
    actions.record(acme, [used(f"early-{n}", "disk", day=3) for n in range(2)])
    actions.record(acme, [used(f"build-{n}", quantity="2.50", branch="main") for n in range(120)])
    pages, where = [], RECORDS
    while where:
        page = bob.api_get(where, tenant="acme").json()
        pages.append([one["key"] for one in page["results"]])
        where = (page["next"] or "").removeprefix("http://testserver")
    assert [len(page) for page in pages] == [50, 50, 22]
    assert [key for page in pages for key in page] == [
        *(f"build-{n}" for n in reversed(range(120))),
        "early-1",
        "early-0",
    ]
    newest = bob.api_get(RECORDS, tenant="acme").json()["results"][0]
    assert (newest["quantity"], newest["properties"], newest["isLate"]) == ("2.5", {"branch": "main"}, False)


def test_records_are_asked_for_by_meter_and_time(acme, globex, bob, subscription):
    actions.record(acme, [used("a", "disk", day=3), used("b", "minutes", day=3), used("c", "disk", day=5)])
    for asked, keys in (
        ("meter=disk", ["c", "a"]),
        ("meter=nothing", []),
        ("since=2026-11-05T00:00:00Z", ["c"]),
        ("meter=disk&until=2026-11-05T00:00:00Z", ["a"]),
    ):
        found = bob.api_get(f"{RECORDS}?{asked}", tenant="acme").json()["results"]
        assert [one["key"] for one in found] == keys
    assert "since" in problems(bob.api_get(f"{RECORDS}?since=yesterday", tenant="acme"))
    made_up = b64encode(b"p=0001-01-01T00:00:00+23:59").decode()
    assert bob.api_get(f"{RECORDS}?cursor={made_up}", tenant="acme").status_code == 404


def test_bob_reads_what_is_sold_and_what_acme_has(acme, bob, subscription):
    assert [one["slug"] for one in bob.api_get("/api/billing/meters", tenant="acme").json()["results"]] == [
        *("deployment_minutes", "disk", "minutes", "people", "samples_stored", "seats")
    ]
    plans = bob.api_get("/api/billing/plans", tenant="acme").json()["results"]
    assert [one["slug"] for one in plans] == ["starter", "standard", "team", "business"]
    assert plans[1]["prices"]["meters"]["minutes"] == {
        "included": "500",
        "tiers": [{"up_to": "1000", "unit": "0.02"}, {"unit": "0.015"}],
    }
    found = bob.api_get(SUBSCRIPTION, tenant="acme").json()
    assert (found["plan"]["slug"], found["version"], found["cancelledAt"]) == ("standard", 1, None)
    assert found["period"]["endsAt"] == "2026-12-01T00:00:00Z"


def test_alice_changes_the_plan_and_cancels_and_everybody_is_told(acme, alice, bob, subscription):
    assert bob.api_post(f"{SUBSCRIPTION}/change", {"plan": "team"}, tenant="acme").status_code == 403
    changed = alice.api_post(f"{SUBSCRIPTION}/change", {"plan": "team", "expectedVersion": 1}, tenant="acme").json()
    assert (changed["plan"]["slug"], changed["version"]) == ("team", 2)
    cancelled = alice.api_post(f"{SUBSCRIPTION}/cancel", {}, tenant="acme").json()
    assert (cancelled["version"], cancelled["cancelledAt"]) == (3, "2026-11-15T12:00:00Z")
    taken_back = alice.api_post(f"{SUBSCRIPTION}/change", {"plan": "team"}, tenant="acme").json()
    assert (taken_back["version"], taken_back["cancelledAt"]) == (4, None)
    with scope(tenant=acme):
        told = [event.summary for event in Event.objects.filter(type="subscription_update").order_by("id")]
    assert told == [
        "NEO_STACK subscribed to Team",
        "Alice changed the plan to Team",
        "Alice cancelled the subscription to Team: it ends with its period",
        "Alice changed the plan to Team",
    ]


def test_a_change_of_what_somebody_else_has_changed_is_a_conflict(acme, alice, subscription):
    actions.cancel(acme)
    for where, body in (("change", {"plan": "team"}), ("cancel", {})):
        refused = alice.api_post(f"{SUBSCRIPTION}/{where}", body | {"expectedVersion": 1}, tenant="acme")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (409, "stale_version")
    with scope(tenant=acme):
        assert Subscription.objects.get().version == 2


def test_a_plan_that_is_not_offered_is_refused(acme, alice, subscription):
    refused = alice.api_post(f"{SUBSCRIPTION}/change", {"plan": "golden"}, tenant="acme")
    assert "no such plan" in problems(refused)["plan"]


def test_alice_sets_a_threshold_of_her_own_and_takes_it_back(acme, alice, subscription):
    actions.record(acme, [used("a", quantity=330)])
    wanted = {"meter": "minutes", "percent": 65}
    for _ in range(2):
        assert alice.api_post(THRESHOLDS, wanted, tenant="acme").json() == wanted
    assert alice.api_get(THRESHOLDS, tenant="acme").json() == {"platform": [50, 80, 100], "results": [wanted]}
    with scope(tenant=acme):
        told = [event.payload["reached"] for event in Event.objects.filter(type="usage_update").order_by("id")]
    assert told == [[50], [65]], "330 of 500 are reached already: she is told at once"
    for _ in range(2):
        assert alice.api_post(f"{THRESHOLDS}/remove", wanted, tenant="acme").json()["results"] == []
    with scope(tenant=acme):
        assert not Threshold.objects.exists()
        events = list(Event.objects.filter(type="usage_threshold_updated").order_by("id"))
    assert [(event.payload["version"], event.summary) for event in events] == [
        (1, "Alice added the threshold at 65 % of minutes"),
        (2, "Alice removed the threshold at 65 % of minutes"),
    ]
    assert {f"tenant:{acme.pk}:billing", f"tenant:{acme.pk}:activity"} <= set(events[0].channels)


def test_thresholds_have_an_end_and_a_meter(acme, alice, subscription, settings):
    settings.USAGE_THRESHOLDS_PER_TENANT = 1
    assert alice.api_post(THRESHOLDS, {"meter": "minutes", "percent": 65}, tenant="acme").status_code == 201
    full = alice.api_post(THRESHOLDS, {"meter": "minutes", "percent": 66}, tenant="acme")
    assert full.status_code == 409
    assert "no such meter" in problems(alice.api_post(THRESHOLDS, {"meter": "x", "percent": 6}, tenant="acme"))["meter"]
    assert "percent" in problems(alice.api_post(THRESHOLDS, {"meter": "minutes", "percent": 0}, tenant="acme"))


def test_the_api_describes_itself(client):
    found = client.get("/api/schema", headers={"accept": "application/json"}).json()
    post = found["paths"][USAGE]["post"]
    content = post["requestBody"]["content"]["application/json"]
    assert content["schema"]["$ref"].endswith("/UsageBatch")
    assert content["examples"]
    assert "409" in post["responses"]


def test_nobody_takes_the_key_of_a_deployments_minutes_before_it_ends(acme, alice, subscription):
    """Its minutes would be free, and what meters everybody's would be held up by them."""
    deployment = str(uuid4())
    free = GOOD | {"idempotency_key": f"deployment:{deployment}", "meter": "deployment_minutes", "quantity": 0}
    assert "reserved" in service(acme, alice, "usage:write").api_post(USAGE, {"records": [free]}).content.decode()
    data = {"title": "web #1", "startedAt": "2026-11-14T10:00:00.000Z", "endedAt": "2026-11-14T10:02:30.000Z"}
    payload = {"deploymentId": deployment, "status": "completed", "data": data}
    handlers.meter_deployment(Event(type="deployment_update", tenant=acme, payload=payload), 1)
    with scope(tenant=acme):
        assert UsageRecord.objects.get().quantity == Decimal("2.5")
