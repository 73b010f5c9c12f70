"""Times and durations as people read them. `static/js/times.js` says the same words; `portal/tests/times.json` holds
them to each other."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils import timezone

WEEK_SECONDS = 7 * 86_400


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Relative for seven days, then the date in UTC."""
    seconds = int(((now or timezone.now()) - moment).total_seconds())
    if seconds < 10:
        return "just now"
    if seconds < 60:
        return f"{seconds // 10 * 10} s ago"
    if seconds < 3600:
        return f"{seconds // 60} min ago"
    if seconds < 86_400:
        return f"{seconds // 3600} h ago"
    if seconds < WEEK_SECONDS:
        return "yesterday" if seconds < 2 * 86_400 else f"{seconds // 86_400} days ago"
    return f"{moment.day} {moment:%b %Y}"


def exact(moment: datetime, zone: str = "UTC") -> str:
    """The full time with its zone: what a hover, a focus or a tap shows. Outside UTC, how far from it: clocks show some
    hours twice."""
    local = moment.astimezone(ZoneInfo(zone))
    name = "UTC" if zone == "UTC" else f"{zone} ({_offset(local)})"
    return f"{local.day} {local:%b %Y, %H:%M:%S} {name}"


def _offset(local: datetime) -> str:
    minutes = round((local.utcoffset() or timedelta()) / timedelta(minutes=1))
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}{f':{rest:02}' if rest else ''}"


def day_in(moment: datetime, zone: str) -> str:
    """The day into which a moment falls there: "1 Nov 2026"."""
    local = moment.astimezone(ZoneInfo(zone))
    return f"{local.day} {local:%b %Y}"


def days_between(since: datetime, until: datetime, zone: str) -> str:
    """The days there from one moment up to another, which is the end of the last: "1 to 30 Nov 2026"."""
    first = since.astimezone(ZoneInfo(zone))
    last = max(since, until - timedelta(microseconds=1)).astimezone(ZoneInfo(zone))
    if first.date() == last.date():
        return day_in(since, zone)
    begin = f"{first.day}"
    if (first.year, first.month) != (last.year, last.month):
        begin += f" {first:%b}" if first.year == last.year else f" {first:%b %Y}"
    return f"{begin} to {last.day} {last:%b %Y}"


def day_words(day: date) -> str:
    """A day as lists of events head it: "Monday, 23 Nov 2026"."""
    return f"{day:%A}, {day.day} {day:%b %Y}"


def took(duration: timedelta) -> str:
    seconds = max(0, int(duration.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"


def wire(moment: datetime) -> str:
    """The time as events carry it: UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
