"""Charts: one grid for all metrics of a range, the right averages on it, and gaps that stay gaps."""

import json
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
from django.db import connection

from monitoring.actions import Measured, record
from monitoring.models import COUNTER, DayRollup, HourRollup, MinuteRollup
from monitoring.series import RANGES, lasting, rates, recent, series, standing
from monitoring.tests.conftest import NOON, measured

pytestmark = pytest.mark.django_db
HERE = Path(__file__).parent
RATES, STANDING = (json.loads((HERE / f"{name}.json").read_text()) for name in ("rates", "standing"))


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
    assert 60 <= len(found.points["load_1m"]) <= 366
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


@pytest.mark.parametrize("span", ["7d", "30d"])
def test_hours_and_minutes_tell_the_same(acme, clock, span, monkeypatch):
    for minutes in range(-400, 1, 7):
        record(acme, [measured("load_1m", float(minutes % 13), NOON + timedelta(minutes=minutes))])
    of_hours = recent(acme, ["load_1m"], span)
    assert len(told(of_hours.points["load_1m"])) > 3
    monkeypatch.setattr("monitoring.series.HourRollup.SECONDS", 10**9)  # so that no step is whole hours
    assert recent(acme, ["load_1m"], span).points == of_hours.points


def test_a_month_is_read_from_as_many_rows_as_it_has_hours(acme, clock, django_assert_max_num_queries):
    """From minutes it took ten times as long."""
    record(acme, [measured("load_1m", 1.0, NOON - timedelta(seconds=second)) for second in range(0, 3600, 20)])
    MinuteRollup.objects.with_scopes_disabled().all().delete()
    with django_assert_max_num_queries(2):
        assert told(recent(acme, ["load_1m"], "30d").points["load_1m"]) != []


def test_a_year_is_read_from_its_days(acme, clock, django_assert_max_num_queries):
    record(acme, [measured("load_1m", float(n), NOON - timedelta(seconds=n)) for n in range(3)])
    for model in (MinuteRollup, HourRollup):
        model.objects.with_scopes_disabled().all().delete()
    for span in ("90d", "1y"):
        with django_assert_max_num_queries(2):
            assert told(recent(acme, ["load_1m"], span).points["load_1m"]) == [("00:00:00", 1.0, 0.0, 2.0)]


# --- What is sampled less often than there are steps ------------------------------------------------------------------


@pytest.mark.parametrize(("points", "lasts", "expected"), STANDING)
def test_a_value_stands_until_the_next_one_is_due(points, lasts, expected):
    """The vectors that the script of the charts is held to, too."""
    assert standing(points, lasts) == expected


