"""What the alerting API takes and gives: names are those of the events, so that a client reads both alike."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import UUID

import pydantic
from django.core.exceptions import ValidationError as InvalidModel
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from rest_framework.exceptions import ErrorDetail, ValidationError

from monitoring.alerting.conditions import LARGEST
from monitoring.alerting.incoming import Moment
from monitoring.alerting.models import Alert, AlertRule, EscalationPolicy, Silence
from monitoring.alerting.trial import Trial
from monitoring.events import AlertEvent, AlertMetadata, SeverityName, StateName
from monitoring.models import wire_time
from tenants.examples import example

B = TypeVar("B", bound=BaseModel)
PROBLEMS_TOLD = 20

Number = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Seconds = Annotated[int, Field(strict=True, ge=0, le=7 * 86_400)]
Version = Annotated[int, Field(strict=True, ge=1)] | None
Name = Annotated[str, Field(min_length=1, max_length=100)]
Labels = dict[Annotated[str, Field(min_length=1, max_length=100)], Annotated[str, Field(max_length=500)]]
KindName = Literal["threshold", "absence", "change"]
AggregateName = Literal["avg", "min", "max"]
ComparisonName = Literal["above", "below"]
WayName = Literal["in_app", "email"]


class Wire(BaseModel):
    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    def wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


def _stays() -> Any:
    """For a field of a change that was left out. Nobody sees it, and nobody can send it: null is no value of it."""
    return None


# --- Rules ------------------------------------------------------------------------------------------------------------

RULE = {
    "name": "CPU is busy",
    "metric": "cpu_percent",
    "kind": "threshold",
    "aggregate": "avg",
    "comparison": "above",
    "threshold": 90,
    "recovery": 80,
    "windowSeconds": 300,
    "forSeconds": 600,
    "severity": "error",
    "message": "{metric} is at {value}",
}


class RuleBody(Wire):
    """What a rule looks for. `threshold` in the metric's unit, of a counter that unit a second, of a change that a
    minute; an absence has none."""

    model_config = example(**RULE)

    name: Name
    enabled: bool = True
    metric: Annotated[str, Field(min_length=1, max_length=200)]
    kind: KindName = "threshold"
    aggregate: AggregateName = "avg"
    comparison: ComparisonName = "above"
    threshold: Number | None = None
    recovery: Annotated[Number | None, Field(description="Over again at this value. Default: the threshold.")] = None
    window_seconds: Seconds = 300
    for_seconds: Annotated[Seconds, Field(description="Fires when it has been so for this long.")] = 0
    hold_seconds: Annotated[Seconds, Field(description="Is over when it has been well for this long.")] = 0
    severity: SeverityName = "warning"
    message: Annotated[str, Field(max_length=500, description="{name} {metric} {value} {threshold} {window}")] = ""
    labels: Labels = Field(default_factory=dict)
    policy_id: Annotated[UUID | None, Field(description="Whom to call. Default: by the default policy.")] = None


class RuleChange(Wire):
    """Any of a rule's fields; those that are left out stay."""

    model_config = example(threshold=95, enabled=True)

    name: Name = Field(default_factory=_stays)
    enabled: bool = Field(default_factory=_stays)
    metric: Annotated[str, Field(min_length=1, max_length=200)] = Field(default_factory=_stays)
    kind: KindName = Field(default_factory=_stays)
    aggregate: AggregateName = Field(default_factory=_stays)
    comparison: ComparisonName = Field(default_factory=_stays)
    threshold: Number | None = None
    recovery: Number | None = None
    window_seconds: Seconds = Field(default_factory=_stays)
    for_seconds: Seconds = Field(default_factory=_stays)
    hold_seconds: Seconds = Field(default_factory=_stays)
    severity: SeverityName = Field(default_factory=_stays)
    message: Annotated[str, Field(max_length=500)] = Field(default_factory=_stays)
    labels: Labels = Field(default_factory=_stays)
    policy_id: UUID | None = None


