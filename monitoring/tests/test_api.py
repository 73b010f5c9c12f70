"""Samples come in whole or not at all, each refusal names the sample and the field; what goes out can be followed."""

import json
from datetime import timedelta

import pytest
from django.test import Client
from django_scopes import scopes_disabled

from conftest import Person
from events import channels, engine_client
from events.channels import Topic
from events.engine_client import Position
from monitoring.actions import record
from monitoring.models import Sample
from monitoring.tests.conftest import NOON, facts, measured, newest, updates
from tenants import rates
from tenants.actions import create_api_key

pytestmark = pytest.mark.django_db
POST, LATEST, SERIES = "/api/monitoring/metrics", "/api/tenant/metrics", "/api/monitoring/series"
GOOD = {"name": "cpu_percent", "value": 12.5, "unit": "%", "at": NOON.isoformat()}


@pytest.fixture(autouse=True)
def a_count_of_this_tests_own(settings):
    """In memory, where the tests' clock counts: Redis has a clock of its own."""
    settings.REDIS_URL = ""
    rates._limiter.cache_clear()


def service(tenant, by: Person, *scopes: str) -> Person:
    """A service with a key, as a client that sends it each time."""
    _, secret = create_api_key(tenant, "a service", scopes, by=by.user)
    return Person(user=None, client=Client(headers={"Authorization": f"Api-Key {secret}"}))


def stored() -> int:
    with scopes_disabled():
        return Sample.objects.count()


def problems(response) -> dict[str, str]:
    assert response.status_code == 400, response.content
    return {one["attr"]: one["detail"] for one in response.json()["errors"]}


def test_an_agent_with_a_key_sends_samples_and_sends_them_again(acme, alice, clock):
    agent = service(acme, alice, "metrics:write")
    batch = {"samples": [GOOD, GOOD | {"name": "load_1m", "value": 3, "unit": ""}]}
    assert agent.api_post(POST, batch).json() == {"stored": 2, "known": 0, "left_out": 0, "version": 1}
    assert agent.api_post(POST, batch).json() == {"stored": 0, "known": 2, "left_out": 0, "version": 1}
    assert newest(acme) == {"cpu_percent": 12.5, "load_1m": 3.0}
    assert updates(acme) == [facts(cpu_percent=12.5, load_1m=3.0) | {"version": 1}]


@pytest.mark.parametrize(
    ("sample", "field", "words"),
    [
        (GOOD | {"name": "CPU"}, "name", "lower-case"),
        (GOOD | {"name": ""}, "name", "lower-case"),
        (GOOD | {"name": "a" * 65}, "name", "64"),
        (GOOD | {"name": "cpu\n"}, "name", "lower-case"),
        (GOOD | {"name": 7}, "name", "string"),
        (GOOD | {"value": "12.5"}, "value", "number"),
        (GOOD | {"value": True}, "value", "number"),
        (GOOD | {"value": None}, "value", "number"),
        (GOOD | {"value": 1e300}, "value", "less than"),
        (GOOD | {"value": -1e300}, "value", "greater than"),
        (GOOD | {"unit": "%" * 17}, "unit", "16"),
        (GOOD | {"unit": "\u0000"}, "unit", "printable"),
        (GOOD | {"at": 1764000000}, "at", "as text"),
        (GOOD | {"at": "yesterday"}, "at", "datetime"),
        (GOOD | {"at": "2026-11-23T12:00:00"}, "at", "timezone"),
        (GOOD | {"at": "2026-11-22T12:00:00Z"}, "at", "more than 43200 s old"),
        (GOOD | {"at": "2026-11-23T12:02:00Z"}, "at", "60 s ahead: look at your clock"),
        ({name: value for name, value in GOOD.items() if name != "at"}, "at", "required"),
        ({name: value for name, value in GOOD.items() if name != "value"}, "value", "required"),
        (GOOD | {"colour": "red"}, "colour", "not permitted"),
        (GOOD | {"kind": "histogram"}, "kind", "'gauge' or 'counter'"),
        (GOOD | {"labels": {"0": "x"}}, "labels", "no digit first"),
        (GOOD | {"labels": {"code": "2\n"}}, "labels", "printable"),
        (GOOD | {"labels": {"code": "2" * 200}}, "labels", "136 characters"),
        (GOOD | {"labels": {"code": 200}}, "labels.code", "string"),
    ],
)
def test_a_sample_that_cannot_be_is_named_and_none_of_its_batch_is_stored(acme, alice, clock, sample, field, words):
    found = problems(alice.api_post(POST, {"samples": [GOOD, sample]}, tenant="acme"))
    assert list(found) == [f"samples.1.{field}"]
    assert words in found[f"samples.1.{field}"]
    assert (stored(), updates(acme)) == (0, [])


@pytest.mark.parametrize("body", [{}, {"samples": []}, {"samples": {}}, [], "x", {"samples": [GOOD], "more": 1}])
def test_what_is_no_batch_is_refused(acme, alice, clock, body):
    assert alice.api_post(POST, json.dumps(body), tenant="acme").status_code == 400
    assert stored() == 0


