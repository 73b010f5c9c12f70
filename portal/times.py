"""Times and durations as people read them. `static/js/times.js` says the same words; `portal/tests/times.json` holds
them to each other."""

from datetime import datetime, timedelta

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


def exact(moment: datetime) -> str:
    """The full time with its zone: what a hover, a focus or a tap shows."""
    return f"{moment.day} {moment:%b %Y, %H:%M:%S} UTC"


def took(duration: timedelta) -> str:
    seconds = max(0, int(duration.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
