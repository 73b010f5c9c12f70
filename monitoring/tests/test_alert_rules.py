"""Rules against what is stored: they fire, stay, end; nothing is lost between two looks; each look is cheap."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_scopes import scopes_disabled

from events.models import Event
from monitoring.actions import Measured, record
from monitoring.alerting import rules
from monitoring.alerting.actions import raise_alert, resolve_alert
from monitoring.alerting.evaluation import evaluate_all
from monitoring.alerting.models import Alert, AlertRule
from monitoring.alerting.rules import create_rule, delete_rule, update_rule
from monitoring.alerting.trial import try_out
from monitoring.models import COUNTER, wire_time
from monitoring.tests.conftest import NOON, measured, raised, said_of_alerts, states_said
from tenants.actions import resume, suspend

pytestmark = pytest.mark.django_db
BUSY = {"name": "CPU is busy", "metric": "cpu_percent", "threshold": 90.0, "window_seconds": 60, "severity": "error"}
SILENT = {"name": "Silent", "metric": "cpu_percent", "kind": "absence", "window_seconds": 600}


def look(clock, *values: float | None, tenant=None) -> None:
    """Each minute one sample (None: none), then a look."""
    for value in values:
        if value is not None:
            record(tenant, [measured("cpu_percent", value, unit="%")])
        evaluate_all()
        clock.move(minutes=1)


def fresh(rule: AlertRule) -> AlertRule:
    with scopes_disabled():
        return AlertRule.objects.get(pk=rule.pk)


def rule_events(tenant) -> list[tuple[str, str]]:
    with scopes_disabled():
        found = Event.objects.filter(tenant=tenant, type="alert_rule_updated").order_by("id")
        return [(payload["change"], payload["name"]) for payload in found.values_list("payload", flat=True)]


def test_a_rule_fires_and_is_over_and_says_the_values(acme, alice, clock):
    create_rule(acme, alice.user, **BUSY)
    look(clock, 50.0, 97.0, 99.0, 10.0, 10.0, tenant=acme)
    assert states_said(acme) == ["firing", "resolved"]
    firing = said_of_alerts(acme)[0]
    assert firing["message"] == "cpu_percent is 98 % (above 90 %)", "the average of this minute and the last one"
    assert (firing["severity"], firing["metadata"]["value"]) == ("error", 98.0)
    assert firing["metadata"]["labels"] == {"metric": "cpu_percent"}
    assert firing["metadata"]["source"] == "rule"


def test_it_waits_for_as_long_as_it_was_told_also_when_all_was_killed_meanwhile(acme, alice, clock):
    """Nothing is kept in the process: every look begins with the database."""
    rule = create_rule(acme, alice.user, **BUSY | {"for_seconds": 120, "aggregate": "max"})
    look(clock, 97.0, tenant=acme)
    assert fresh(rule).pending_since == NOON
    look(clock, 97.0, tenant=acme)
    assert states_said(acme) == []
    look(clock, 97.0, tenant=acme)
    assert states_said(acme) == ["firing"]
    assert fresh(rule).pending_since is None


def test_what_was_well_while_nothing_ran_waits_anew(acme, alice, clock):
    rule = create_rule(acme, alice.user, **BUSY | {"for_seconds": 120})
    look(clock, 97.0, tenant=acme)
    record(acme, [measured("cpu_percent", 10.0)])
    clock.move(minutes=60)  # nothing looks, and nothing comes in
    look(clock, 97.0, 97.0, tenant=acme)
    assert states_said(acme) == []
    assert fresh(rule).pending_since == NOON + timedelta(minutes=61)
    look(clock, 97.0, tenant=acme)
    assert states_said(acme) == ["firing"]


def test_what_was_wrong_all_the_while_has_waited_also_while_nothing_looked(acme, alice, clock):
    create_rule(acme, alice.user, **BUSY | {"for_seconds": 600})
    look(clock, 97.0, tenant=acme)
    for _ in range(10):
        record(acme, [measured("cpu_percent", 97.0)])
        clock.move(minutes=1)
    look(clock, 97.0, tenant=acme)
    assert states_said(acme) == ["firing"]


def test_without_samples_what_fires_goes_on_firing(acme, alice, clock):
    create_rule(acme, alice.user, **BUSY)
    look(clock, 97.0, None, None, None, None, tenant=acme)
    assert states_said(acme) == ["firing"]


def test_a_value_at_the_edge_does_not_flap(acme, alice, clock):
    create_rule(acme, alice.user, **BUSY | {"recovery": 70.0, "aggregate": "min"})
    look(clock, 95.0, 89.0, 91.0, 80.0, 71.0, 70.0, tenant=acme)
    assert states_said(acme) == ["firing", "resolved"]


def test_no_samples_is_a_reason_too(acme, alice, clock):
    create_rule(acme, alice.user, name="Silent", metric="cpu_percent", kind="absence", window_seconds=180)
    look(clock, 1.0, None, None, None, tenant=acme)
    assert states_said(acme) == []
    look(clock, None, tenant=acme)
    assert said_of_alerts(acme)[0]["message"] == "No samples of cpu_percent for 4 min"
    look(clock, 1.0, tenant=acme)
    assert states_said(acme) == ["firing", "resolved"]


def test_what_never_came_is_missed_from_when_somebody_began_to_look(acme, alice, clock):
    create_rule(acme, alice.user, name="Silent", metric="never", kind="absence", window_seconds=120)
    look(clock, None, None, None, tenant=acme)
    assert states_said(acme) == []
    look(clock, None, tenant=acme)
    assert states_said(acme) == ["firing"]


def test_a_change_by_the_minute(acme, alice, clock):
    change = {"name": "Grows", "metric": "cpu_percent", "kind": "change", "threshold": 5.0, "window_seconds": 180}
    create_rule(acme, alice.user, **change)
    look(clock, 10.0, 12.0, 14.0, tenant=acme)
    assert states_said(acme) == []
    look(clock, 40.0, tenant=acme)
    assert said_of_alerts(acme)[0]["message"] == "cpu_percent changes by 10 % a minute (above 5 %)"


def count(clock, *values: float | None, tenant=None) -> None:
    """Each minute one sample of a counter (None: none), then a look."""
    for value in values:
        if value is not None:
            record(tenant, [Measured("requests_total", value, clock.now, "requests", COUNTER)])
        evaluate_all()
        clock.move(minutes=1)


REQUESTED = {"name": "Many requests", "metric": "requests_total", "threshold": 5.0, "window_seconds": 60}


def test_a_counter_fires_by_how_fast_it_rises_not_by_how_high_it_stands(acme, alice, clock):
    create_rule(acme, alice.user, **REQUESTED)
    count(clock, 9_000.0, 9_060.0, 9_120.0, 9_180.0, tenant=acme)
    assert states_said(acme) == []
    count(clock, 9_780.0, 9_790.0, tenant=acme)
    assert said_of_alerts(acme)[0]["message"] == "requests_total is 10 requests/s (above 5 requests/s)"
    count(clock, 9_800.0, tenant=acme)
    assert states_said(acme) == ["firing", "resolved"]


def test_a_counter_that_restarts_is_not_taken_for_one_that_falls(acme, alice, clock):
    create_rule(acme, alice.user, **REQUESTED | {"name": "Few", "comparison": "below", "threshold": 0.5})
    change = {"name": "Fewer", "kind": "change", "comparison": "below", "threshold": -0.3, "window_seconds": 180}
    create_rule(acme, alice.user, **REQUESTED | change)
    count(clock, 9_000.0, 9_060.0, 60.0, 120.0, 180.0, tenant=acme)
    assert states_said(acme) == []
    count(clock, 181.0, 182.0, 183.0, tenant=acme)
    assert {one["metadata"]["name"] for one in said_of_alerts(acme)} == {"Few", "Fewer"}


def test_a_counter_that_rose_too_fast_while_nothing_looked_has_waited(acme, alice, clock):
    create_rule(acme, alice.user, **REQUESTED | {"for_seconds": 600})
    count(clock, 0.0, 600.0, 1_200.0, tenant=acme)
    for number in range(3, 14):
        record(acme, [Measured("requests_total", number * 600.0, clock.now, "requests", COUNTER)])
        clock.move(minutes=1)
    count(clock, 14 * 600.0, tenant=acme)
    assert states_said(acme) == ["firing"]


def test_a_changed_rule_asks_anew_and_one_that_goes_takes_its_alert_along(acme, alice, clock):
    rule = create_rule(acme, alice.user, **BUSY | {"for_seconds": 120})
    look(clock, 97.0, tenant=acme)
    rule = update_rule(rule, alice.user, expected_version=1, threshold=80.0)
    assert (fresh(rule).pending_since, rule.version) == (None, 2)
    with pytest.raises(rules.StaleVersion):
        update_rule(rule, alice.user, expected_version=1, threshold=70.0)
    look(clock, 97.0, 97.0, 97.0, 97.0, tenant=acme)
    assert states_said(acme) == ["firing"]
    update_rule(rule, alice.user, enabled=False)
    assert said_of_alerts(acme)[-1]["metadata"]["endedWhy"] == "Its rule was switched off"
    look(clock, 97.0, 97.0, 97.0, 97.0, tenant=acme)
    update_rule(rule, alice.user, enabled=True)
    look(clock, 97.0, 97.0, 97.0, tenant=acme)
    delete_rule(rule, alice.user)
    assert states_said(acme) == ["firing", "resolved", "firing", "resolved"]
    assert [change for change, _ in rule_events(acme)] == ["created", "updated", "updated", "updated", "deleted"]
    with scopes_disabled():
        assert set(Alert.objects.values_list("rule", flat=True)) == {None}


def test_nothing_new_is_no_change(acme, alice, clock):
    rule = create_rule(acme, alice.user, **BUSY)
    assert update_rule(rule, alice.user, threshold=90.0).version == 1
    assert len(rule_events(acme)) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"threshold": None}, "threshold"),
        ({"recovery": 95.0}, "recovery"),
        ({"comparison": "below", "recovery": 80.0}, "recovery"),
        ({"window_seconds": 59}, "window_seconds"),
        ({"window_seconds": 6 * 3600 + 1}, "window_seconds"),
        ({"message": "{value.real}"}, "message"),
        ({"severity": "loud"}, "severity"),
        ({"labels": {"team": 7}}, "labels"),
        ({"name": ""}, "name"),
        ({"name": "Taken"}, "name"),
    ],
)
def test_a_rule_that_cannot_be_names_the_field(acme, globex, alice, fields, field):
    create_rule(acme, alice.user, **BUSY | {"name": "Taken"})
    with pytest.raises(ValidationError) as invalid:
        create_rule(acme, alice.user, **BUSY | fields)
    assert list(invalid.value.message_dict) == [field]
    create_rule(globex, None, **BUSY | {"name": "Taken"})


def test_tenants_have_rules_of_their_own_and_a_suspended_one_rests(acme, globex, alice, clock):
    create_rule(acme, alice.user, **BUSY)
    create_rule(globex, None, **BUSY)
    record(acme, [measured("cpu_percent", 97.0)])
    record(globex, [measured("cpu_percent", 1.0)])
    suspend(acme, by=None)
    assert evaluate_all() == 1
    assert states_said(acme) == []
    resume(acme, by=None)
    assert evaluate_all() == 2
    assert (states_said(acme), states_said(globex)) == (["firing"], [])


def test_after_a_suspension_an_absence_waits_as_long_as_ever(acme, alice, clock):
    create_rule(acme, alice.user, **SILENT | {"window_seconds": 180, "for_seconds": 60})
    record(acme, [measured("cpu_percent", 1.0)])
    clock.move(minutes=4)
    evaluate_all()
    suspend(acme, by=None)
    clock.move(hours=2)
    resume(acme, by=None)
    look(clock, None, None, None, None, None, tenant=acme)
    assert states_said(acme) == []
    look(clock, None, tenant=acme)
    assert states_said(acme) == ["firing"]
    suspend(acme, by=None)
    resume(acme, by=None)
    evaluate_all()
    assert states_said(acme) == ["firing"], "what fired goes on"


def test_several_windows_on_metrics_of_the_same_names_do_not_mix(acme, globex, clock):
    """Globex looks at its CPU for longer: acme's minutes are not counted twice for that."""
    change = {"kind": "change", "threshold": 1.0}
    for tenant, windows in ((acme, {"cpu": 120, "memory": 300}), (globex, {"cpu": 300})):
        for name, seconds in windows.items():
            create_rule(tenant, None, name=name, metric=name, window_seconds=seconds, **change)
    for value in (1.0, 2.5, 4.0):
        for tenant, names in ((acme, ("cpu", "memory")), (globex, ("cpu",))):
            record(tenant, [measured(name, value) for name in names])
        clock.move(minutes=1)
    evaluate_all()
    values = [one["metadata"]["value"] for one in said_of_alerts(acme) + said_of_alerts(globex)]
    assert values == [1.5, 1.5, 1.5]


