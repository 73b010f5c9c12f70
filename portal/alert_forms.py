"""What people fill in about alerts: an acknowledgement, a silence, a rule."""

import re
from datetime import datetime, timedelta
from typing import Any

from django import forms

from monitoring.alerting import rules
from monitoring.alerting.conditions import Aggregate, Comparison, Kind
from monitoring.alerting.matching import OPERATORS
from monitoring.alerting.models import AlertRule, EscalationPolicy, Severity
from monitoring.alerting.silences import TEXT_LENGTH, InvalidSilence

ACKNOWLEDGED_FOR = [("", "Until it is over"), ("1", "For 1 hour"), ("4", "For 4 hours"), ("24", "For a day")]
SILENCED_FOR = [("1", "1 hour"), ("4", "4 hours"), ("24", "A day"), ("168", "A week")]
MINUTE_SECONDS = 60
#: A line of matchers: a label, signs of operators in a row, a value.
MATCHER = re.compile(r"([^=!~]*)([=!~]+)(.*)")
_OPERATORS = " ".join(OPERATORS)
#: What the API takes, too.
LABEL_LENGTH, VALUE_LENGTH = 200, TEXT_LENGTH
MATCHERS_LENGTH = 20_000
PROBLEMS_TOLD = 5


class AcknowledgeForm(forms.Form):
    note = forms.CharField(required=False, max_length=500, label="Note", help_text="What you do about it.")
    hours = forms.ChoiceField(required=False, choices=ACKNOWLEDGED_FOR, label="For how long")

    def until(self, now: datetime) -> datetime | None:
        hours = self.cleaned_data["hours"]
        return now + timedelta(hours=int(hours)) if hours else None


class SilenceForm(forms.Form):
    reason = forms.CharField(max_length=300, label="Why", help_text="Others will read it.")
    lasts_hours = forms.ChoiceField(choices=SILENCED_FOR, label="For how long")
    ends_on_resolve = forms.BooleanField(required=False, initial=True, label="Ends when it is over")

    def until(self, now: datetime) -> datetime:
        return now + timedelta(hours=int(self.cleaned_data["lasts_hours"]))


class MatchersForm(SilenceForm):
    """A silence of whatever matches. What can't be is said with the line that it stands on."""

    matchers = forms.CharField(
        max_length=MATCHERS_LENGTH,
        strip=False,  # so that lines are counted as they are seen
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "autocapitalize": "off"}),
        help_text="One a line, and an alert has to match all of them. <code>host = db-1</code> and "
        "<code>host != db-1</code> compare the whole text; in <code>alertname ~ Disk*</code> and "
        "<code>host !~ test-*</code> an asterisk stands for anything. Besides labels there are "
        "<code>alertname</code> and <code>severity</code>.",
        error_messages={"required": "Name what is to be silent, one matcher a line, like host = db-1."},
    )
    ends_on_resolve = forms.BooleanField(
        required=False, label="Ends when it is over", help_text="With the last alert that it silences."
    )
    field_order = ("matchers",)

    def clean_matchers(self) -> list[dict[str, str]]:
        found, problems = [], []
        for number, line in enumerate(self.cleaned_data["matchers"].split("\n"), start=1):
            try:
                found += [matcher_of(line)] if line.strip() else []
            except ValueError as problem:
                problems.append(f"Line {number}: {problem}")
        if problems:
            raise forms.ValidationError(problems[:PROBLEMS_TOLD])
        if not found:
            raise forms.ValidationError(self.fields["matchers"].error_messages["required"])
        return found

    def matchers_alone(self) -> list[dict[str, str]] | None:
        """For a preview, which needs nothing else, and complains of nothing else. None where they can't be."""
        for name in set(self.errors) - {"matchers"}:
            del self.errors[name]
        return self.cleaned_data.get("matchers")

    def add_problem(self, invalid: InvalidSilence) -> None:
        self.add_error({"expiresAt": "lasts_hours"}.get(invalid.field, invalid.field), str(invalid))


