"""Billing periods: months of the tenant's own calendar."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

#: A period that would be shorter than this, because the tenant moved to another time zone, lasts a month longer.
SHORTEST = timedelta(days=15)


def month_start(at: datetime, zone: str) -> datetime:
    """When the month began into which this moment falls, there."""
    local = at.astimezone(ZoneInfo(zone))
    return _midnight(local.year, local.month, zone)


def next_start(start: datetime, zone: str) -> datetime:
    """When the period ends that began at `start`: as a month begins there. The zone may have changed since."""
    local = (start + SHORTEST).astimezone(ZoneInfo(zone))
    year, month = divmod(local.year * 12 + local.month, 12)
    return _midnight(year, month + 1, zone)


def share(start: datetime, end: datetime, since: datetime, until: datetime) -> Fraction:
    """Which part of a period lies between two moments in it, to the microsecond."""
    microsecond = timedelta(microseconds=1)
    return Fraction((until - since) // microsecond, (end - start) // microsecond)


def _midnight(year: int, month: int, zone: str) -> datetime:
    """The first moment of a month there, in UTC. Where clocks skip midnight, the moment after the skip."""
    return datetime(year, month, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