def test_a_rule_that_fails_holds_no_other_up(acme, globex, clock, caplog, monkeypatch):
    for tenant in (acme, globex):
        create_rule(tenant, None, **BUSY)
        record(tenant, [measured("cpu_percent", 97.0)])
    from monitoring.alerting import evaluation

    raise_alert, failed = evaluation.raise_alert, []

    def fail_once(*arguments):
        if not failed:
            failed.append(True)
            raise OSError("away")
        return raise_alert(*arguments)

    monkeypatch.setattr(evaluation, "raise_alert", fail_once)
    evaluate_all()
    assert len(states_said(acme) + states_said(globex)) == 1
    evaluate_all()
    assert len(states_said(acme) + states_said(globex)) == 2
    assert "could not be evaluated" in caplog.text


def test_that_there_is_no_room_for_an_alert_is_logged_once(acme, alice, clock, caplog, settings):
    settings.ALERTS_OPEN_PER_TENANT = 1
    raise_alert(acme, raised())
    create_rule(acme, alice.user, **BUSY)
    look(clock, 97.0, 97.0, 97.0, tenant=acme)
    assert caplog.text.count("could not fire") == 1
    resolve_alert(acme, "backup")
    look(clock, 97.0, 10.0, 10.0, tenant=acme)
    raise_alert(acme, raised())
    look(clock, 97.0, 97.0, tenant=acme)
    assert caplog.text.count("could not fire") == 2, "there was room meanwhile"


