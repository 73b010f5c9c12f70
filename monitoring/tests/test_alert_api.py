"""The alerting API: rules, alerts, silences and policies of one's own tenant; refusals name the field."""

import pytest
from django.db import transaction
from django_scopes import scopes_disabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring.actions import record
from monitoring.alerting import incoming
from monitoring.alerting.actions import let_time_pass, raise_alert
from monitoring.alerting.incoming import AlertmanagerWebhook
from monitoring.alerting.models import OPEN, Alert, Source
from monitoring.models import wire_time
from monitoring.tests.conftest import measured, raised, said_of_alerts, states_said
from monitoring.tests.test_api import problems, service
from tenants import rates

pytestmark = pytest.mark.django_db
ALERTS, RULES, SILENCES = "/api/monitoring/alerts", "/api/monitoring/rules", "/api/monitoring/silences"
POLICIES = "/api/monitoring/escalation-policies"
BUSY = {"name": "CPU is busy", "metric": "cpu_percent", "threshold": 90, "windowSeconds": 60, "severity": "error"}
BACKUP = {"key": "backup", "name": "Backup failed", "severity": "error", "message": "No space left."}


SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(autouse=True)
def a_count_of_this_tests_own(settings):
    settings.REDIS_URL = ""
    rates._limiter.cache_clear()


def change(person, method: str, url: str, data=None, **headers: str):
    headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"X-Tenant": "acme"}
    return getattr(person.client, method)(url, data or {}, content_type="application/json", headers=headers)


# --- Raising ----------------------------------------------------------------------------------------------------------


