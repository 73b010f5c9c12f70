"""What is measured is stored once, in the right minute, and the newest stays the newest, in whatever order it comes."""

import math
from collections import defaultdict
from datetime import timedelta, timezone
from functools import partial
from itertools import pairwise

import pytest
from django_scopes import scope, scopes_disabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring import actions
from monitoring.actions import BadSample, Measured, Recorded, record
from monitoring.models import ROLLUPS, DayRollup, LatestMetrics, MinuteRollup, Rollup, Sample
from monitoring.tests.conftest import NOON, facts, latest_of, measured, newest, update_times, updates
from tenants.models import Tenant
from tenants.tests.test_at_once import at_once

pytestmark = pytest.mark.django_db


def rollups(
    tenant: Tenant, model: type[Rollup] = MinuteRollup
) -> dict[tuple[str, int], tuple[int, float, float, float]]:
    """By metric and period, counted from noon."""
    with scope(tenant=tenant):
        return {
            (one.name, one.period - model.period_of(NOON)): (one.count, one.sum, one.min, one.max)
            for one in model._default_manager.all()
        }


def expect_rollups_to_be_of_the_samples(tenant: Tenant) -> None:
    for model in ROLLUPS:
        values = defaultdict(list)
        with scope(tenant=tenant):
            for name, at, value in Sample.objects.values_list("name", "at", "value"):
                values[name, model.period_of(at) - model.period_of(NOON)].append(value)
        found = rollups(tenant, model)
        assert set(found) == set(values)
        for key, of_period in values.items():
            count, total, least, greatest = found[key]
            assert (count, least, greatest) == (len(of_period), min(of_period), max(of_period))
            assert math.isclose(total, math.fsum(of_period), rel_tol=1e-9, abs_tol=1e-6)


def test_what_acme_measures_is_there_and_globex_sees_nothing_of_it(acme, globex, clock):
    recorded = record(acme, [measured("cpu_percent", 12.5, unit="%"), measured("load_1m", 0.4)])
    assert recorded == Recorded(stored=2, known=0, version=1)
    latest = latest_of(acme)
    assert latest.metrics["cpu_percent"] == {"value": 12.5, "unit": "%", "at": NOON.isoformat()}
    assert (latest.as_of, latest.version) == (NOON, 1)
    assert updates(acme) == [facts(cpu_percent=12.5, load_1m=0.4) | {"version": 1}]
    assert updates(globex) == []
    with scope(tenant=globex):
        assert not Sample.objects.exists()
        assert not LatestMetrics.objects.exists()


def test_the_same_samples_again_change_nothing(acme, clock):
    batch = [measured("cpu_percent", 10.0), measured("cpu_percent", 20.0, NOON - timedelta(seconds=30))]
    record(acme, batch)
    before = rollups(acme)
    clock.move(seconds=1)
    assert record(acme, batch[::-1]) == Recorded(stored=0, known=2, version=1)
    assert record(acme, [batch[0], batch[0]]) == Recorded(stored=0, known=2, version=1)
    assert rollups(acme) == before
    assert len(updates(acme)) == 1


def test_a_late_sample_lands_in_its_own_minute_and_is_not_the_newest(acme, clock):
    record(acme, [measured("cpu_percent", 50.0)])
    clock.move(seconds=1)
    record(acme, [measured("cpu_percent", 90.0, NOON - timedelta(minutes=5))])
    assert newest(acme) == {"cpu_percent": 50.0}
    assert rollups(acme) == {("cpu_percent", 0): (1, 50.0, 50.0, 50.0), ("cpu_percent", -5): (1, 90.0, 90.0, 90.0)}
    assert (latest_of(acme).version, len(updates(acme))) == (1, 1), "nothing that is shown has changed"


@pytest.mark.parametrize(("seconds", "code"), [(-12 * 3600 - 1, "too_old"), (61, "in_the_future")])
def test_a_sample_of_another_time_is_refused_and_those_before_it_too(acme, clock, seconds, code):
    with pytest.raises(BadSample) as refused:
        record(acme, [measured("load_1m", 1.0), measured("load_1m", 2.0, NOON + timedelta(seconds=seconds))])
    assert (refused.value.place, refused.value.field, refused.value.code) == (1, "at", code)
    with scopes_disabled():
        assert not Sample.objects.exists()


def test_what_is_no_longer_kept_is_refused_whatever_the_settings_say(acme, clock, settings):
    """It could not be told from a sample that was counted before."""
    settings.METRIC_SAMPLES_KEPT_HOURS = 1
    with pytest.raises(BadSample, match="more than 3600 s old"):
        record(acme, [measured("load_1m", 1.0, NOON - timedelta(minutes=61))])