def test_a_look_at_many_rules_costs_as_many_queries_as_at_few(acme, globex, clock):
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            evaluate_all()
        return len(captured)

    def add(number: int) -> None:
        for tenant in (acme, globex):
            create_rule(tenant, None, **BUSY | {"name": f"Rule {number}", "metric": f"cpu_{number}"})
            absence = {"name": f"Absence {number}", "metric": f"cpu_{number}", "kind": "absence"}
            create_rule(tenant, None, **absence)
            record(tenant, [measured(f"cpu_{number}", 1.0)])

    add(0)
    few = cost()
    for number in range(1, 6):
        add(number)
    assert cost() == few <= 5


# --- Trying a rule out ------------------------------------------------------------------------------------------------


def test_a_rule_is_tried_against_the_last_day_as_it_would_have_gone(acme, alice, clock):
    """Told beforehand what the same rule then does."""
    course = [50.0] * 10 + [97.0] * 5 + [50.0] * 70 + [97.0] * 4 + [50.0] * 10
    for value in course:
        record(acme, [measured("cpu_percent", value, unit="%")])
        clock.move(minutes=1)
    rule = rules.checked_rule(acme, BUSY | {"for_seconds": 60})
    trial = try_out(rule, clock.now)
    assert trial.summary == "It would have fired 2 times in the last day."
    assert [firing.peak for firing in trial.firings] == [97.0, 97.0]
    assert trial.firings[0].since - NOON <= timedelta(minutes=13)
    assert trial.firings[0].message.startswith("cpu_percent is 97 %")
    assert all(firing.until for firing in trial.firings)
    assert len(trial.points) == 24 * 60
    assert trial.points[0][1] is None
    assert states_said(acme) == [], "nothing is stored"