def test_a_service_raises_and_resolves_and_repeats_itself_harmlessly(acme, alice, clock):
    backup = service(acme, alice, "alerts:write")
    first, again = backup.api_post(ALERTS, BACKUP), backup.api_post(ALERTS, BACKUP)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["alert"]["id"] == again.json()["alert"]["id"]
    assert first.json()["alert"]["state"] == "firing"
    over = {"key": "backup", "status": "resolved"}
    assert backup.api_post(ALERTS, over).json()["alert"]["state"] == "resolved"
    assert backup.api_post(ALERTS, over).json() == {"alert": None}
    assert states_said(acme) == ["firing", "resolved"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"key": ""}, "key"),
        ({"key": "k" * 197}, "key"),
        ({"severity": "loud"}, "severity"),
        ({"status": "over"}, "status"),
        ({"value": "7"}, "value"),
        ({"startedAt": "yesterday"}, "startedAt"),
        ({"link": "javascript:alert(1)"}, "link"),
        ({"labels": {"team": 7}}, "labels.team"),
        ({"message": "a\u0000b"}, "message"),
        ({"labels": {"a": "b\u0000"}}, "labels.a"),
        ({"startedAt": "0001-01-01T00:00:00+14:00"}, "startedAt"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_an_alert_that_cannot_be_names_the_field(acme, alice, wrong, field):
    assert list(problems(alice.api_post(ALERTS, BACKUP | wrong, tenant="acme"))) == [field]
    assert states_said(acme) == []


def test_a_source_that_raises_too_much_is_told_to_wait(acme, alice, settings):
    settings.ALERTS_OPEN_PER_TENANT = 1
    assert alice.api_post(ALERTS, BACKUP, tenant="acme").status_code == 201
    refused = alice.api_post(ALERTS, BACKUP | {"key": "other"}, tenant="acme")
    assert (refused.status_code, refused["Retry-After"]) == (429, "60")
    assert "1 alerts are open" in refused.content.decode()
    settings.ALERTS_POSTED_PER_SECOND = 1
    answers = [alice.api_post(ALERTS, BACKUP, tenant="acme").status_code for _ in range(3)]
    assert 429 in answers


# --- Looking after them -----------------------------------------------------------------------------------------------


def test_alice_acknowledges_silences_and_undoes_over_http(acme, alice, clock):
    alert = alice.api_post(ALERTS, BACKUP, tenant="acme").json()["alert"]
    here = f"{ALERTS}/{alert['id']}"
    body = {"note": "Looking", "until": "2026-11-23T13:00:00Z", "expectedVersion": 1}
    taken = alice.api_post(f"{here}/acknowledge", body, tenant="acme").json()
    assert (taken["state"], taken["version"]) == ("acknowledged", 2)
    assert taken["metadata"]["acknowledgedBy"] == "Alice"
    silence = alice.api_post(f"{here}/silence", {"reason": "Known", "seconds": 3600}, tenant="acme")
    assert silence.status_code == 201
    assert silence.json()["until"] == "2026-11-23T13:00:00.000Z"
    assert alice.api_get(here, tenant="acme").json()["state"] == "silenced"
    ended = alice.api_post(f"{SILENCES}/{silence.json()['id']}/end", tenant="acme").json()
    assert ended["state"] == "ended"
    assert alice.api_get(here, tenant="acme").json()["state"] == "acknowledged"
    assert alice.api_post(f"{here}/unacknowledge", tenant="acme").json()["state"] == "firing"
    assert alice.api_post(f"{here}/resolve", tenant="acme").json()["state"] == "resolved"
    refused = alice.api_post(f"{here}/acknowledge", tenant="acme")
    assert refused.status_code == 409
    assert refused.json()["errors"][0]["code"] == "not_open"


def test_what_has_changed_meanwhile_is_not_acknowledged(acme, alice):
    alert = raise_alert(acme, raised(source=Source.ALERTMANAGER))
    here = f"{ALERTS}/{alert.pk}"
    stale = alice.api_post(f"{here}/acknowledge", {"expectedVersion": 7}, tenant="acme")
    assert (stale.status_code, stale.json()["errors"][0]["code"]) == (409, "stale_version")
    past = alice.api_post(f"{here}/acknowledge", {"until": "2020-01-01T00:00:00Z"}, tenant="acme")
    assert past.status_code == 409
    assert alice.api_post(f"{here}/resolve", tenant="acme").json()["errors"][0]["code"] == "its_source_decides"
    assert states_said(acme) == ["firing"]


def test_an_alerts_etag_is_taken_with_every_change_of_it(acme, alice, clock):
    here = f"{ALERTS}/{raise_alert(acme, raised(source=Source.API)).pk}"
    first = alice.api_get(here, tenant="acme")["ETag"]
    second = alice.api_post(f"{here}/acknowledge", tenant="acme", if_match=first)["ETag"]
    for act in ("acknowledge", "unacknowledge", "resolve"):
        stale = alice.api_post(f"{here}/{act}", tenant="acme", if_match=first)
        assert (stale.status_code, stale.json()["errors"][0]["code"]) == (412, "precondition_failed")
    assert states_said(acme) == ["firing", "acknowledged"]
    third = alice.api_post(f"{here}/unacknowledge", tenant="acme", if_match=second)["ETag"]
    assert alice.api_post(f"{here}/resolve", tenant="acme", if_match=third).status_code == 200


def test_a_list_is_filtered_and_paged_and_one_alert_has_an_etag(acme, globex, alice, charlie, clock):
    for number in range(55):
        raise_alert(acme, raised(f"key {number}", name=f"Alert {number}", severity="info" if number else "critical"))
    raise_alert(globex, raised())
    first = alice.api_get(ALERTS, tenant="acme").json()
    assert len(first["results"]) == 50
    assert first["results"][0]["metadata"]["name"] == "Alert 54"
    second = alice.api_get(first["next"], tenant="acme").json()
    assert [one["metadata"]["name"] for one in second["results"]][-1] == "Alert 0"
    assert second["next"] is None
    critical = alice.api_get(f"{ALERTS}?severity=critical&state=open", tenant="acme").json()["results"]
    assert [one["metadata"]["name"] for one in critical] == ["Alert 0"]
    assert alice.api_get(f"{ALERTS}?state=resolved", tenant="acme").json()["results"] == []
    assert alice.api_get(f"{ALERTS}?state=over", tenant="acme").status_code == 400
    began = critical[0]["metadata"]["startedAt"]
    assert len(alice.api_get(f"{ALERTS}?since={began}&page_size=200", tenant="acme").json()["results"]) == 55
    assert alice.api_get(f"{ALERTS}?until={began}", tenant="acme").json()["results"] == []
    assert alice.api_get(f"{ALERTS}?cursor=cD14", tenant="acme").status_code == 404
    here = f"{ALERTS}/{critical[0]['id']}"
    etag = alice.api_get(here, tenant="acme")["ETag"]
    assert alice.api_get(here, tenant="acme", if_none_match=etag).status_code == 304
    assert charlie.api_get(here, tenant="globex").status_code == 404


# --- Rules ------------------------------------------------------------------------------------------------------------


def test_a_rule_is_made_changed_with_its_etag_and_deleted(acme, alice):
    made = alice.api_post(RULES, BUSY, tenant="acme")
    assert made.status_code == 201
    rule = made.json()
    assert rule | BUSY == rule
    assert (rule["version"], made["ETag"]) == (1, '"1"')
    here = f"{RULES}/{rule['id']}"
    changed = change(alice, "patch", here, {"threshold": 95}, if_match='"1"')
    assert (changed.json()["threshold"], changed["ETag"]) == (95, '"2"')
    assert change(alice, "patch", here, {"threshold": 99}, if_match='"1"').status_code == 412
    assert change(alice, "patch", here, {"threshold": 99}, if_match="old").status_code == 400
    assert [one["threshold"] for one in alice.api_get(RULES, tenant="acme").json()["results"]] == [95]
    assert change(alice, "delete", here, if_match='"1"').status_code == 412
    assert alice.api_get(here, tenant="acme")["ETag"] == changed["ETag"]
    assert change(alice, "delete", here, if_match=changed["ETag"]).status_code == 204
    assert alice.api_get(here, tenant="acme").status_code == 404


def test_a_policy_and_a_silence_that_have_changed_stay(acme, alice):
    steps = [{"afterSeconds": 60, "ways": ["in_app"]}]
    policy = alice.api_post(POLICIES, {"name": "On call", "steps": steps}, tenant="acme")
    here = f"{POLICIES}/{policy.json()['id']}"
    changed = change(alice, "patch", here, {"repeatSeconds": 60})
    assert change(alice, "delete", here, if_match=policy["ETag"]).status_code == 412
    assert change(alice, "delete", here, if_match=changed["ETag"]).status_code == 204
    body = {"matchers": [{"label": "host", "value": "db-1"}], "reason": "Moved", "seconds": 600}
    silence = alice.api_post(SILENCES, body, tenant="acme")
    end = f"{SILENCES}/{silence.json()['id']}/end"
    assert alice.api_post(end, tenant="acme", if_match='"9"').status_code == 412
    ended = alice.api_post(end, tenant="acme", if_match=silence["ETag"])
    assert (ended.status_code, ended["ETag"]) == (200, '"2"')
    assert alice.api_post(end, tenant="acme", if_match=silence["ETag"]).status_code == 412


def test_rules_are_found_and_come_a_page_at_a_time(acme, alice):
    for number in range(3):
        alice.api_post(RULES, BUSY | {"name": f"Rule {number}", "metric": f"load_{number}"}, tenant="acme")
    off = BUSY | {"name": "Off", "enabled": False, "severity": "info"}
    assert alice.api_post(RULES, off, tenant="acme").status_code == 201

    def found(query: str) -> list[str]:
        return [one["name"] for one in alice.api_get(f"{RULES}?{query}", tenant="acme").json()["results"]]

    assert found("") == ["Off", "Rule 0", "Rule 1", "Rule 2"]
    assert found("enabled=true") == ["Rule 0", "Rule 1", "Rule 2"]
    assert (found("enabled=false"), found("severity=info"), found("metric=load_1")) == (["Off"], ["Off"], ["Rule 1"])
    first = alice.api_get(f"{RULES}?page_size=2", tenant="acme").json()
    second = alice.api_get(first["next"], tenant="acme").json()
    assert [one["name"] for one in second["results"]] == ["Rule 1", "Rule 2"]
    assert (second["next"], alice.api_get(second["previous"], tenant="acme").json()["results"]) == (
        None,
        first["results"],
    )


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"threshold": None}, "threshold"),
        ({"threshold": "90"}, "threshold"),
        ({"windowSeconds": 30}, "windowSeconds"),
        ({"windowSeconds": None}, "windowSeconds"),
        ({"message": None}, "message"),
        ({"forSeconds": 100_000}, "forSeconds"),
        ({"kind": "odd"}, "kind"),
        ({"message": "{value!r}"}, "message"),
        ({"recovery": 99}, "recovery"),
        ({"policyId": "0190b6a8-0000-7000-8000-000000000000"}, "policyId"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_rule_that_cannot_be_names_the_field(acme, alice, wrong, field):
    assert list(problems(alice.api_post(RULES, BUSY | wrong, tenant="acme"))) == [field]
    assert list(problems(alice.api_post(f"{RULES}/dry-run", BUSY | wrong, tenant="acme"))) == [field]
    made = alice.api_post(RULES, BUSY, tenant="acme").json()
    assert list(problems(change(alice, "patch", f"{RULES}/{made['id']}", wrong))) == [field]


def test_a_dry_run_says_how_often_it_would_have_fired_and_stores_nothing(acme, alice, clock):
    for value in (50.0, 97.0, 97.0, 97.0, 50.0, 50.0):
        record(acme, [measured("cpu_percent", value, unit="%")])
        clock.move(minutes=1)
    found = alice.api_post(f"{RULES}/dry-run", BUSY, tenant="acme").json()
    assert (found["fired"], found["unit"], len(found["points"])) == (1, "%", 1440)
    assert found["summary"].startswith("It would have fired once in the last day.")
    assert found["firings"][0]["peak"] == 97.0
    assert alice.api_get(RULES, tenant="acme").json()["results"] == []


# --- Silences and policies --------------------------------------------------------------------------------------------


def test_a_silence_by_matchers(acme, alice, clock):
    raise_alert(acme, raised())
    body = {"matchers": [{"label": "instance", "op": "~", "value": "db-*"}], "reason": "Maintenance", "seconds": 7200}
    made = alice.api_post(SILENCES, body, tenant="acme")
    assert made.status_code == 201
    assert states_said(acme) == ["firing", "silenced"]
    assert [one["id"] for one in alice.api_get(f"{SILENCES}?state=active", tenant="acme").json()["results"]] == [
        made.json()["id"]
    ]
    assert alice.api_get(f"{SILENCES}?state=ended", tenant="acme").json()["results"] == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"matchers": []}, "matchers"),
        ({"matchers": [{"label": "a", "op": "=~", "value": "b"}]}, "matchers.0.op"),
        ({"reason": ""}, "reason"),
        ({"seconds": None}, "non_field_errors"),
        ({"seconds": 91 * 86_400}, "expiresAt"),
    ],
)
def test_a_silence_that_cannot_be_names_the_field(acme, alice, wrong, field):
    body = {"matchers": [{"label": "instance", "op": "=", "value": "db-1"}], "reason": "Why", "seconds": 60}
    assert list(problems(alice.api_post(SILENCES, body | wrong, tenant="acme"))) == [field]


