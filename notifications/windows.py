"""When a mail may leave: the ends of quiet hours and of digests' windows, in a person's own time zone.

Pure functions of moments; all that come in and go out are aware. Around a change of the clocks a time of day may come
twice or not at all: quiet hours end at the next time the clock shows their end, a digest closes once a day.
"""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

_HOUR = timedelta(hours=1)
#: Today, and the days on which the time of day comes next, whatever the clocks do.
_DAYS = [timedelta(days=days) for days in range(3)]


def is_quiet(moment: datetime, starts: time, ends: time, zone: ZoneInfo) -> bool:
    """Whether the clock there shows a time from `starts` up to `ends`, which may be past midnight."""
    shown = moment.astimezone(zone).time()
    return starts <= shown < ends if starts < ends else shown >= starts or shown < ends


def quiet_until(moment: datetime, starts: time, ends: time, zone: ZoneInfo) -> datetime | None:
    """When the quiet hours that this moment falls into are over; None where it falls into none."""
    if not is_quiet(moment, starts, ends, zone):
        return None
    # An end that is skipped is no end an hour earlier, where the clock shows a time before it.
    return next(end for end in _next_times(moment, ends, zone, folds=(0, 1)) if not is_quiet(end, starts, ends, zone))


def next_hour(moment: datetime) -> datetime:
    """The end of the hour, on UTC's clock."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + _HOUR


def next_time(moment: datetime, shown: time, zone: ZoneInfo) -> datetime:
    """The first moment after this one at which the clock there shows that time. One that is skipped counts as if the
    clock had not been changed; of one that comes twice the first counts.
    """
    return _next_times(moment, shown, zone, folds=(0,))[0]


def _next_times(moment: datetime, shown: time, zone: ZoneInfo, folds: tuple[int, ...]) -> list[datetime]:
    """When the clock there shows that time in the days after this moment, in order: `folds` says which count of one
    that comes twice or is skipped."""
    day = moment.astimezone(zone).date()
    moments = [
        datetime.combine(day + days, shown, zone).replace(fold=fold).astimezone(UTC) for days in _DAYS for fold in folds
    ]
    return sorted(found for found in moments if found > moment)
