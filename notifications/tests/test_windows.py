"""When a mail may leave, by the clock of a person's own zone, around the changes of that clock too."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications.windows import is_quiet, next_hour, next_time, quiet_until

pytestmark = pytest.mark.once

LISBON, UTC_ZONE = ZoneInfo("Europe/Lisbon"), ZoneInfo("UTC")
ZONES = [*map(ZoneInfo, ("UTC", "Europe/Lisbon", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"))]
moments = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
minutes = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))


@pytest.mark.parametrize(
    ("shown", "starts", "ends", "is_in"),
    [
        ("23:00", "22:00", "07:00", True),
        ("06:59", "22:00", "07:00", True),
        ("07:00", "22:00", "07:00", False),
        ("21:59", "22:00", "07:00", False),
        ("12:30", "12:00", "13:00", True),
        ("13:00", "12:00", "13:00", False),
    ],
)
def test_quiet_hours_begin_with_their_first_minute_and_end_before_their_last(shown, starts, ends, is_in):
    moment = datetime.combine(datetime(2026, 1, 5), time.fromisoformat(shown), UTC)
    assert is_quiet(moment, time.fromisoformat(starts), time.fromisoformat(ends), UTC_ZONE) is is_in


def test_a_digest_at_an_hour_that_is_skipped_comes_once_and_so_does_one_at_an_hour_that_comes_twice():
    """In Lisbon 01:30 is skipped on 29 March 2026 and comes twice on 25 October."""
    spring = next_time(datetime(2026, 3, 28, 12, tzinfo=UTC), time(1, 30), LISBON)
    assert spring == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    autumn = next_time(datetime(2026, 10, 24, 12, tzinfo=UTC), time(1, 30), LISBON)
    assert autumn == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert next_time(autumn, time(1, 30), LISBON) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_the_end_of_an_hour_is_ahead_even_at_its_beginning():
    assert next_hour(datetime(2026, 1, 5, 23, tzinfo=UTC)) == datetime(2026, 1, 6, tzinfo=UTC)


@given(moment=moments, shown=minutes, zone=st.sampled_from(ZONES))
def test_the_next_digest_is_ahead_and_within_a_day_and_a_bit(moment, shown, zone):
    found = next_time(moment, shown, zone)
    assert moment < found <= moment + timedelta(hours=25)


def test_quiet_hours_whose_end_is_skipped_are_over_when_the_clock_shows_a_later_time():
    """In Lisbon 29 March 2026 goes from 00:59 to 02:00, at 01:00 UTC."""
    found = quiet_until(datetime(2026, 3, 28, 23, tzinfo=UTC), time(22), time(1, 30), LISBON)
    assert found == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_quiet_hours_whose_end_comes_twice_end_both_times():
    """In Lisbon 25 October 2026 has two 01:30s."""
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert quiet_until(datetime(2026, 10, 24, 23, tzinfo=UTC), time(22), time(1, 30), LISBON) == first
    assert quiet_until(first, time(22), time(1, 30), LISBON) is None
    assert quiet_until(first + timedelta(minutes=40), time(22), time(1, 30), LISBON) == second


@given(moment=moments, starts=minutes, ends=minutes, zone=st.sampled_from(ZONES))
@example(datetime(2026, 3, 28, 23, tzinfo=UTC), time(22), time(1, 30), LISBON)
@example(datetime(2026, 3, 28, 23, tzinfo=UTC), time(2, 15), time(1, 30), LISBON)
def test_when_quiet_hours_are_over_they_are_over(moment, starts, ends, zone):
    if starts == ends:
        return
    found = quiet_until(moment, starts, ends, zone)
    assert (found is None) == (not is_quiet(moment, starts, ends, zone))
    if found:
        assert moment < found <= moment + timedelta(hours=49)
        assert not is_quiet(found, starts, ends, zone)