def test_who_is_called_is_said_over_http_too(acme, alice):
    steps = [{"afterSeconds": 300, "people": [str(alice.user.pk)], "ways": ["in_app", "email"]}]
    made = alice.api_post(POLICIES, {"name": "On call", "steps": steps, "isDefault": True}, tenant="acme")
    assert made.status_code == 201, made.content
    assert made.json()["steps"] == steps
    here = f"{POLICIES}/{made.json()['id']}"
    assert change(alice, "patch", here, {"repeatSeconds": 3600}, if_match='"1"').json()["repeatSeconds"] == 3600
    assert change(alice, "patch", here, {"repeatSeconds": 5}).json()["errors"][0]["attr"] == "repeatSeconds"
    assert list(problems(change(alice, "patch", here, {"steps": None}))) == ["steps"]
    rule = alice.api_post(RULES, BUSY | {"policyId": made.json()["id"]}, tenant="acme").json()
    assert rule["policyId"] == made.json()["id"]
    assert change(alice, "delete", here).status_code == 204
    assert alice.api_get(f"{RULES}/{rule['id']}", tenant="acme").json()["policyId"] is None


# --- Alertmanager -----------------------------------------------------------------------------------------------------

ALERTMANAGER = "/api/monitoring/alertmanager"


def webhook(*alerts: dict, **changed) -> dict:
    """As Alertmanager 0.27 posts it."""
    return {
        "receiver": "neostack",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {"alertname": "DiskFull"},
        "commonLabels": {"alertname": "DiskFull", "severity": "page"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093",
        "version": "4",
        "groupKey": '{}:{alertname="DiskFull"}',
        "truncatedAlerts": 0,
    } | changed


def told(still_open: int, resolved: int) -> dict:
    """The answer."""
    return {"open": still_open, "resolved": resolved, "truncated": 0}


def disk(instance: str, status: str = "firing", starts_at: str = "2026-11-23T11:58:00.123456789Z", **changed) -> dict:
    return {
        "status": status,
        "labels": {"alertname": "DiskFull", "instance": instance, "severity": "page"},
        "annotations": {"summary": f"The disk of {instance} is full", "runbook": "https://runbooks.example"},
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-23T12:10:00Z",
        "generatorURL": "http://prometheus.example:9090/graph?g0.expr=up",
        "fingerprint": f"c0ffee{instance}",
    } | changed


def test_alertmanagers_groups_become_alerts_and_its_repeats_change_nothing(acme, alice, clock):
    source = service(acme, alice, "alerts:write")
    group = webhook(disk("db-1"), disk("db-2"))
    assert source.api_post(ALERTMANAGER, group).json() == told(2, 0)
    assert source.api_post(ALERTMANAGER, group).json() == told(2, 0)
    assert states_said(acme) == ["firing", "firing"]
    first = said_of_alerts(acme)[0]
    assert (first["severity"], first["message"]) == ("critical", "The disk of db-1 is full")
    assert first["metadata"]["name"] == "DiskFull"
    assert first["metadata"]["startedAt"] == "2026-11-23T11:58:00.123Z"
    assert first["metadata"]["link"].startswith("http://prometheus.example")
    over = webhook(disk("db-1", "resolved"), disk("db-2"), status="firing")
    assert source.api_post(ALERTMANAGER, over).json() == told(1, 1)
    assert source.api_post(ALERTMANAGER, group).json() == told(1, 1), "a late one, of the same firing"
    assert states_said(acme) == ["firing", "firing", "resolved"]
    again = webhook(disk("db-1", starts_at="2026-11-23T12:30:00Z"))
    assert source.api_post(ALERTMANAGER, again).json() == told(1, 0)


FIRINGS = ["2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"]


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
def test_in_whatever_order_webhooks_come_what_is_open_is_what_has_not_ended(acme, clock, data):
    """Of the newest firing the end counts, however late or often it and those before it are told."""
    ended = data.draw(st.booleans())
    said = [disk("db-1", status, at) for at in FIRINGS for status in ("firing", "resolved")]
    heard = said if ended else said[:-1]
    order = data.draw(st.permutations(heard + data.draw(st.lists(st.sampled_from(heard), max_size=4))))
    with transaction.atomic():
        for one in order:
            clock.move(seconds=data.draw(st.sampled_from([0, 40])))
            incoming.take_alertmanager(acme, AlertmanagerWebhook.model_validate(webhook(one)))
        let_time_pass(clock.move(hours=1))
        with scopes_disabled():
            still_open = [wire_time(alert.started_at) for alert in Alert.objects.filter(OPEN)]
            began = list(Alert.objects.order_by("id").values_list("started_at", flat=True))
            transaction.set_rollback(True)
    assert still_open == ([] if ended else ["2026-11-23T11:00:00.000Z"])
    assert began == sorted(set(began)), "no firing is two alerts"


def test_what_ended_before_it_was_heard_of_is_over_and_disturbs_nobody(acme, alice, clock):
    source = service(acme, alice, "alerts:write")
    assert source.api_post(ALERTMANAGER, webhook(disk("db-1", "resolved"))).json() == {
        "open": 0,
        "resolved": 1,
        "truncated": 0,
    }
    assert source.api_post(ALERTMANAGER, webhook(disk("db-1"))).json() == told(0, 1)
    assert states_said(acme) == ["resolved"]


def test_what_alertmanager_left_out_is_said_and_logged(acme, alice, clock, caplog):
    answer = alice.api_post(ALERTMANAGER, webhook(disk("db-1"), truncatedAlerts=7), tenant="acme")
    assert answer.json() == {"open": 1, "resolved": 0, "truncated": 7}
    assert "7 alerts of Acme were left out by max_alerts" in caplog.text


def test_odd_alerts_are_taken_as_far_as_they_go(acme, alice, clock):
    odd = disk("x", labels={"team": "a\u0000b" * 400}, annotations={}, generatorURL="javascript:x", fingerprint="")
    unknown = webhook(odd, newField={"of": "a later version"})
    assert alice.api_post(ALERTMANAGER, unknown, tenant="acme").json() == told(1, 0)
    (said,) = said_of_alerts(acme)
    assert (said["metadata"]["name"], said["severity"]) == ("Alert without a name", "warning")
    assert said["metadata"]["link"] == ""
    assert len(said["metadata"]["labels"]["team"]) == 500


def test_a_link_that_no_database_stores_costs_the_alert_only_its_link(acme, alice, clock):
    """Refused, it would come again for ever, and the others of its group with it."""
    group = webhook(disk("db-1") | {"generatorURL": "http://prometheus.example/\u0000"}, disk("db-2"))
    assert alice.api_post(ALERTMANAGER, group, tenant="acme").json() == told(2, 0)
    assert "" in [said["metadata"]["link"] for said in said_of_alerts(acme)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "version"),
        (webhook(version="3"), "version"),
        (webhook(disk("x", "odd")), "alerts.0.status"),
        (webhook(disk("x", starts_at="soon")), "alerts.0.startsAt"),
        (webhook(*[disk("x")] * 501), "alerts"),
    ],
)
def test_what_is_no_webhook_of_alertmanagers_says_why(acme, alice, body, field):
    assert field in problems(alice.api_post(ALERTMANAGER, body, tenant="acme"))
    assert states_said(acme) == []


