"""A rule against the past: how often it would have fired, by the same code that decides when it does."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

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

    @property
    def has_enough(self) -> bool:
        return self.first_sample_at is not None and self.until - self.first_sample_at >= ENOUGH

    @property
    def summary(self) -> str:
        if self.first_sample_at is None:
            return "There are no samples of this metric in the last day."
        times = {0: "not have fired", 1: "have fired once"}
        words = times.get(len(self.firings), f"have fired {len(self.firings)} times")
        short = "" if self.has_enough else " There is less than an hour of samples."
        return f"It would {words} in the last day.{short}"


@scopes_disabled()
def try_out(rule: AlertRule, now: datetime, span: timedelta = SPAN) -> Trial:
    """How the rule, stored or not, would have gone from `now - span` to now, looked at once a minute."""
    trial = Trial(since=now - span, until=now, unit=unit_of(rule))
    minutes = _minutes(rule, trial)
    if minutes:
        trial.first_sample_at = moment_of(minutes[0].number)
        _run(rule, minutes, trial)
    return trial


def _run(rule: AlertRule, minutes: Sequence[Minute], trial: Trial) -> None:
    condition, pace, course = rule.condition, rule.pace, Course()
    numbers, history = [minute.number for minute in minutes], History.of(minutes)
    for number in range(minute_of(trial.since) + 1, minute_of(trial.until) + 1):
        at = min(moment_of(number + 1), trial.until)  # the end of the minute, when all of it is known
        if condition.kind == Kind.ABSENCE:
            known = bisect_left(numbers, number + 1)
            value = (at - moment_of(numbers[known - 1] + 1)).total_seconds() if known else None
        else:
            look = minute_of(at) if history.is_counter else number  # a counter's minute is known when it is over
            value = condition.value(history.within(condition, look))
        trial.points.append((at, value))
        before = course
        course = advance(before, condition.judge(value, before.is_firing), pace, at)
        if course.is_firing and value is not None:
            _note(rule, trial, value, at, is_new=not before.is_firing)
        elif before.is_firing and not course.is_firing:
            trial.firings[-1].until = at


def _note(rule: AlertRule, trial: Trial, value: float, at: datetime, *, is_new: bool) -> None:
    if is_new:
        trial.firings.append(Firing(at, message_of(rule, value, trial.unit), value, value))
    elif rule.condition.is_beyond(value, trial.firings[-1].peak):
        trial.firings[-1].peak = value


def _minutes(rule: AlertRule, trial: Trial) -> list[Minute]:
    first = minute_of(trial.since) - rule.condition.minutes - LOOK_BACK
    model = MinuteRollup if rule.tenant_id else PlatformMinute
    owner = {"tenant": rule.tenant_id} if rule.tenant_id else {}
    rows = model._default_manager.filter(
        name=rule.metric, minute__gte=first, minute__lte=minute_of(trial.until), **owner
    ).order_by("minute")
    return [Minute(*row) for row in rows.values_list(*(COLUMNS if rule.tenant_id else COLUMNS[:-1]))]
