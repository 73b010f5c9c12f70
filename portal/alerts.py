"""Alerts as pages show them: made of what their event says, so that a page's script can say the same of the next.

`static/js/alerts.js` has the same words; portal/tests/alerts.json holds the two to each other.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, QuerySet, When
from django.http import QueryDict
from django.utils.http import urlencode

from deployments.rows import PAGE_SIZE, cut, id_in
from monitoring.alerting.conditions import Kind
from monitoring.alerting.messages import duration, number
from monitoring.alerting.models import OPEN, Alert, AlertRule, Severity, Silence, State
from monitoring.events import AlertEvent
from portal import figures, times

#: So many a page's script knows one by one.
TALLIED = 300
#: The mark of each severity: one of those in includes/marks.html.
MARKS = {"info": "level-info", "warning": "level-warning", "error": "level-error", "critical": "state-failed"}
BLANK = {"alertId": "", "version": 0, "severity": "info", "message": "", "state": "firing", "metadata": {}}


@dataclass(frozen=True, slots=True)
class Row:
    """One alert with its address. Without one: the blank that the page's script fills."""

    wire: dict[str, Any] = field(default_factory=lambda: BLANK)
    url: str = ""
    tenant: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.wire["metadata"]
        return found

    @property
    def state_word(self) -> str:
        return str(State(self.wire["state"]).label)

    @property
    def severity_word(self) -> str:
        return str(Severity(self.wire["severity"]).label)

    @property
    def mark(self) -> str:
        return MARKS[self.wire["severity"]]

    @property
    def standing(self) -> str:
        return standing(self.wire)

    @property
    def started_at(self) -> datetime | None:
        return moment(self.facts.get("startedAt"))

    @property
    def is_open(self) -> bool:
        return bool(self.wire["state"] != State.RESOLVED)


def moment(told: str | None) -> datetime | None:
    return datetime.fromisoformat(told) if told else None


def row(alert: Alert, url: str = "", tenant: str = "") -> Row:
    event = AlertEvent.of(alert)
    return Row(event.payload(), url, tenant)


def standing(wire: dict[str, Any]) -> str:
    """Who looks after it, or why it is quiet: one line."""
    facts = wire["metadata"]
    if wire["state"] == State.ACKNOWLEDGED:
        until = f" until {_exactly(facts['until'])}" if facts.get("until") else ""
        return f"{facts['acknowledgedBy']} looks after it{until}{_because(facts.get('note'))}"
    if wire["state"] == State.SILENCED:
        silence = facts["silence"]
        return f"{silence['by']} silenced it until {_exactly(silence['until'])}{_because(silence['reason'])}"
    if wire["state"] == State.RESOLVED:
        return facts.get("endedWhy") or "It is over"
    return "Nobody looks after it"


def _because(words: str | None) -> str:
    return f": {words}" if words else ""


def _exactly(told: str) -> str:
    return times.exact(datetime.fromisoformat(told))


def verdict(firing: int) -> str:
    """The answer to "who must act?"."""
    if not firing:
        return "Nobody has to act"
    return f"{firing} alert needs somebody" if firing == 1 else f"{firing} alerts need somebody"


def tally(alerts: QuerySet[Alert]) -> tuple[int, dict[str, Any]]:
    """How many fire, and what the script goes on counting from.

    `known`: {id: [version, state]} of the newest that are open; `beyond`: how many more fire.
    """
    rows = alerts.filter(OPEN).order_by("-id").values_list("id", "version", "state")[:TALLIED]
    known = {str(key): [version, state] for key, version, state in rows}
    firing = beyond = sum(state == State.FIRING for _, state in known.values())
    if len(known) == TALLIED:
        firing = alerts.filter(state=State.FIRING).count()
    return firing, {"known": known, "beyond": firing - beyond}


# --- The list ---------------------------------------------------------------------------------------------------------

