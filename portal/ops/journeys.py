"""How far an event has come, as pages show it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from events.journey import Step, is_complete, journey
from events.models import Event
from portal import times

#: From here on, how long something took is said in seconds and minutes.
LONG = timedelta(seconds=10)


def journey_of(event: Event) -> dict[str, Any]:
    """What `portal/ops/journey.html` shows: each step, and how long after the event it came."""
    steps = journey(event)
    return {"journey": list(_timed(steps)), "journey_is_complete": is_complete(steps)}


def _timed(steps: list[Step]) -> Iterator[tuple[Step, str]]:
    emitted = steps[0].at
    for number, step in enumerate(steps):
        yield step, after(step.at - emitted) if number and step.at and emitted else ""


def after(duration: timedelta) -> str:
    if duration < LONG:
        return f"{duration // timedelta(milliseconds=1)} ms after"
    return f"{times.took(duration)} after"