def matcher_of(line: str) -> dict[str, str]:
    """`host ~ db-*` as a silence stores it. Raises ValueError, which says what to write instead."""
    parts = MATCHER.fullmatch(line.strip())
    if parts is None:
        raise ValueError(f"no operator in it. Write one of {_OPERATORS} between label and value, like host = db-1.")
    label, operator, value = (part.strip() for part in parts.groups())
    if operator not in OPERATORS:
        raise ValueError(f"{operator} is no operator. Write one of {_OPERATORS}; patterns are like host ~ db-*.")
    if not label:
        raise ValueError(f"no label before {operator}. Write one, like host {operator} {value or 'db-1'}.")
    if len(label) > LABEL_LENGTH or len(value) > VALUE_LENGTH:
        raise ValueError(
            f"longer than a label ({LABEL_LENGTH} characters) or a value ({VALUE_LENGTH}) can be. Shorten it: in a "
            "pattern an asterisk stands for the rest."
        )
    return {"label": label, "op": operator, "value": value}


class RuleForm(forms.Form):
    """A rule in minutes, and parts of them. What can't be is said by the rule itself, and put at its field."""

    name = forms.CharField(max_length=100)
    metric = forms.CharField(
        max_length=200,
        label="Series",
        help_text="A metric’s name, with its labels where it has some.",
        widget=forms.TextInput(attrs={"list": "series", "autocomplete": "off"}),
    )
    kind = forms.ChoiceField(choices=Kind.choices, label="Looks at")
    aggregate = forms.ChoiceField(choices=Aggregate.choices, label="Of the window, the")
    comparison = forms.ChoiceField(choices=Comparison.choices, label="Is")
    threshold = forms.FloatField(
        required=False, help_text="In the series’ unit, of a counter a second; of a rate of change, that a minute."
    )
    recovery = forms.FloatField(
        required=False, label="Over when back at", help_text="Empty: at the threshold. Further away, it flaps less."
    )
    window = forms.FloatField(
        min_value=1,
        max_value=1440,
        initial=5,
        label="Window, minutes",
        help_text="Of an absence: how long nothing came.",
    )
    lasting = forms.FloatField(
        min_value=0, max_value=1440, initial=0, label="For, minutes", help_text="It has to be so for this long first."
    )
    severity = forms.ChoiceField(choices=Severity.choices, initial=Severity.WARNING)
    message = forms.CharField(
        required=False,
        max_length=500,
        help_text="{name}, {metric}, {value}, {comparison}, {threshold}, {window} are filled in. Empty: our own words.",
    )
    policy = forms.ModelChoiceField(
        EscalationPolicy.objects.none(), required=False, label="Who is called", empty_label="By the default policy"
    )
    enabled = forms.BooleanField(required=False, initial=True, label="Is on")

    def __init__(self, policies: Any, data: Any = None, rule: AlertRule | None = None) -> None:
        super().__init__(data, initial=_initial(rule) if rule else None)
        self.fields["policy"].queryset = policies  # type: ignore[attr-defined]

    def values(self) -> dict[str, Any]:
        """As `monitoring.alerting.rules` takes them."""
        given = dict(self.cleaned_data)
        given["window_seconds"] = round(given.pop("window") * MINUTE_SECONDS)
        given["for_seconds"] = round(given.pop("lasting") * MINUTE_SECONDS)
        if given["kind"] == Kind.ABSENCE:
            given["threshold"] = given["recovery"] = None
        return given

    def add_problems(self, problems: dict[str, list[str]]) -> None:
        ours = {"window_seconds": "window", "for_seconds": "lasting"}
        for name, said in problems.items():
            field = ours.get(name, name)
            self.add_error(field if field in self.fields else None, said)


def _initial(rule: AlertRule) -> dict[str, Any]:
    unchanged = (field for field in rules.RULE_FIELDS if field in RuleForm.base_fields)
    minutes = {"window": _minutes(rule.window_seconds), "lasting": _minutes(rule.for_seconds)}
    return {name: getattr(rule, name) for name in unchanged} | minutes


def _minutes(seconds: int) -> float:
    """So exact that the seconds are found again: whoever saves a rule changes only what they change."""
    whole, rest = divmod(seconds, MINUTE_SECONDS)
    return whole if not rest else round(seconds / MINUTE_SECONDS, 4)