def test_infinity_and_nan_are_no_json(acme, alice, clock):
    for value in ("NaN", "Infinity", "1e999", "9" * 400):
        body = json.dumps({"samples": [GOOD | {"value": "?"}]}).replace('"?"', value)
        assert alice.api_post(POST, body, tenant="acme").status_code == 400, value
    assert stored() == 0


def test_a_batch_has_an_end_and_a_tenants_names_too(acme, alice, clock, settings):
    many = [GOOD | {"value": float(n)} for n in range(501)]
    assert "500" in problems(alice.api_post(POST, {"samples": many}, tenant="acme"))["samples"]
    settings.METRIC_SERIES_PER_TENANT = 1
    found = problems(alice.api_post(POST, {"samples": [GOOD, GOOD | {"name": "other"}]}, tenant="acme"))
    assert "Nothing was stored." in found["samples.1.name"]
    assert stored() == 0
    assert alice.api_post(POST, {"samples": many[:500]}, tenant="acme").status_code == 200


def test_who_sends_too_often_is_told_when_to_go_on_and_stops_nobody_else(acme, globex, alice, charlie, clock, settings):
    settings.METRICS_POSTED_PER_SECOND = 2
    answers = [alice.api_post(POST, {"samples": [GOOD]}, tenant="acme") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2]["Retry-After"] == "1"
    assert charlie.api_post(POST, {"samples": [GOOD]}, tenant="globex").status_code == 200


def test_bob_sees_the_newest_and_where_to_follow_it_from(acme, bob, clock, monkeypatch):
    """The position is asked for before the values are read."""
    record(acme, [measured("cpu_percent", 1.0, unit="%")])
    clock.move(seconds=1)

    def positions(wanted, timeout=0.2):
        record(acme, [measured("cpu_percent", 2.0, unit="%")])
        return {channel.name: Position(offset=7, epoch="e") for channel in wanted}

    monkeypatch.setattr(engine_client, "positions", positions)
    assert bob.api_get(LATEST, tenant="acme").json() == {
        "tenantId": str(acme.id),
        "metrics": {"cpu_percent": {"value": 2.0, "unit": "%", "at": "2026-11-23T12:00:01.000Z", "kind": "gauge"}},
        "version": 2,
        "as_of": "2026-11-23T12:00:01.000Z",
        "position": {"channel": channels.tenant(acme.id, Topic.DASHBOARD).name, "offset": 7, "epoch": "e"},
    }


def test_while_the_engine_is_away_the_values_are_there_all_the_same(acme, globex, alice, charlie, clock):
    record(acme, [measured("load_1m", 1.0)])
    for reader in (alice, service(acme, alice, "events:read")):
        found = reader.api_get(LATEST, tenant="acme").json()
        assert found["metrics"]["load_1m"]["value"] == 1.0
        channel = channels.tenant(acme.id, Topic.DASHBOARD).name
        assert found["position"] == {"channel": channel, "offset": None, "epoch": None}
    nothing_yet = charlie.api_get(LATEST, tenant="globex").json()
    assert (nothing_yet["metrics"], nothing_yet["version"], nothing_yet["as_of"]) == ({}, 0, None)


def test_a_chart_reads_its_series(acme, bob, clock):
    record(acme, [measured("cpu_percent", 1.0, unit="%"), measured("load_1m", 2.0, NOON - timedelta(minutes=2))])
    found = bob.api_get(f"{SERIES}?range=1h&name=cpu_percent&name=load_1m", tenant="acme").json()
    assert (found["names"], found["unit"]) == (["cpu_percent", "load_1m"], {"cpu_percent": "%", "load_1m": ""})
    noon = int(NOON.timestamp())
    assert found["points"]["load_1m"][-3:] == [
        [noon - 120, 2.0, 2.0, 2.0],
        [noon - 60, None, None, None],
        [noon, None, None, None],
    ]
    assert bob.api_get(SERIES, tenant="acme").json()["names"] == ["cpu_percent", "load_1m"]


@pytest.mark.parametrize("query", ["range=2h", "name=" + "x" * 201, "&".join(f"name=m{n}" for n in range(21)), "name="])
def test_a_series_nobody_could_draw_is_refused(acme, bob, query):
    assert bob.api_get(f"{SERIES}?{query}", tenant="acme").status_code == 400


def test_the_api_describes_itself(client):
    found = client.get("/api/schema", headers={"accept": "application/json"}).json()
    paths, parts = found["paths"], found["components"]["schemas"]
    assert paths[POST]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Batch")
    assert {"name", "value", "unit", "at", "kind", "labels"} == set(parts["SampleIn"]["properties"])
    parameters = {one["name"]: one for one in paths[SERIES]["get"]["parameters"]}
    assert parameters["range"]["schema"]["enum"] == ["15m", "1h", "24h", "7d", "30d", "90d", "1y"]
    assert parameters["name"]["schema"]["type"] == "array"
    assert "position" in parts["TenantMetrics"]["properties"]