def test_a_rule_on_a_counter_is_tried_as_it_would_have_gone(acme, alice, clock):
    value, rise = 0.0, [60.0] * 10 + [600.0] * 3 + [-1.0] + [60.0] * 70 + [900.0] * 2 + [60.0] * 5
    create_rule(acme, alice.user, **REQUESTED)
    for one in rise:
        value = 60.0 if one < 0 else value + one  # it restarts once
        count(clock, value, tenant=acme)
    trial = try_out(rules.checked_rule(acme, REQUESTED), clock.now)
    assert (trial.unit, trial.summary) == ("requests/s", "It would have fired 2 times in the last day.")
    assert [firing.peak for firing in trial.firings] == [10.0, 15.0]
    said = [(one["state"], one["metadata"]["startedAt"]) for one in said_of_alerts(acme)]
    really = [moment for state, moment in said if state == "firing"]
    assert [wire_time(firing.since) for firing in trial.firings] == really, "at the very looks that it does"


def test_a_trial_says_when_there_is_too_little_to_tell(acme, clock):
    rule = rules.checked_rule(acme, BUSY)
    assert try_out(rule, clock.now).summary == "There are no samples of this metric in the last day."
    record(acme, [measured("cpu_percent", 97.0)])
    clock.move(minutes=2)
    trial = try_out(rule, clock.now)
    assert trial.summary == "It would have fired once in the last day. There is less than an hour of samples."
    assert trial.firings[0].until is None


