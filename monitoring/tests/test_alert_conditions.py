"""What a rule says about numbers and time: thresholds with a way back, changes, absences; flapping is damped."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerting.conditions import (
    Aggregate,
    Comparison,
    Condition,
    Course,
    History,
    Kind,
    Minute,
    Pace,
    Verdict,
    advance,
    flaps_of,
    held,
)
from monitoring.alerting.matching import like, matches
from monitoring.alerting.messages import check_template, duration, fill, number
from monitoring.tests.conftest import NOON

pytestmark = pytest.mark.once
B, C, U = Verdict.BREACHED, Verdict.CLEAR, Verdict.UNKNOWN
AT_ONCE = Pace(timedelta(0), timedelta(0))
MINUTES = [Minute(10, 2, 6.0, 1.0, 5.0), Minute(12, 1, 9.0, 9.0, 9.0)]


def condition(**changed) -> Condition:
    facts = {
        "kind": Kind.THRESHOLD,
        "aggregate": Aggregate.AVERAGE,
        "comparison": Comparison.ABOVE,
        "threshold": 90.0,
        "recovery": None,
        "window": timedelta(minutes=5),
    }
    return Condition(**facts | changed)


@pytest.mark.parametrize(("aggregate", "value"), [("avg", 5.0), ("min", 1.0), ("max", 9.0)])
def test_a_threshold_looks_at_all_samples_of_its_window(aggregate, value):
    assert condition(aggregate=Aggregate(aggregate)).value(MINUTES) == value


def test_a_change_is_by_the_minute_and_one_minute_tells_none():
    change = condition(kind=Kind.CHANGE)
    assert change.value(MINUTES) == 3.0  # from 3 to 9, in two minutes
    assert change.value(MINUTES[:1]) is None
    assert change.value([]) is None


#: A counter that restarts in minute 12 and has no samples in 13 and 14: 60 a minute, then 180 in three.
COUNTED = [
    Minute(10, 1, 500.0, 500.0, 500.0, 0.0),
    Minute(11, 1, 560.0, 560.0, 560.0, 60.0),
    Minute(12, 2, 640.0, 30.0, 610.0, 120.0),
    Minute(15, 1, 210.0, 210.0, 210.0, 180.0),
    Minute(16, 1, 215.0, 215.0, 215.0, 5.0),
]


def test_a_counter_is_compared_by_how_much_it_rose_a_second_and_not_yet_in_the_minute_that_goes_on():
    history = History.of(COUNTED)
    window = history.within(condition(window=timedelta(minutes=6)), 16)
    assert [(minute.number, minute.average) for minute in window] == [(11, 1.0), (12, 2.0), (15, 1.0)]
    values = [condition(aggregate=Aggregate(one)).value(window) for one in ("avg", "min", "max")]
    assert values == [pytest.approx(360 / 300), 1.0, 2.0], "360 in five minutes"
    assert condition(kind=Kind.CHANGE).value(history.within(condition(), 13)) == 1.0, "a second, by the minute"


def test_of_a_counters_first_minute_nothing_is_known_and_a_gauge_stays_what_it_is():
    assert condition().value(History.of(COUNTED[:1]).within(condition(), 11)) is None
    assert History.of([]).within(condition(), 11) == []
    assert History.of(MINUTES).within(condition(), 12) == MINUTES


def test_what_fires_has_to_come_back_further_than_it_went():
    hysteresis = condition(recovery=80.0)
    assert [hysteresis.judge(value, is_firing=False) for value in (90.0, 90.1)] == [C, B]
    assert [hysteresis.judge(value, is_firing=True) for value in (85.0, 80.0)] == [B, C]
    below = condition(comparison=Comparison.BELOW, threshold=10.0)
    assert [below.judge(value, is_firing=False) for value in (10.0, 9.9)] == [C, B]
    assert below.judge(None, is_firing=True) == U


def course(verdicts: list[Verdict], pace: Pace, start: Course | None = None) -> list[bool]:
    """Whether it fires after each look, a minute apart."""
    now, found, at = start or Course(), [], NOON
    for verdict in verdicts:
        now = advance(now, verdict, pace, at)
        found.append(now.is_firing)
        at += timedelta(minutes=1)
    return found


def test_it_fires_when_it_has_been_so_for_long_enough_without_a_break():
    for_two = Pace(timedelta(minutes=2), timedelta(0))
    assert course([B, B, B, C], for_two) == [False, False, True, False]
    assert course([B, B, C, B, B], for_two) == [False] * 5
    assert course([B, B, U, B, B], for_two) == [False] * 5, "nobody knows what was between"


def test_not_knowing_ends_nothing_that_fires():
    assert course([B, U, U, U], AT_ONCE) == [True] * 4


def test_it_is_over_when_it_stayed_well():
    hold_two = Pace(timedelta(0), timedelta(minutes=2))
    assert course([B, C, C, B, C, C, C], hold_two) == [True] * 6 + [False]
    assert course([B, C, U, U], hold_two) == [True, True, True, False], "well when it was last seen"


def test_what_keeps_coming_back_stays_longer_each_time():
    assert [held(timedelta(0), flaps) for flaps in range(4)] == [timedelta(minutes=n) for n in (0, 1, 2, 4)]
    assert held(timedelta(0), 99) == timedelta(minutes=16)
    assert held(timedelta(minutes=5), 2) == timedelta(minutes=10)
    assert flaps_of(NOON, 2, NOON + timedelta(minutes=59)) == 3
    assert flaps_of(NOON, 2, NOON + timedelta(minutes=61)) == 0
    assert flaps_of(None, 2, NOON) == 0
    fires = course([B, C] * 30, AT_ONCE)
    assert sum(after and not before for before, after in zip([False, *fires], fires, strict=False)) == 2


@given(st.lists(st.sampled_from([B, C, U]), max_size=60), st.integers(0, 5), st.integers(0, 5))
def test_whatever_is_seen_it_fires_only_after_a_breach_and_ends_only_after_it_was_well(verdicts, after, hold):
    pace = Pace(timedelta(minutes=after), timedelta(minutes=hold))
    fires = course(verdicts, pace)
    for place, (before, now) in enumerate(zip([False, *fires], fires, strict=False)):
        if now and not before:
            assert verdicts[place - after : place + 1] == [B] * (after + 1)
        if before and not now:
            assert verdicts[place] != B
            assert C in verdicts[: place + 1]


@pytest.mark.parametrize(
    ("matcher", "found"),
    [
        (("instance", "=", "db-1"), True),
        (("instance", "!=", "db-1"), False),
        (("instance", "~", "db-*"), True),
        (("instance", "~", "*-2"), False),
        (("instance", "!~", "web-*"), True),
        (("missing", "=", ""), True),
        (("missing", "~", "?"), False),
    ],
)
def test_matchers_of_a_silence(matcher, found):
    one = dict(zip(("label", "op", "value"), matcher, strict=True))
    assert matches([one], {"instance": "db-1"}) is found
    assert matches([], {"instance": "db-1"}) is False


@given(st.lists(st.sampled_from(["a", "b", "ab", ""]), min_size=1), st.lists(st.sampled_from(["a", "b", ""])))
def test_a_pattern_fits_what_its_asterisks_stand_for(parts, fillers):
    text = "".join(part + (fillers[n] if n < len(fillers) else "") for n, part in enumerate(parts[:-1])) + parts[-1]
    assert like("*".join(parts), text)


def test_a_pattern_made_to_be_slow_is_not():
    assert not like("*a" * 250 + "b", "a" * 500)
    assert not like("aba", "ab")
    assert not like("a*a", "a")
    assert like("*", "")


def test_messages_say_values_and_reach_into_nothing():
    assert fill("{metric} is {value}", {"metric": "cpu", "value": "97 %"}) == "cpu is 97 %"
    for template in ("{value.__class__}", "{0}", "{", "{secret}"):
        with pytest.raises(Exception, match="Only these may stand in braces"):
            check_template(template)
    assert [number(97.123, "%"), number(1234567.0), number(0.00001234), number(None)] == [
        "97.12 %",
        "1,234,567",
        "1.234e-05",
        "unknown",
    ]
    assert [duration(seconds) for seconds in (45, 60, 90, 600, 3600, 7300)] == [
        "45 s",
        "1 min",
        "90 s",
        "10 min",
        "1 h",
        "2 h",
    ]
