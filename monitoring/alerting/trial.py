"""A rule against the past: how often it would have fired, by the same code that decides when it does."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django_scopes import scopes_disabled

from monitoring.alerting.conditions import LOOK_BACK, Course, History, Kind, Minute, advance, minute_of, moment_of
from monitoring.alerting.evaluation import COLUMNS, message_of, unit_of
from monitoring.alerting.models import AlertRule
from monitoring.models import MinuteRollup, PlatformMinute

SPAN = timedelta(days=1)
#: With less of the span covered by samples, a trial says little.
ENOUGH = timedelta(hours=1)


@dataclass(slots=True)
class Firing:
    """One alert there would have been. `until` is None while it would fire still; `peak` is the value furthest out."""

    since: datetime
    message: str
    value: float
    peak: float
    until: datetime | None = None


@dataclass(slots=True)
class Trial:
    """`points`: (moment, what the rule compares), one a minute; None where there was nothing to compare."""

    since: datetime
    until: datetime
    points: list[tuple[datetime, float | None]] = field(default_factory=list)
    firings: list[Firing] = field(default_factory=list)
    first_sample_at: datetime | None = None
    unit: str = ""
    is_absence: bool = False

    @property
    def has_enough(self) -> bool:
        """Of an absence no samples at all are enough."""
        if self.first_sample_at is None:
            return self.is_absence
        return self.until - self.first_sample_at >= ENOUGH

    @property
    def summary(self) -> str:
        if self.first_sample_at is None and not self.is_absence:
            return "There are no samples of this metric in the last day."
        times = {0: "not have fired", 1: "have fired once"}
        words = times.get(len(self.firings), f"have fired {len(self.firings)} times")
        short = "" if self.has_enough else " There is less than an hour of samples."
        return f"It would {words} in the last day.{short}"


@scopes_disabled()
def try_out(rule: AlertRule, now: datetime, span: timedelta = SPAN) -> Trial:
    """How the rule, stored or not, would have gone from `now - span` to now, looked at once a minute."""
    is_absence = rule.kind == Kind.ABSENCE
    trial = Trial(since=now - span, until=now, unit=unit_of(rule), is_absence=is_absence)
    minutes = _minutes(rule, trial)
    if minutes:
        trial.first_sample_at = moment_of(minutes[0].number)
    if minutes or is_absence:
        _run(rule, minutes, trial)
    return trial


def _run(rule: AlertRule, minutes: Sequence[Minute], trial: Trial) -> None:
    condition, pace, course = rule.condition, rule.pace, Course()
    numbers, history = [minute.number for minute in minutes], History.of(minutes)
    before = _heard_before(rule, minutes, trial) if trial.is_absence else None
    for number in range(minute_of(trial.since) + 1, minute_of(trial.until) + 1):
        at = min(moment_of(number + 1), trial.until)  # the end of the minute, when all of it is known
        if trial.is_absence:
            known = bisect_left(numbers, number + 1)
            newest = moment_of(numbers[known - 1] + 1) if known else before
            value = (at - newest).total_seconds() if newest else None
        else:
            look = minute_of(at) if history.is_counter else number  # a counter's minute is known when it is over
            value = condition.value(history.within(condition, look))
        trial.points.append((at, value))
        was = course
        course = advance(was, condition.judge(value, was.is_firing), pace, at)
        if course.is_firing and value is not None:
            _note(rule, trial, value, at, is_new=not was.is_firing)
        elif was.is_firing and not course.is_firing:
            trial.firings[-1].until = at


def _note(rule: AlertRule, trial: Trial, value: float, at: datetime, *, is_new: bool) -> None:
    if is_new:
        trial.firings.append(Firing(at, message_of(rule, value, trial.unit), value, value))
    elif rule.condition.is_beyond(value, trial.firings[-1].peak):
        trial.firings[-1].peak = value


def _rows(rule: AlertRule) -> QuerySet[Any]:
    if rule.tenant_id is None:
        return PlatformMinute.objects.filter(name=rule.metric).order_by("minute")
    return MinuteRollup.objects.filter(tenant=rule.tenant_id, name=rule.metric).order_by("minute")


def _minutes(rule: AlertRule, trial: Trial) -> list[Minute]:
    rows = _rows(rule).filter(minute__range=(_first(rule, trial), minute_of(trial.until)))
    return [Minute(*row) for row in rows.values_list(*(COLUMNS if rule.tenant_id else COLUMNS[:-1]))]


def _first(rule: AlertRule, trial: Trial) -> int:
    return minute_of(trial.since) - rule.condition.minutes - LOOK_BACK


def _heard_before(rule: AlertRule, minutes: Sequence[Minute], trial: Trial) -> datetime | None:
    """Since when samples were missed before the first of `minutes`: the rule has been watching all the while.

    None: that was the first there ever was, and nobody missed any.
    """
    last = _rows(rule).filter(minute__lt=_first(rule, trial)).last()
    if last:
        return moment_of(last.minute + 1)
    return None if minutes else trial.since