def sampled(acme, every: float, *, between: tuple[float, float], name: str = "slow", jitter: float = 0.0) -> None:
    """From so many seconds before noon to so many; each second sample is so much later."""
    count = int((between[0] - between[1]) // every) + 1
    moments = [between[0] - number * every - jitter * (number % 2) for number in range(count)]
    record(acme, [measured(name, 5.0, NOON - timedelta(seconds=seconds)) for seconds in moments])


def gaps(acme, span: str, name: str = "slow") -> list[tuple[float, float]]:
    """From how many minutes before noon to how many nothing is known; the step that has only begun left out."""
    found = recent(acme, [name], span)
    points = standing([average for _, average, *_ in found.points[name]], found.lasts[name])
    missing = [t for (t, *_), point in list(zip(found.points[name], points, strict=True))[:-1] if point is None]
    begins = [t for t in missing if t - found.step not in missing]
    ends = [t + found.step for t in missing if t + found.step not in missing]
    return [tuple((NOON.timestamp() - t) / 60 for t in gap) for gap in zip(begins, ends, strict=True)]


@pytest.mark.parametrize("span", ["15m", "1h", "24h"])
@pytest.mark.parametrize(("every", "jitter"), [(300, 0), (300, 40), (60, 10), (20, 0), (5.2, 0), (2, 0)])
def test_a_series_that_comes_as_it_always_does_has_no_gap(acme, clock, span, every, jitter):
    hours = 12 if span == "24h" and every > 20 else 1.1
    sampled(acme, every, between=(hours * 3600 - 7, 1), jitter=jitter)
    found = [gap for gap in gaps(acme, span) if gap[0] < hours * 60 - 6]
    assert found == [], "only before its first sample"


def test_what_the_api_gives_stays_as_it_was_measured(acme, clock):
    sampled(acme, 300, between=(3600, 0))
    assert len(told(recent(acme, ["slow"], "15m").points["slow"])) == 4


def test_a_series_of_five_minutes_that_stops_is_a_gap(acme, clock):
    sampled(acme, 300, between=(3600, 1800))
    assert gaps(acme, "1h") == [(22.0, 0.0)], "8 minutes after its last sample"
    sampled(acme, 300, between=(300, 0))
    assert gaps(acme, "1h") == [(22.0, 5.0)]


def test_one_that_stops_within_a_quarter_of_an_hour_is_a_gap_there_too(acme, clock):
    sampled(acme, 60, between=(900, 420))
    assert gaps(acme, "15m") == [(5.5, 0.0)], "90 seconds after its last sample"


def test_a_series_of_seconds_that_stops_for_two_minutes_is_a_gap_as_ever(acme, clock):
    sampled(acme, 5, between=(3600, 600))
    sampled(acme, 5, between=(475, 0))
    assert gaps(acme, "1h") == [(9.0, 8.0)]
    assert recent(acme, ["slow"], "1h").lasts == {"slow": 1}


def test_a_slow_series_makes_no_other_one_coarse(acme, clock):
    sampled(acme, 300, between=(900, 0))
    sampled(acme, 2, between=(900, 0), name="quick")
    found = recent(acme, ["slow", "quick"], "15m")
    assert (found.step, found.lasts) == (5, {"slow": 90, "quick": 1})


def test_one_sample_says_nothing_of_the_next(acme, clock):
    record(acme, [measured("slow", 5.0, NOON - timedelta(minutes=7))])
    assert recent(acme, ["slow"], "15m").lasts == {"slow": 1}
    assert gaps(acme, "15m") == [(15.0, 7.0), (pytest.approx(7 - 5 / 60), 0.0)]


def test_neither_a_stop_nor_a_burst_says_how_often_samples_come():
    moments = [0, 60, 120, 180, 4000, 4060, 4061, 4062, 4120, 4180]
    assert lasting([(t, 1.0, 1.0, 1.0, 0.0, 1) for t in moments], 5) == 18


def test_a_counter_that_is_read_each_five_minutes_has_no_gap_either(acme, clock):
    for minutes in range(-60, 1, 5):
        sent = Measured("requests_total", 1000.0 + minutes, NOON + timedelta(minutes=minutes), "", COUNTER)
        record(acme, [sent])
    assert gaps(acme, "1h", "requests_total") == []
    assert recent(acme, ["requests_total"], "1h").points["requests_total"][-6][1] == pytest.approx(1 / 60)


@pytest.mark.parametrize(("rises", "step", "expected"), RATES)
def test_a_counter_is_shown_by_how_fast_it_rose(rises, step, expected):
    """The vectors that the script of the charts is held to, too."""
    assert rates(rises, step) == expected


def test_a_counters_chart_is_in_so_many_a_second(acme, clock):
    for minutes, value in {-3: 60.0, -2: 180.0, -1: 30.0, 0: 90.0}.items():
        sent = Measured("requests_total", value, NOON + timedelta(minutes=minutes), "requests", COUNTER)
        record(acme, [sent])
    found = recent(acme, ["requests_total"], "1h")
    assert found.unit == {"requests_total": "requests/s"}
    assert told(found.points["requests_total"]) == [("11:58:00", 2.0, 2.0, 2.0), ("11:59:00", 0.5, 0.5, 0.5)]
    assert found.rises["requests_total"][-4:] == [0.0, 120.0, 30.0, 60.0]


@pytest.mark.parametrize(("migration", "model"), [("0002_hours", HourRollup), ("0003_series", DayRollup)])
def test_longer_rollups_begin_with_the_shorter_ones_there_were(acme, clock, migration, model):
    """What the migrations did for those who had been measuring before there were hours, and days."""
    fill = import_module(f"monitoring.migrations.{migration}").FILL
    for minutes in range(-660, 1, 60):
        record(acme, [measured("load_1m", float(minutes), NOON + timedelta(minutes=minutes))])
    rollups = model.objects.with_scopes_disabled().order_by(model.PERIOD)
    fields = ("tenant_id", "name", model.PERIOD, "count", "sum", "min", "max")
    before = list(rollups.values_list(*fields))
    rollups.delete()
    with connection.cursor() as cursor:
        cursor.execute(fill)
    assert list(rollups.values_list(*fields)) == before
