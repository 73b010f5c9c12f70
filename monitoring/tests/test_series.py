"""Charts: one grid for all metrics of a range, the right averages on it, and gaps that stay gaps."""

from datetime import UTC, datetime, timedelta

import pytest

from monitoring.actions import record
from monitoring.series import RANGES, recent, series
from monitoring.tests.conftest import NOON, measured

pytestmark = pytest.mark.django_db


def told(points) -> list[tuple]:
    """The points that stand for something, by the time of day."""
    return [
        (datetime.fromtimestamp(t, UTC).strftime("%H:%M:%S"), *values)
        for t, *values in points
        if values != [None, None, None]
    ]


def test_an_hour_is_made_of_minutes_and_what_was_not_measured_is_a_gap(acme, clock):
    for minutes, values in {-59: [10.0], -3: [20.0, 40.0], 0: [5.0]}.items():
        at = NOON + timedelta(minutes=minutes)
        record(acme, [measured("cpu_percent", value, at - timedelta(seconds=0), "%") for value in values])
    found = recent(acme, ["cpu_percent", "no_such"], "1h")
    assert (found.names, found.unit, found.step) == (
        ["cpu_percent", "no_such"],
        {"cpu_percent": "%", "no_such": ""},
        60,
    )
    assert told(found.points["cpu_percent"]) == [
        ("11:01:00", 10.0, 10.0, 10.0),
        ("11:57:00", 30.0, 20.0, 40.0),
        ("12:00:00", 5.0, 5.0, 5.0),
    ]
    assert told(found.points["no_such"]) == []
    assert [t for t, *_ in found.points["no_such"]] == [t for t, *_ in found.points["cpu_percent"]]
    assert len(found.points["no_such"]) == 61


def test_a_quarter_of_an_hour_is_made_of_samples_five_seconds_apart(acme, clock):
    for seconds, value in {-61: 1.0, -59: 2.0, -56: 4.0, -1: 9.0}.items():
        record(acme, [measured("load_1m", value, NOON + timedelta(seconds=seconds))])
    found = recent(acme, None, "15m")
    assert (found.names, found.step) == (["load_1m"], 5)
    assert told(found.points["load_1m"]) == [
        ("11:58:55", 1.0, 1.0, 1.0),
        ("11:59:00", 3.0, 2.0, 4.0),
        ("11:59:55", 9.0, 9.0, 9.0),
    ]


def test_a_longer_step_weighs_each_minute_by_its_samples(acme, clock):
    record(acme, [measured("load_1m", 1.0, NOON - timedelta(minutes=4))])
    record(acme, [measured("load_1m", 4.0, NOON - timedelta(minutes=3, seconds=second)) for second in range(2)])
    found = recent(acme, None, "24h")
    assert found.step == 300
    assert told(found.points["load_1m"]) == [("11:55:00", 3.0, 1.0, 4.0)]


@pytest.mark.parametrize("span", RANGES)
def test_every_range_has_points_enough_for_a_chart_and_no_more(acme, clock, span):
    record(acme, [measured("load_1m", 1.0)])
    found = recent(acme, None, span)
    assert 60 <= len(found.points["load_1m"]) <= 361
    assert found.points["load_1m"][-1][1] == 1.0
    assert all(t % found.step == 0 for t, *_ in found.points["load_1m"])


def test_charts_show_no_other_tenants_metrics(acme, globex, clock):
    record(globex, [measured("load_1m", 1.0)])
    for span in RANGES:
        assert told(recent(acme, ["load_1m"], span).points["load_1m"]) == []
    assert recent(acme, None, "1h").names == []


def test_a_range_may_end_in_the_past(acme, clock):
    record(acme, [measured("load_1m", 1.0), measured("load_1m", 2.0, NOON - timedelta(minutes=30))])
    found = series(acme, ["load_1m"], NOON - timedelta(minutes=50), NOON - timedelta(minutes=10))
    assert told(found.points["load_1m"]) == [("11:30:00", 2.0, 2.0, 2.0)]
