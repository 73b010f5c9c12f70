"""At most one metrics_update a tenant in 100 ms, and the newest value always arrives."""

from datetime import timedelta
from itertools import pairwise

import pytest
from django_scopes import scopes_disabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring import actions
from monitoring.models import EMIT_INTERVAL, LatestMetrics, wire_time
from monitoring.tests.conftest import NOON, facts, latest_of, measured, newest, update_times, updates

pytestmark = pytest.mark.django_db


def test_the_first_of_a_burst_is_said_at_once_and_the_last_when_it_is_due(acme, clock):
    for load in (1.0, 2.0, 3.0):
        actions.record(acme, [measured("load_1m", load)])
        clock.move(milliseconds=20)
    assert updates(acme) == [facts(load_1m=1.0) | {"version": 1}]
    assert actions.say_what_is_due() == 0
    clock.move(milliseconds=40)
    assert actions.say_what_is_due() == 1
    assert [(update["metrics"], update["version"]) for update in updates(acme)[1:]] == [({"load_1m": 3.0}, 3)]
    assert actions.say_what_is_due() == 0
    assert latest_of(acme).due_at is None


def test_samples_that_come_when_one_is_due_say_it_themselves(acme, clock):
    for load in (1.0, 2.0):
        actions.record(acme, [measured("load_1m", load)])
        clock.move(milliseconds=50)
    actions.record(acme, [measured("load_1m", 3.0)])
    assert [update["version"] for update in updates(acme)] == [1, 3]
    assert actions.say_what_is_due() == 0


def test_a_metric_that_was_not_sampled_again_is_as_old_as_its_sample(acme, clock):
    actions.record(acme, [measured("load_1m", 1.0), measured("cpu_percent", 12.5)])
    later = clock.move(minutes=5)
    actions.record(acme, [measured("load_1m", 2.0)])
    said = updates(acme)[-1]
    assert said["metrics"] == {"load_1m": 2.0, "cpu_percent": 12.5}, "the newest event replaces all before it"
    assert said["sampledAt"] == {"load_1m": wire_time(later), "cpu_percent": wire_time(NOON)}


def test_samples_that_were_kept_while_the_platform_was_away_are_said_with_their_age(acme, clock):
    before = clock.now
    clock.move(hours=1)
    actions.record(acme, [measured("load_1m", 1.0, at=before)])
    assert updates(acme)[-1]["sampledAt"] == {"load_1m": wire_time(before)}


def test_one_tenants_burst_delays_nobody_else(acme, globex, clock):
    actions.record(acme, [measured("load_1m", 1.0)])
    actions.record(acme, [measured("load_1m", 2.0)])
    actions.record(globex, [measured("load_1m", 7.0)])
    assert (len(updates(acme)), len(updates(globex))) == (1, 1)


def test_a_clock_that_was_put_back_silences_nobody(acme, clock):
    actions.record(acme, [measured("load_1m", 1.0)])
    actions.record(acme, [measured("load_1m", 2.0)])
    clock.move(hours=-1)
    assert actions.say_what_is_due() == 1
    assert updates(acme)[-1]["metrics"] == {"load_1m": 2.0}


def test_what_a_request_failed_to_store_is_not_said(acme, clock, monkeypatch):
    monkeypatch.setattr(actions, "_say_now_or_later", lambda latest: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        actions.record(acme, [measured("load_1m", 1.0)])
    assert updates(acme) == []
    with scopes_disabled():
        assert not LatestMetrics.objects.exists()


#: Milliseconds to wait, then: samples come, or pulse looks.
STEPS = st.lists(st.tuples(st.integers(0, 130), st.sampled_from(["samples", "samples", "pulse"])), max_size=25)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whenever_samples_come_and_pulse_looks(acme, clock, steps):
    began = len(updates(acme))
    value = 0.0
    for milliseconds, what in steps:
        clock.move(milliseconds=milliseconds)
        if what == "pulse":
            actions.say_what_is_due()
        else:
            value += 1
            actions.record(acme, [measured("load_1m", value)])
    clock.move(milliseconds=100)
    actions.say_what_is_due()
    said, times = updates(acme)[began:], update_times(acme)
    if value:
        assert said[-1]["metrics"] == newest(acme) == {"load_1m": value}
    assert all(later - earlier >= EMIT_INTERVAL for earlier, later in pairwise(times))
    assert all(earlier["version"] < later["version"] for earlier, later in pairwise(updates(acme)))
    assert latest_of(acme).due_at is None if value else True
    clock.move(milliseconds=200)
    assert timedelta(0) == timedelta(actions.say_what_is_due())
