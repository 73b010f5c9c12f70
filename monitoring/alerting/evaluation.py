"""Rules against what is stored, again and again: the process `pulse` calls this every few seconds.

What a look leads to is in `conditions`, without a database. A rule about which nothing changes costs no write. All that
there is to know between two looks stands in the rule and its open alert: whoever was killed has lost nothing, and two
who look at the same moment come to one event, for the second finds it done under the lock.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django_scopes import scopes_disabled

from monitoring.alerting import escalation, silences
from monitoring.alerting.actions import Raised, TooManyAlerts, end, let_time_pass, open_alert, raise_alert
from monitoring.alerting.conditions import (
    LOOK_BACK,
    Course,
    History,
    Kind,
    Minute,
    Verdict,
    advance,
    minute_of,
    moment_of,
)
from monitoring.alerting.messages import DEFAULTS, duration, fill, number
from monitoring.alerting.models import OPEN, Alert, AlertRule, Source
from monitoring.alerting.transitions import lock_owner
from monitoring.models import COUNTER, LatestMetrics, MinuteRollup, PlatformMinute
from monitoring.series import per_second
from tenants.models import Tenant

logger = logging.getLogger("monitoring.alerting")

#: Rules that are read, with what they look at, in one go.
TOGETHER = 500
#: What a Minute is made of; the last one only counters have, of which the platform has none.
COLUMNS = ("minute", "count", "sum", "min", "max", "increase")
#: Rules of which the log says already that there was no room for their alert: it stays so for many looks.
_refused: set[UUID] = set()
#: A series: whose it is (None: the platform's), and what it is called.
Series = tuple[UUID | None, str]


def step() -> None:
    """One look at everything that may change an alert by itself."""
    evaluate_all()
    silences.end_expired()
    let_time_pass()
    escalation.escalate_due()


@scopes_disabled()
def evaluate_all(now: datetime | None = None) -> int:
    """Look once at every rule that is enabled; suspended tenants send nothing, and nothing is missed there.

    Returns how many rules were looked at. One that fails is logged, and holds no other up.
    """
    looked = 0
    for rules in _batches():
        at = now or timezone.now()
        facts = Facts.of(rules, at)
        for rule in rules:
            _look(rule, facts, at)
        looked += len(rules)
    return looked


def _batches() -> Iterator[list[AlertRule]]:
    enabled = AlertRule.objects.filter(enabled=True, tenant__suspended_at=None).select_related("tenant").order_by("pk")
    rules = list(enabled[:TOGETHER])
    while rules:
        yield rules
        rules = list(enabled.filter(pk__gt=rules[-1].pk)[:TOGETHER])


def _look(rule: AlertRule, facts: "Facts", at: datetime) -> None:
    value = facts.value(rule, at)
    course = course_of(rule, facts.alerts.get(rule.pk))
    verdict = rule.condition.judge(value, course.is_firing)
    if advance(course, verdict, rule.pace, at) == course:
        return
    try:
        _act(rule, value, verdict, at)
    except (Tenant.DoesNotExist, AlertRule.DoesNotExist):
        return  # deleted since it was read
    except TooManyAlerts as refused:
        if rule.pk not in _refused:
            logger.warning("%s of %s could not fire: %s", rule, rule.tenant or "the platform", refused)
        _refused.add(rule.pk)
    except Exception:
        logger.exception("Rule %s could not be evaluated.", rule.pk)
    else:
        _refused.discard(rule.pk)


@transaction.atomic
def _act(seen: AlertRule, value: float | None, verdict: Verdict, at: datetime) -> None:
    """The same once more, under the lock, and what follows of it."""
    lock_owner(seen.tenant)
    rule = AlertRule.objects.select_for_update(of=("self",)).select_related("tenant", "policy").get(pk=seen.pk)
    if rule.version != seen.version:
        return  # it asks something else by now
    alert = open_alert(rule.tenant, rule.key)
    before = course_of(rule, alert)
    after = advance(before, verdict, rule.pace, at)
    if before.pending_since and after.is_firing:
        before = replace(before, pending_since=_wrong_since(rule, before.pending_since, at))
        after = advance(before, verdict, rule.pace, at)
    if after.pending_since != rule.pending_since:
        rule.pending_since = after.pending_since
        rule.save(update_fields=["pending_since"])
    if alert is None:
        if after.is_firing:
            raise_alert(rule.tenant, raised_by(rule, value, at))
    elif not after.is_firing:
        end(alert, at)
    elif after.clears_at != before.clears_at:
        alert.resolve_due_at = after.clears_at
        alert.save(update_fields=["resolve_due_at"])


def course_of(rule: AlertRule, alert: Alert | None) -> Course:
    """How far a rule is, as the database has it. How often it flapped is found out when it fires."""
    if alert is None:
        return Course(pending_since=rule.pending_since)
    return Course(fired_at=alert.started_at, clears_at=alert.resolve_due_at, flaps=alert.flaps)


def _wrong_since(rule: AlertRule, pending_since: datetime, at: datetime) -> datetime:
    """From when on it was wrong without a break, by what is stored: while nothing ran, nobody looked."""
    if rule.kind == Kind.ABSENCE:
        return pending_since
    condition, series = rule.condition, (rule.tenant_id, rule.metric)
    first, last = minute_of(pending_since) + 1, minute_of(at) - 1  # of these two there was a look
    stored = _stored([series], first - condition.minutes - LOOK_BACK, last)
    history = History.of([one for found, one in stored if found == series])
    for minute in range(last, first - 1, -1):
        value = condition.value(history.within(condition, minute))
        if condition.judge(value, is_firing=False) != Verdict.BREACHED:
            return moment_of(minute + 1)
    return pending_since


def raised_by(rule: AlertRule, value: float | None, at: datetime) -> Raised:
    return Raised(
        source=Source.RULE,
        key=rule.key,
        name=rule.name,
        severity=rule.severity,
        message=message_of(rule, value, unit_of(rule)),
        started_at=at,
        labels={"metric": rule.metric, **rule.labels},
        value=value,
        rule=rule,
    )


def message_of(rule: AlertRule, value: float | None, unit: str) -> str:
    """The rule's own words, or what there is to say of its kind."""
    is_absence = rule.kind == Kind.ABSENCE
    condition = rule.condition
    shown = {
        "name": rule.name,
        "metric": rule.metric,
        "value": duration(value or 0.0) if is_absence else number(value, unit),
        "comparison": str(condition.comparison),
        "threshold": duration(condition.threshold) if is_absence else number(condition.threshold, unit),
        "window": duration(rule.window_seconds),
    }
    return fill(rule.message or DEFAULTS[rule.kind], shown)