#: What the list's tabs hold.
GROUPS = {"open": "All open", "firing": "Firing", "acknowledged": "Looked after", "silenced": "Silenced"}
OPEN_STATES = (State.FIRING, State.ACKNOWLEDGED, State.SILENCED)
#: What else of an address stays when somebody takes another tab or page.
KEPT = ("tenant", "series", "range", "zone", "view")


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of open alerts. `low` and `high` are its ends, as the script orders rows; None is without end.

    All that are open: whoever fires stands first, and what has no room there stands in the tabs. Of one state: pages.
    """

    group: str
    found: Sequence[Alert]
    low: str | None
    high: str | None
    tabs: list[tuple[str, str, str]]
    older: str = ""
    newer: str = ""

    @property
    def states(self) -> Sequence[str]:
        return OPEN_STATES if self.group == "open" else (self.group,)

    @property
    def is_cut(self) -> bool:
        return self.group == "open" and self.low is not None


def listed(alerts: QuerySet[Alert], given: QueryDict) -> Listed:
    group = given.get("state", "open")
    group = group if group in GROUPS else "open"
    tabs = [(name, word, _address(given, state=name)) for name, word in GROUPS.items()]
    if group == "open":
        fires = Case(When(state=State.FIRING, then=1), default=0)
        found = list(alerts.filter(OPEN).order_by(fires.desc(), "-id")[: PAGE_SIZE + 1])
        low = _order(found[PAGE_SIZE - 1]) if len(found) > PAGE_SIZE else None
        return Listed(group, found[:PAGE_SIZE], low, None, tabs)
    page = cut(alerts.filter(state=group), "id", id_in(given.get("before")), id_in(given.get("after")))
    return Listed(
        group,
        page.rows,
        _order(page.rows[-1]) if page.older and page.rows else None,
        _order(page.rows[0]) if page.newer and page.rows else None,
        tabs,
        older=_address(given, state=group, before=str(page.older)) if page.older else "",
        newer=_address(given, state=group, after=str(page.newer)) if page.newer else "",
    )


def _order(alert: Alert) -> str:
    """Its place in a list, as `static/js/alerts.js` has it: what fires is above the rest, newer above older."""
    return f"{int(alert.state == State.FIRING)}-{alert.pk}"


def _address(given: QueryDict, **changed: str) -> str:
    kept: dict[str, Any] = {name: given[name] for name in KEPT if given.get(name)} | changed
    return f"?{urlencode({name: value for name, value in kept.items() if (name, value) != ('state', 'open')})}"


# --- Rules and silences -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RuleRow:
    rule: AlertRule
    url: str
    unit: str
    is_firing: bool

    @property
    def condition(self) -> str:
        return condition_words(self.rule, self.unit)

    @property
    def state(self) -> str:
        if not self.rule.enabled:
            return "off"
        return "firing" if self.is_firing else "pending" if self.rule.pending_since else "well"

    @property
    def state_word(self) -> str:
        return {"off": "Off", "firing": "Firing", "pending": "Pending", "well": "Well"}[self.state]


def rule_rows(
    rules: Iterable[AlertRule], url: Callable[[UUID], str], firing: Iterable[Any], units: dict[str, str]
) -> list[RuleRow]:
    """`url` gives a rule's address; `firing`: the ids of rules with an open alert; `units`: by series."""
    ids = set(firing)
    return [RuleRow(rule, url(rule.pk), units.get(rule.metric, ""), rule.pk in ids) for rule in rules]


def condition_words(rule: AlertRule, unit: str) -> str:
    """A rule in one sentence: "CPU above 90 %, average of 5 min, for 2 min"."""
    metric = figures.word(rule.metric)
    if rule.kind == Kind.ABSENCE:
        return f"No samples of {metric} for {duration(rule.window_seconds)}"
    limit, window = number(rule.threshold, unit), duration(rule.window_seconds)
    if rule.kind == Kind.CHANGE:
        said = f"{metric} changes by {rule.comparison} {limit} a minute, over {window}"
    else:
        said = f"{metric} {rule.comparison} {limit}, {rule.get_aggregate_display().lower()} of {window}"
    return f"{said}, for {duration(rule.for_seconds)}" if rule.for_seconds else said


def matchers_words(silence: Silence) -> str:
    """What it silences: "name “Web is slow”, host “db-1”"; an operator is said where it is not equality."""
    operators = {"=": "", "!=": "not ", "~": "like ", "!~": "not like "}
    names = {"alertname": "name"}
    said = (
        f"{names.get(one['label'], one['label'])} {operators[one['op']]}“{one['value']}”" for one in silence.matchers
    )
    return ", ".join(said)