@pytest.mark.parametrize("days", [None, 2])
def test_a_trial_of_an_absence_says_that_it_fires_where_nothing_came_all_day(acme, alice, clock, days):
    """No sample ever, or none since two days ago."""
    if days:
        record(acme, [measured("cpu_percent", 1.0)])
        clock.move(days=days)
    trial = try_out(rules.checked_rule(acme, SILENT), clock.now)
    assert (trial.summary, trial.has_enough) == ("It would have fired once in the last day.", True)
    assert trial.firings[0].until is None
    create_rule(acme, alice.user, **SILENT)
    clock.move(minutes=11)
    evaluate_all()
    assert states_said(acme) == ["firing"]


def test_a_trial_of_an_absence_goes_on_from_what_came_before_the_day(acme, clock):
    record(acme, [measured("cpu_percent", 1.0)])
    clock.move(hours=30)
    record(acme, [measured("cpu_percent", 1.0)])
    clock.move(hours=1)
    trial = try_out(rules.checked_rule(acme, SILENT), clock.now)
    assert [bool(one.until) for one in trial.firings] == [True, False], "until the sample, and again"


def test_a_trial_of_an_absence(acme, clock):
    for _ in range(3):
        record(acme, [measured("cpu_percent", 1.0)])
        clock.move(minutes=20)
    rule = rules.checked_rule(
        acme, {"name": "Silent", "metric": "cpu_percent", "kind": "absence", "window_seconds": 600}
    )
    assert len(try_out(rule, clock.now).firings) == 3