def unit_of(rule: AlertRule) -> str:
    """Of what it looks at: the metric's, a counter's a second; empty where nobody said one."""
    latest = LatestMetrics.objects.filter(pk=rule.tenant_id).first() if rule.tenant_id else None
    found = latest.metrics.get(rule.metric, {}) if latest else {}
    unit = str(found.get("unit", ""))
    return per_second(unit) if found.get("kind") == COUNTER else unit


# --- What is stored ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Facts:
    """What some rules look at, read in a handful of queries, however many they are."""

    histories: dict[Series, History] = field(default_factory=dict)
    newest: dict[Series, datetime] = field(default_factory=dict)
    alerts: dict[UUID, Alert] = field(default_factory=dict)

    @classmethod
    def of(cls, rules: Sequence[AlertRule], at: datetime) -> "Facts":
        open_alerts = Alert.objects.filter(OPEN, rule__in=[rule.pk for rule in rules])
        return cls(
            histories=_histories([rule for rule in rules if rule.kind != Kind.ABSENCE], at),
            newest=_newest([rule for rule in rules if rule.kind == Kind.ABSENCE]),
            alerts={alert.rule_id: alert for alert in open_alerts if alert.rule_id},
        )

    def value(self, rule: AlertRule, at: datetime) -> float | None:
        """What the rule compares at this moment. None: there is nothing to compare."""
        series = (rule.tenant_id, rule.metric)
        if rule.kind == Kind.ABSENCE:
            newest = self.newest.get(series, rule.watched_since)
            if rule.pk not in self.alerts:  # what fires goes on until a sample comes
                newest = max(newest, rule.watched_since)
            return max(0.0, (at - newest).total_seconds())
        condition, history = rule.condition, self.histories.get(series)
        return condition.value(history.within(condition, minute_of(at))) if history else None


def _histories(rules: Sequence[AlertRule], at: datetime) -> dict[Series, History]:
    """The minutes of every series that one of these rules looks at, as far back as the one that looks furthest."""
    found: dict[Series, list[Minute]] = defaultdict(list)
    now = minute_of(at)
    for window, wanted in _by_window(rules).items():
        for series, minute in _stored(wanted, now - window - LOOK_BACK, now):
            if series in wanted:  # of all tenants' names of all of them, only these were asked for
                found[series].append(minute)
    return {series: History.of(minutes) for series, minutes in found.items()}


def _by_window(rules: Sequence[AlertRule]) -> dict[int, set[Series]]:
    """Each series once, under the widest window, in minutes, that anybody looks at it through."""
    widest: dict[Series, int] = {}
    for rule in rules:
        series = (rule.tenant_id, rule.metric)
        widest[series] = max(rule.condition.minutes, widest.get(series, 0))
    found: dict[int, set[Series]] = defaultdict(set)
    for series, window in widest.items():
        found[window].add(series)
    return found


def _stored(wanted: Iterable[Series], first: int, last: int) -> Iterator[tuple[Series, Minute]]:
    """Minutes from `first` to `last`, in order, of at least these series."""
    tenants = {tenant for tenant, _ in wanted if tenant}
    names = {name for tenant, name in wanted if tenant}
    rows = MinuteRollup.objects.filter(tenant__in=tenants, name__in=names, minute__range=(first, last))
    for owner, name, *values in rows.order_by("minute").values_list("tenant_id", "name", *COLUMNS) if names else ():
        yield (owner, name), Minute(*values)
    names = {name for tenant, name in wanted if tenant is None}
    figures = PlatformMinute.objects.filter(name__in=names, minute__range=(first, last))
    for name, *values in figures.order_by("minute").values_list("name", *COLUMNS[:-1]) if names else ():
        yield (None, name), Minute(*values)


def _newest(rules: Sequence[AlertRule]) -> dict[Series, datetime]:
    """When the newest sample of each series was measured."""
    wanted: dict[UUID | None, set[str]] = defaultdict(set)
    for rule in rules:
        wanted[rule.tenant_id].add(rule.metric)
    found: dict[Series, datetime] = {}
    metrics: Any
    for tenant, metrics in LatestMetrics.objects.filter(pk__in=wanted).values_list("tenant_id", "metrics"):
        for name in wanted[tenant] & metrics.keys():
            found[tenant, name] = datetime.fromisoformat(metrics[name]["at"])
    for name in wanted.get(None, ()):
        last = PlatformMinute.objects.filter(name=name).order_by("-minute").first()
        if last:
            found[None, name] = last.at
    return found