class RuleResource(RuleBody):
    model_config = example(
        **RULE,
        enabled=True,
        holdSeconds=0,
        labels={"team": "web"},
        policyId=None,
        id="01900000-0000-7000-8000-000000000003",
        version=1,
    )

    id: UUID
    version: int

    @classmethod
    def of(cls, rule: AlertRule) -> Self:
        fields = {name: getattr(rule, name) for name in RuleBody.model_fields}
        return cls.model_validate(fields | {"id": rule.pk, "version": rule.version})


class RulePage(Wire):
    next: str | None
    previous: str | None
    results: list[RuleResource]


class FiringResource(Wire):
    """An alert there would have been; `until` is null where it would fire still. `peak` is the value furthest out."""

    since: str
    until: str | None
    value: float
    peak: float
    message: str


class TrialResource(Wire):
    """`points`: [seconds since 1970, what the rule compares], one a minute; null where there was nothing to compare."""

    model_config = example(
        fired=1,
        summary="Would have fired once in the last day, for 12 minutes.",
        hasEnough=True,
        firstSampleAt="2026-11-22T15:04:00.000Z",
        since="2026-11-22T15:04:00.000Z",
        until="2026-11-23T15:04:00.000Z",
        unit="%",
        firings=[
            {
                "since": "2026-11-23T03:10:00.000Z",
                "until": "2026-11-23T03:22:00.000Z",
                "value": 92.5,
                "peak": 97.0,
                "message": "cpu_percent is at 92.5",
            }
        ],
        points=[[1795359780, 41.5], [1795359840, None]],
    )

    fired: int
    summary: str
    has_enough: bool
    first_sample_at: str | None
    since: str
    until: str
    unit: str
    firings: list[FiringResource]
    points: list[tuple[int, float | None]]

    @classmethod
    def of(cls, trial: Trial) -> Self:
        return cls(
            fired=len(trial.firings),
            summary=trial.summary,
            has_enough=trial.has_enough,
            first_sample_at=_time(trial.first_sample_at),
            since=wire_time(trial.since),
            until=wire_time(trial.until),
            unit=trial.unit,
            firings=[
                FiringResource(
                    since=wire_time(one.since),
                    until=_time(one.until),
                    value=one.value,
                    peak=one.peak,
                    message=one.message,
                )
                for one in trial.firings
            ],
            points=[(int(at.timestamp()), value) for at, value in trial.points],
        )


#: As the API takes it.
POLICY: dict[str, Any] = {
    "name": "On call",
    "steps": [{"afterSeconds": 300, "ways": ["in_app"]}, {"afterSeconds": 900, "ways": ["in_app", "email"]}],
    "repeatSeconds": 3600,
    "isDefault": True,
}


# --- Escalation policies ----------------------------------------------------------------------------------------------


class StepBody(Wire):
    """Without people, the tenant's admins are called."""

    after_seconds: Seconds
    people: Annotated[list[UUID], Field(max_length=50)] = Field(default_factory=list)
    ways: Annotated[list[WayName], Field(min_length=1, max_length=2)]


class PolicyBody(Wire):
    """Who is called while an alert fires and nobody acknowledges it. The last step comes every `repeatSeconds`."""

    model_config = example(**POLICY)

    name: Name
    steps: Annotated[list[StepBody], Field(min_length=1, max_length=10)]
    repeat_seconds: Annotated[Seconds, Field(description="0: the last step comes once.")] = 0
    is_default: Annotated[bool, Field(description="For alerts whose rule names no policy, or that no rule raised.")] = (
        False
    )

    def fields(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=False)


class PolicyChange(Wire):
    """Any of a policy's fields; those that are left out stay."""

    model_config = example(repeatSeconds=1800)

    name: Name = Field(default_factory=_stays)
    steps: Annotated[list[StepBody], Field(min_length=1, max_length=10)] = Field(default_factory=_stays)
    repeat_seconds: Seconds = Field(default_factory=_stays)
    is_default: bool = Field(default_factory=_stays)