def test_a_sample_from_another_zone_is_of_the_same_moment(acme, clock):
    record(acme, [measured("load_1m", 1.0)])
    lisbon_in_summer = NOON.astimezone(timezone(timedelta(hours=1)))
    assert record(acme, [measured("load_1m", 1.0, lisbon_in_summer)]).known == 1
    record(acme, [measured("cpu_percent", 2.0, lisbon_in_summer)])
    assert latest_of(acme).metrics["cpu_percent"]["at"] == NOON.isoformat()


def test_a_tenant_cannot_invent_names_without_end(acme, clock, settings):
    settings.METRIC_SERIES_PER_TENANT = 3
    record(acme, [measured(name, 1.0) for name in "abc"])
    clock.move(seconds=1)
    with pytest.raises(BadSample, match="3 series of other names or labels") as refused:
        record(acme, [measured("a", 2.0), measured("d", 1.0)])
    assert (refused.value.place, refused.value.field) == (1, "name")
    assert newest(acme) == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert record(acme, [measured("a", 3.0)]).stored == 1


SAMPLES = st.lists(
    st.builds(
        Measured,
        name=st.sampled_from(["cpu_percent", "load_1m"]),
        value=st.sampled_from([0.0, 1.5, -3.0, 1e18]),
        at=st.integers(-130, 10).map(lambda seconds: NOON + timedelta(seconds=seconds)),
    ),
    min_size=1,
    max_size=12,
)


@given(samples=SAMPLES, data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_whatever_order_and_however_often_they_come_the_outcome_is_the_same(acme, globex, clock, samples, data):
    """Acme gets them in one batch; globex shuffled, in batches, some of them twice."""
    with scopes_disabled():
        for model in (Sample, *ROLLUPS, LatestMetrics):
            model.objects.all().delete()
    record(acme, samples)
    again = data.draw(st.permutations(samples + data.draw(st.lists(st.sampled_from(samples), max_size=4))))
    size = data.draw(st.integers(1, len(again)))
    for start in range(0, len(again), size):
        record(globex, again[start : start + size])
    assert latest_of(globex).metrics == latest_of(acme).metrics
    assert latest_of(globex).as_of == latest_of(acme).as_of
    for tenant in (acme, globex):
        expect_rollups_to_be_of_the_samples(tenant)


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_lose_nothing_count_nothing_twice_and_keep_the_newest(acme):
    """Four that send overlapping batches, whose newest sample is in the middle of one of them."""
    now = actions.timezone.now()
    batches = [
        [measured("load_1m", float(n), now - timedelta(seconds=n % 45)) for n in range(i, i + 40)] for i in range(4)
    ]
    assert at_once(*[partial(record, acme, batch) for batch in batches]) == ["done"] * 4
    with scope(tenant=acme):
        assert Sample.objects.count() == 43
    expect_rollups_to_be_of_the_samples(acme)
    assert newest(acme) == {"load_1m": 0.0}
    times = update_times(acme)
    assert all(later - earlier >= timedelta(milliseconds=100) for earlier, later in pairwise(times))


def test_what_is_past_its_retention_goes_and_what_is_not_stays(acme, clock, monkeypatch):
    monkeypatch.setattr(actions, "PRUNE_CHUNK", 2)
    record(acme, [measured("load_1m", float(n)) for n in range(5)])
    clock.move(hours=23)
    record(acme, [measured("load_1m", 9.0), measured("cpu_percent", 1.0)])
    assert actions.prune() == 0
    clock.move(hours=2)
    assert actions.prune() == 5
    assert len(rollups(acme)) == 3
    clock.move(days=29)
    record(acme, [measured("cpu_percent", 2.0)])
    assert actions.prune() == 2 + 1 + 1, "two samples, and the first minute's and the first hour's roll-up"
    clock.move(days=1, minutes=1)
    actions.prune()
    assert newest(acme) == {"cpu_percent": 2.0}, "nothing short is left of load_1m, so its name is free again"
    assert {name for name, _ in rollups(acme, DayRollup)} == {"load_1m", "cpu_percent"}, "days are kept for a year"
    assert updates(acme)[-1]["metrics"] == {"cpu_percent": 2.0}
    clock.move(days=371)
    actions.prune()
    assert set(rollups(acme, DayRollup)) == {("cpu_percent", 30)}
