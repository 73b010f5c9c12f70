"""How much a counter rose is what its samples say, over any range, in whatever order they come, restarts and all."""

import math
from collections import defaultdict
from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_scopes import scope, scopes_disabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring.actions import Measured, prune, record
from monitoring.models import COUNTER, ROLLUPS, DayRollup, HourRollup, LatestMetrics, MinuteRollup, Sample
from monitoring.series import recent
from monitoring.tests.conftest import NOON, measured
from tenants.models import Tenant

pytestmark = pytest.mark.django_db
NAME = "requests_total"
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def counted(value: float, seconds: float = 0, name: str = NAME) -> Measured:
    return Measured(name, value, NOON + timedelta(seconds=seconds), "requests", COUNTER)


def increases(tenant: Tenant, model) -> dict[int, float]:
    """By period, counted from noon."""
    with scope(tenant=tenant):
        rows = model.objects.filter(name=NAME)
        return {one.period - model.period_of(NOON): one.increase for one in rows}


def expected(samples: list[Measured], model) -> dict[int, float]:
    """The same by the definition: of each sample what it is above the one before or, where it is below, all of it."""
    found: dict[int, float] = defaultdict(float)
    before = None
    for one in sorted(set(samples), key=lambda sample: (sample.at, sample.value)):
        added = 0.0 if before is None else one.value - before if one.value >= before else one.value
        found[model.period_of(one.at) - model.period_of(NOON)] += added
        before = one.value
    return found


SAMPLES = st.lists(
    st.builds(counted, st.sampled_from([0.0, 1.0, 2.5, 7.0, 1000.0]), st.integers(-3 * 3600, 50)),
    min_size=1,
    max_size=14,
)


@given(samples=SAMPLES, data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
def test_the_increase_of_any_range_is_that_of_its_samples(acme, clock, samples, data):
    """In batches, shuffled, some of them twice; what holds of each minute holds of whatever is made of minutes."""
    with scopes_disabled():
        for model in (Sample, *ROLLUPS, LatestMetrics):
            model.objects.all().delete()
    again = data.draw(st.permutations(samples + data.draw(st.lists(st.sampled_from(samples), max_size=4))))
    size = data.draw(st.integers(1, len(again)))
    for start in range(0, len(again), size):
        record(acme, again[start : start + size])
    for model in ROLLUPS:
        found, wanted = increases(acme, model), expected(samples, model)
        assert found.keys() == wanted.keys()
        assert all(math.isclose(found[key], wanted[key], abs_tol=1e-6) for key in wanted), (model, found, wanted)


def test_a_counter_that_restarts_once_a_day_is_seen_to_rise_in_a_years_chart(acme, clock):
    for _ in range(4):
        for value in (0.0, 21_600.0, 43_200.0, 64_800.0):
            record(acme, [Measured(NAME, value, clock.now, "", COUNTER)])
            clock.move(hours=6)
    for span in ("90d", "1y"):
        rates = [average for _, average, _, _ in recent(acme, [NAME], span).points[NAME] if average is not None]
        assert rates == [0.75] * 3, "64,800 a day, over 86,400 s"


def test_a_gauge_rises_by_nothing(acme, clock):
    record(acme, [measured(NAME, 7.0), measured(NAME, 9.0, NOON - timedelta(minutes=1))])
    for model in ROLLUPS:
        assert set(increases(acme, model).values()) == {None}


def test_what_comes_late_shares_with_the_next_also_where_the_one_before_is_no_longer_stored(acme, clock):
    record(acme, [counted(100.0)])
    clock.move(hours=20)
    record(acme, [counted(160.0, 20 * 3600)])
    clock.move(hours=5)
    prune()
    record(acme, [counted(130.0, 15 * 3600)])
    assert increases(acme, HourRollup) == {0: 0.0, 15: 30.0, 20: 30.0}


def test_samples_in_order_cost_no_more_queries_than_a_gauges(acme, clock):
    def cost(kind: str) -> int:
        record(acme, [Measured(kind, 1.0, clock.move(seconds=1), kind=kind)])
        with CaptureQueriesContext(connection) as captured:
            record(acme, [Measured(kind, 2.0, clock.move(seconds=1), kind=kind)])
        return len(captured)

    assert cost("counter") == cost("gauge")


def test_counters_there_were_before_rose_as_charts_showed_it(acme, clock):
    """What the migration did: of each period its greatest value over that of the period before."""
    record(acme, [counted(value, -60 * minute) for minute, value in enumerate([90.0, 30.0, 180.0, 60.0])])
    record(acme, [measured("load_1m", 1.0)])
    with scopes_disabled():
        for model in (Sample, *ROLLUPS):
            model.objects.update(increase=None)
        import_module("monitoring.migrations.0006_counters").fill(apps, SimpleNamespace(connection=connection))
        assert increases(acme, MinuteRollup) == {-3: 0.0, -2: 120.0, -1: 30.0, 0: 60.0}
        assert increases(acme, DayRollup) == {0: 0.0}
        assert list(Sample.objects.filter(name="load_1m").values_list("increase", flat=True)) == [None]