class PolicyResource(PolicyBody):
    model_config = example(
        **POLICY | {"steps": [one | {"people": []} for one in POLICY["steps"]]},
        id="01900000-0000-7000-8000-000000000006",
        version=1,
    )

    id: UUID
    version: int

    @classmethod
    def of(cls, policy: EscalationPolicy) -> Self:
        fields = {name: getattr(policy, name) for name in PolicyBody.model_fields}
        return cls.model_validate(fields | {"id": policy.pk, "version": policy.version})


class PolicyPage(Wire):
    next: str | None
    previous: str | None
    results: list[PolicyResource]


# --- Alerts -----------------------------------------------------------------------------------------------------------


def _as_in_its_event() -> dict[str, Any]:
    told = next(iter(AlertEvent.samples())).model_dump(mode="json", by_alias=True)
    return {"id": told["alertId"]} | {
        name: told[name] for name in ("version", "severity", "message", "state", "metadata")
    }


class AlertResource(Wire):
    """An alert as its events say it."""

    model_config = example(**_as_in_its_event())

    id: UUID
    version: int
    severity: SeverityName
    message: str
    state: StateName
    metadata: AlertMetadata

    @classmethod
    def of(cls, alert: Alert) -> Self:
        return cls.model_validate(
            {
                "id": alert.pk,
                "version": alert.version,
                "severity": alert.severity,
                "message": alert.message,
                "state": alert.state,
                "metadata": AlertMetadata.of(alert),
            }
        )


class AlertPage(Wire):
    next: str | None
    previous: str | None
    results: list[AlertResource]


class Taken(Wire):
    """What became of what was sent: the alert as it is now, null where nothing of this key was open."""

    alert: AlertResource | None


class TakenMany(Wire):
    """How many alerts of the webhook are open now, and how many are not.

    `truncated`: how many more Alertmanager kept back, as `max_alerts` of its receiver says: nothing is known of those.
    """

    model_config = example(open=1, resolved=2, truncated=0)

    open: int
    resolved: int
    truncated: int


class AcknowledgeBody(Wire):
    model_config = example(note="Restarting db-1", until="2026-11-23T16:00:00Z")

    note: Annotated[str, Field(max_length=500)] = ""
    until: Annotated[Moment | None, Field(description="It fires again then. Default: never.")] = None
    expected_version: Version = None


class AlertChangeBody(Wire):
    model_config = example(expectedVersion=2)

    expected_version: Annotated[Version, Field(description="Refused with 409 unless it still has this version.")] = None


# --- Silences ---------------------------------------------------------------------------------------------------------


class MatcherBody(Wire):
    """`=` and `!=` compare whole texts; in `~` and `!~` an asterisk stands for anything."""

    label: Annotated[str, Field(min_length=1, max_length=200, description="Or alertname, or severity.")]
    op: Literal["=", "!=", "~", "!~"] = "="
    value: Annotated[str, Field(max_length=500)]


class Lasting(Wire):
    """How long, by one of the two."""

    reason: Annotated[str, Field(min_length=1, max_length=300)]
    seconds: Annotated[int, Field(strict=True, ge=60, le=366 * 86_400)] | None = None
    until: Moment | None = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        if (self.seconds is None) == (self.until is None):
            raise ValueError("Give seconds or until, one of the two.")
        return self

    def expires_at(self, now: datetime) -> datetime:
        if self.until:
            return self.until
        assert self.seconds
        return now + timedelta(seconds=self.seconds)


class SilenceBody(Lasting):
    """All matchers have to match. Alerts that come while it lasts are silenced too."""

    model_config = example(
        matchers=[{"label": "instance", "op": "~", "value": "db-*"}], reason="Maintenance", seconds=7200
    )

    matchers: Annotated[list[MatcherBody], Field(min_length=1, max_length=20)]
    ends_on_resolve: Annotated[bool, Field(description="Ends with the last alert that it silences.")] = False


