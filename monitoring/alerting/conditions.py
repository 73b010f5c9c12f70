"""What a rule says about numbers and time, without a database: the same code decides for now and in a dry run."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

from django.db.models import TextChoices

MINUTE = timedelta(minutes=1)
#: What a rule compares with lies between this and its negative: no sample is beyond it.
LARGEST = 1e18
#: What comes back within this is flapping: each time it stays for longer after it is well.
FLAP_WINDOW = timedelta(hours=1)
#: How long what flaps is held at least, and how often that is doubled at most (to 16 minutes, of one minute).
FLAP_HOLD = timedelta(minutes=1)
FLAP_DOUBLINGS = 4
#: So many minutes before its window a rule looks for the one that a counter's first rise is counted from.
LOOK_BACK = 5


class Kind(TextChoices):
    THRESHOLD = "threshold", "Threshold"
    ABSENCE = "absence", "Absence"
    CHANGE = "change", "Rate of change"


class Aggregate(TextChoices):
    AVERAGE = "avg", "Average"
    LEAST = "min", "Minimum"
    GREATEST = "max", "Maximum"


class Comparison(TextChoices):
    ABOVE = "above", "Above"
    BELOW = "below", "Below"


class Verdict(Enum):
    BREACHED = "breached"
    CLEAR = "clear"
    UNKNOWN = "unknown"


class Minute(NamedTuple):
    """What the samples of one minute come to. `number` counts minutes since 1970; `rise`: how much a counter rose."""

    number: int
    samples: int
    total: float
    least: float
    greatest: float
    rise: float | None = None

    @property
    def average(self) -> float:
        return self.total / self.samples


def minute_of(at: datetime) -> int:
    return int(at.timestamp() // 60)


def moment_of(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a rule looks at, and from where on it is wrong.

    threshold  the average, least or greatest of the last `window`, in the metric's unit
    change     how much a minute's average rose (below zero: fell) from the first to the last minute with samples in the
               window, divided by the minutes between: the metric's unit a minute
    absence    the seconds since the newest sample or, where that is later, since the rule has been watching

    Of a counter the first two look at how much it rises a second: see `History`.
    """

    kind: Kind
    aggregate: Aggregate
    comparison: Comparison
    threshold: float
    recovery: float | None
    window: timedelta

    @property
    def minutes(self) -> int:
        """The window in whole minutes: so many before the one that goes on."""
        return -(-int(self.window.total_seconds()) // 60)

    def value(self, minutes: Sequence[Minute]) -> float | None:
        """What the condition compares, of the minutes of its window with samples, in order. None: nothing to compare.

        Not for an absence, whose value is an age.
        """
        if not minutes:
            return None
        if self.kind == Kind.CHANGE:
            first, last = minutes[0], minutes[-1]
            return (last.average - first.average) / (last.number - first.number) if last.number > first.number else None
        if self.aggregate == Aggregate.LEAST:
            return min(minute.least for minute in minutes)
        if self.aggregate == Aggregate.GREATEST:
            return max(minute.greatest for minute in minutes)
        return sum(minute.total for minute in minutes) / sum(minute.samples for minute in minutes)

    def is_beyond(self, value: float, limit: float) -> bool:
        return value > limit if self.comparison == Comparison.ABOVE else value < limit

    def judge(self, value: float | None, is_firing: bool) -> Verdict:
        """Whether it is wrong. What fires has to come back to `recovery`, so that a value at the edge does not flap."""
        if value is None:
            return Verdict.UNKNOWN
        limit = self.threshold if self.recovery is None or not is_firing else self.recovery
        return Verdict.BREACHED if self.is_beyond(value, limit) else Verdict.CLEAR


@dataclass(frozen=True, slots=True)
class History:
    """The minutes of one series, in order, as conditions compare them.

    Those of a counter are how much it rose a second, as its charts have it: the minute that goes on tells nothing yet,
    nor does the first. Each counts by its length, which after a gap is more than a minute.
    """

    minutes: Sequence[Minute]
    numbers: Sequence[int]
    is_counter: bool

    @classmethod
    def of(cls, minutes: Sequence[Minute]) -> "History":
        is_counter = bool(minutes) and minutes[-1].rise is not None
        compared = _rates(minutes) if is_counter else minutes
        return cls(compared, [minute.number for minute in compared], is_counter)

    def within(self, condition: Condition, number: int) -> Sequence[Minute]:
        """What a look in minute `number` compares."""
        last = number - 1 if self.is_counter else number
        return self.minutes[bisect_left(self.numbers, number - condition.minutes) : bisect_right(self.numbers, last)]


def _rates(minutes: Sequence[Minute]) -> list[Minute]:
    found = []
    for before, minute in pairwise(minutes):
        if before.rise is not None and minute.rise is not None:
            length = minute.number - before.number
            rate = minute.rise / (length * MINUTE.total_seconds())
            found.append(Minute(minute.number, length, rate * length, rate, rate))
    return found


# --- From one look to the next ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pace:
    """`after`: it has to be wrong for so long before it fires. `hold`: well for so long before it is over."""

    after: timedelta
    hold: timedelta


@dataclass(frozen=True, slots=True)
class Course:
    """How far a rule is. All moments are None where there is none.

    `clears_at`: it is well, and over at that moment unless it is wrong before. `ended_at`: when it was over last.
    """

    pending_since: datetime | None = None
    fired_at: datetime | None = None
    clears_at: datetime | None = None
    ended_at: datetime | None = None
    flaps: int = 0

    @property
    def is_firing(self) -> bool:
        return self.fired_at is not None


def held(hold: timedelta, flaps: int) -> timedelta:
    """How long something stays open when it is well. What keeps coming back stays longer each time."""
    if not flaps:
        return hold
    return max(hold, FLAP_HOLD) * 2 ** min(flaps - 1, FLAP_DOUBLINGS)


def flaps_of(ended_at: datetime | None, flaps_before: int, at: datetime) -> int:
    """How often what fires now had come back shortly before, given when it was over last and its count by then."""
    return flaps_before + 1 if ended_at and at - ended_at <= FLAP_WINDOW else 0


def advance(course: Course, verdict: Verdict, pace: Pace, at: datetime) -> Course:
    """Where a look at this moment leads. Not knowing ends nothing that fires, and begins nothing."""
    return _while_firing(course, verdict, pace, at) if course.is_firing else _while_well(course, verdict, pace, at)


def _while_firing(course: Course, verdict: Verdict, pace: Pace, at: datetime) -> Course:
    if verdict == Verdict.BREACHED:
        return replace(course, clears_at=None)
    if verdict == Verdict.CLEAR and course.clears_at is None:
        course = replace(course, clears_at=at + held(pace.hold, course.flaps))
    if course.clears_at is None or course.clears_at > at:
        return course
    return Course(ended_at=at, flaps=course.flaps)


def _while_well(course: Course, verdict: Verdict, pace: Pace, at: datetime) -> Course:
    if verdict != Verdict.BREACHED:
        return replace(course, pending_since=None)
    since = course.pending_since or at
    if at - since < pace.after:
        return replace(course, pending_since=since)
    return Course(fired_at=at, flaps=flaps_of(course.ended_at, course.flaps, at))