def test_where_no_more_may_be_open_what_is_over_is_heard_all_the_same(acme, alice, clock, settings):
    settings.ALERTS_OPEN_PER_TENANT = 1
    alice.api_post(ALERTMANAGER, webhook(disk("db-1")), tenant="acme")
    full = webhook(disk("db-2"), disk("db-1", "resolved"))
    assert alice.api_post(ALERTMANAGER, full, tenant="acme").status_code == 429
    assert states_said(acme) == ["firing", "resolved"]
    assert alice.api_post(ALERTMANAGER, full, tenant="acme").status_code == 200


def test_the_api_describes_alerts(client):
    found = client.get("/api/schema", headers={"accept": "application/json"}).json()
    paths, parts = found["paths"], found["components"]["schemas"]
    assert {"get", "patch", "delete"} <= paths["/api/monitoring/rules/{id}"].keys()
    assert parts["RuleBody"]["examples"][0]["name"] == "CPU is busy"
    assert {"409", "404"} & paths["/api/monitoring/alerts/{id}/acknowledge"]["post"]["responses"].keys()
    assert parts["AlertIn"]["examples"]
    with scopes_disabled():
        assert Alert.objects.count() == 0


def test_another_default_changes_the_one_before_it(acme, alice):
    """Whoever has its ETag is told so, and changes nothing by mistake."""
    steps = [{"afterSeconds": 60, "ways": ["in_app"]}]
    first = alice.api_post(POLICIES, {"name": "First", "steps": steps, "isDefault": True}, tenant="acme")
    alice.api_post(POLICIES, {"name": "Second", "steps": steps, "isDefault": True}, tenant="acme")
    address = f"{POLICIES}/{first.json()['id']}"
    again = alice.api_get(address, tenant="acme", If_None_Match=first["ETag"])
    assert (again.status_code, again.json()["isDefault"]) == (200, False)
    stale = change(alice, "patch", address, {"repeatSeconds": 60}, If_Match=first["ETag"])
    assert stale.status_code == 412
