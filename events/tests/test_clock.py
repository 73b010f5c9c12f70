"""The demo's past happens in its own time."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from events.clock import put_back_to

pytestmark = pytest.mark.once

THEN = datetime(2026, 8, 1, 12, tzinfo=UTC)


def test_it_is_that_moment_inside_and_the_real_one_behind_it_whatever_happened(settings):
    settings.DEBUG = True
    with put_back_to(THEN):
        assert timezone.now() == THEN
    with pytest.raises(KeyboardInterrupt), put_back_to(THEN):
        raise KeyboardInterrupt
    assert abs(timezone.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_no_clock_is_put_back_where_there_is_no_demo(settings):
    settings.DEBUG = False
    with pytest.raises(RuntimeError, match="a demo alone"), put_back_to(THEN):
        pass
    assert timezone.now() != THEN
