"""The platform's own parts and figures: what is unwell for long enough is an alert for its admins."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring import actions
from monitoring.alerting import platform
from monitoring.alerting.actions import let_time_pass
from monitoring.alerting.evaluation import evaluate_all
from monitoring.alerting.models import Severity
from monitoring.alerting.platform import Part
from monitoring.alerting.rules import create_rule
from monitoring.models import PlatformMinute
from monitoring.tests.conftest import NOON, said_of_alerts, states_said

pytestmark = pytest.mark.django_db


def part(name: str = "engine", severity: Severity = Severity.CRITICAL, reason: str = "does not answer") -> Part:
    return Part(name, severity, reason, NOON)


def test_a_part_that_is_unwell_for_long_enough_is_an_alert_until_it_is_well(clock):
    platform.observe([part()], clock.move(seconds=9))
    assert states_said(None) == []
    for _ in range(5):
        platform.observe([part(reason=f"does not answer since {clock.now}")], clock.move(seconds=1))
    (alert,) = said_of_alerts(None)
    assert (alert["severity"], alert["message"].split(":")[0]) == ("critical", "Engine")
    assert alert["metadata"]["labels"] == {"part": "engine"}
    assert alert["metadata"]["startedAt"] == "2026-11-23T12:00:00.000Z"
    for _ in range(3):
        platform.observe([], clock.move(seconds=1))
    assert states_said(None) == ["firing", "resolved"]


def test_one_that_another_explains_is_no_alert_and_one_that_was_stays_until_it_is_well(clock):
    explained = Part("handler:mail", Severity.WARNING, "events wait", NOON, is_explained=True)
    clock.move(minutes=1)
    for _ in range(2):
        platform.observe([part("worker"), explained], clock.move(seconds=1))
    assert [alert["metadata"]["name"] for alert in said_of_alerts(None)] == ["Worker"]
    platform.observe([part("handler:mail", Severity.WARNING)], clock.move(seconds=1))
    platform.observe([part("worker"), explained], clock.move(seconds=1))
    platform.observe([part("worker")], clock.move(seconds=1))
    said = [(alert["metadata"]["name"], alert["state"]) for alert in said_of_alerts(None)]
    assert [state for name, state in said if name == "Mail"] == ["firing", "resolved"]


def test_one_that_gets_worse_says_so(clock):
    clock.move(seconds=10)
    for severity in (Severity.WARNING, Severity.WARNING, Severity.CRITICAL):
        platform.observe([part("handler:mail", severity)], clock.move(seconds=1))
    assert [alert["severity"] for alert in said_of_alerts(None)] == ["warning", "critical"]
    assert said_of_alerts(None)[0]["metadata"]["name"] == "Mail"


def test_one_that_flaps_stays(clock):
    for _ in range(6):
        began = clock.now
        platform.observe([Part("engine", Severity.CRITICAL, "away", began)], clock.move(seconds=10))
        platform.observe([], clock.move(seconds=5))
    assert states_said(None) == ["firing", "resolved", "firing"]
    clock.move(minutes=2)
    let_time_pass()
    assert states_said(None)[2:] == ["firing", "resolved"]


def test_one_that_is_unwell_again_since_the_same_moment_does_not_end(clock):
    """It was left out for one look while it was held open."""
    for _ in range(2):
        platform.observe([Part("engine", Severity.CRITICAL, "away", clock.now)], clock.move(seconds=10))
        platform.observe([], clock.move(seconds=5))
    began = clock.now
    for unwell in (True, False, True):
        clock.move(seconds=10)
        platform.observe([Part("engine", Severity.CRITICAL, "away", began)] if unwell else [], clock.now)
    clock.move(hours=1)
    let_time_pass()
    assert states_said(None) == ["firing", "resolved", "firing"]


def test_where_all_is_as_it_was_a_look_is_one_read(clock):
    clock.move(seconds=10)
    platform.observe([part()], clock.now)
    for unwell in ([part()], [part()]):
        with CaptureQueriesContext(connection) as captured:
            platform.observe(unwell, clock.move(seconds=1))
        assert len(captured) == 1


def test_rules_of_the_platform_look_at_its_figures(clock):
    create_rule(None, None, name="Push is late", metric="push_lag", threshold=100.0, window_seconds=60)
    create_rule(None, None, name="No figures", metric="push_lag", kind="absence", window_seconds=300)
    for lag in (0.0, 400.0, 500.0):
        platform.record({"push_lag": lag, "connections": 5.0}, clock.now)
        evaluate_all()
        clock.move(seconds=20)
    (alert,) = said_of_alerts(None)
    assert (alert["metadata"]["name"], alert["message"]) == ("Push is late", "push_lag is 200 (above 100)")
    clock.move(minutes=7)
    evaluate_all()
    assert said_of_alerts(None)[-1]["metadata"]["name"] == "No figures"


def test_figures_are_kept_by_the_minute_and_not_for_ever(clock, settings):
    for value in (1.0, 5.0, 3.0):
        platform.record({"connections": value}, clock.move(seconds=15))
    minute = PlatformMinute.objects.get()
    assert (minute.count, minute.avg, minute.min, minute.max) == (3, 3.0, 1.0, 5.0)
    clock.move(days=settings.METRIC_ROLLUPS_KEPT_DAYS, minutes=2)
    actions.prune()
    assert not PlatformMinute.objects.exists()