class SilenceAlertBody(Lasting):
    """Silence this alert, and whatever has its name and labels."""

    model_config = example(reason="Known, fixed tomorrow", seconds=3600)

    ends_on_resolve: Annotated[bool, Field(description="Ends with the alert.")] = True
    expected_version: Version = None


class SilenceResource(Wire):
    """`endedAt` is null while it lasts."""

    model_config = example(
        id="01900000-0000-7000-8000-000000000005",
        version=1,
        state="active",
        matchers=[{"label": "instance", "op": "~", "value": "db-*"}],
        reason="Maintenance",
        by="Alice",
        createdAt="2026-11-23T15:04:05.123Z",
        until="2026-11-23T17:04:05.123Z",
        endsOnResolve=False,
        endedAt=None,
    )

    id: UUID
    version: int
    state: Literal["active", "ended"]
    matchers: list[MatcherBody]
    reason: str
    by: str
    created_at: str
    until: str
    ends_on_resolve: bool
    ended_at: str | None

    @classmethod
    def of(cls, silence: Silence) -> Self:
        return cls(
            id=silence.pk,
            version=silence.version,
            state="active" if silence.is_active else "ended",
            matchers=[MatcherBody.model_validate(one) for one in silence.matchers],
            reason=silence.reason,
            by=silence.created_by_name,
            created_at=wire_time(silence.created_at),
            until=wire_time(silence.expires_at),
            ends_on_resolve=silence.ends_on_resolve,
            ended_at=_time(silence.ended_at),
        )


class SilencePage(Wire):
    next: str | None
    previous: str | None
    results: list[SilenceResource]


def _time(at: datetime | None) -> str | None:
    return wire_time(at) if at else None


# --- Reading ----------------------------------------------------------------------------------------------------------


def read(body: type[B], data: Any) -> B:
    """What was sent, as this body. Raises ValidationError, which names each field by its path."""
    if body.model_config.get("extra") == "forbid" and (path := next(_unstorable(data), None)):
        raise ValidationError(_nested(path, ErrorDetail("It has a null character. Leave it out.", "null_character")))
    try:
        return body.model_validate(data)
    except pydantic.ValidationError as invalid:
        raise ValidationError(_problems(invalid)) from None


def _unstorable(data: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """Where there is a text that PostgreSQL can't store."""
    if isinstance(data, str) and "\0" in data:
        yield path or ("non_field_errors",)
    elif isinstance(data, dict):
        for name, value in data.items():
            where = (*path, name.replace("\0", ""))
            yield from _unstorable(value, *where)
            if "\0" in name:
                yield where
    elif isinstance(data, list):
        for place, value in enumerate(data):
            yield from _unstorable(value, *path, str(place))


def _nested(path: Sequence[str], detail: ErrorDetail) -> dict[str, Any]:
    """{"a": {"b": [detail]}} of a, b: the way serializers report their fields."""
    found: Any = [detail]
    for name in reversed(path):
        found = {name: found}
    assert isinstance(found, dict)
    return found


def _problems(invalid: pydantic.ValidationError) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for problem in invalid.errors(include_url=False, include_context=False, include_input=False)[:PROBLEMS_TOLD]:
        path = [str(part) for part in problem["loc"] if part != "function-after"] or ["non_field_errors"]
        within = found
        for part in path[:-1]:
            within = within.setdefault(part, {})
            if not isinstance(within, dict):  # its owner is wrong altogether, which is told
                break
        else:
            text = problem["msg"].removeprefix("Value error, ").rstrip(".")
            within.setdefault(path[-1], [ErrorDetail(f"{text}.", problem["type"])])
    return found


def invalid_fields(error: InvalidModel) -> ValidationError:
    """What a model's own checks say, in the names of the wire."""
    if not hasattr(error, "error_dict"):
        return ValidationError({"non_field_errors": error.messages})
    names = {"policy": "policyId"}
    return ValidationError({names.get(name, to_camel(name)): texts for name, texts in error.message_dict.items()})
