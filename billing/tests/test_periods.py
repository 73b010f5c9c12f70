"""Periods are months of the tenant's own calendar, one after another without a gap, whatever its clocks do."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.periods import month_start, next_start, share

pytestmark = pytest.mark.once

ZONES = [
    "UTC",
    "Europe/Lisbon",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Pacific/Kiritimati",
    "Pacific/Apia",
    "Africa/Cairo",
]
moments = st.datetimes(datetime(2001, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))


def test_novembers_usage_in_lisbon_and_in_tokyo():
    at = datetime(2026, 11, 30, 20, tzinfo=UTC)
    assert month_start(at, "Europe/Lisbon") == datetime(2026, 11, 1, tzinfo=UTC)
    assert month_start(at, "Asia/Tokyo") == datetime(2026, 11, 30, 15, tzinfo=UTC)
    assert next_start(month_start(at, "Asia/Tokyo"), "Asia/Tokyo") == datetime(2026, 12, 31, 15, tzinfo=UTC)


@given(moments, st.sampled_from(ZONES))
def test_a_moment_lies_in_the_month_that_has_begun_and_not_ended(at, zone):
    start = month_start(at, zone)
    end = next_start(start, zone)
    assert start <= at < end
    assert month_start(end, zone) == end
    assert timedelta(days=27) < end - start < timedelta(days=32)


@given(moments, st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_a_tenant_that_moves_has_no_period_of_a_few_hours(at, before, after):
    start = month_start(at, before)
    end = next_start(start, after)
    assert timedelta(days=26) < end - start < timedelta(days=33)
    assert month_start(end, after) == end


@given(moments, st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_the_parts_of_a_period_are_the_whole(at, cuts):
    start = month_start(at, "UTC")
    end = next_start(start, "UTC")
    inside = sorted({start, end, *(start + (end - start) * cut / 10**6 for cut in cuts)})
    assert sum(share(start, end, *pair) for pair in pairwise(inside)) == Fraction(1)
