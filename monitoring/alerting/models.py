"""Alerts: the rules that raise them, what silences them, and who is called when nobody answers.

`tenant` is empty for the platform's own. Where a tenant is another's, scoped queries do not see these rows at all.
"""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from events.ids import new_id
from events.scoping import TenantManager
from monitoring.alerting.conditions import LARGEST, Aggregate, Comparison, Condition, Kind, Pace
from monitoring.alerting.messages import check_template
from tenants.models import Tenant

#: What a rule's metric may be called: a name, with the labels of its series where it has some.
SERIES_LENGTH = 200
#: An alert's identity at its source.
KEY_LENGTH = 200
MESSAGE_LENGTH = 500
LONGEST_WINDOW_SECONDS = 6 * 3600
DAY_SECONDS = 86_400


class Severity(models.TextChoices):
    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    ERROR = "error", "Error"
    CRITICAL = "critical", "Critical"


class State(models.TextChoices):
    """Who must act: somebody, while it is firing; nobody now, while it is acknowledged or silenced."""

    FIRING = "firing", "Firing"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    SILENCED = "silenced", "Silenced"
    RESOLVED = "resolved", "Resolved"


class Source(models.TextChoices):
    """Who says that it fires, and that it is over."""

    RULE = "rule", "Rule"
    ALERTMANAGER = "alertmanager", "Alertmanager"
    API = "api", "API"
    PLATFORM = "platform", "Platform"


class Way(models.TextChoices):
    IN_APP = "in_app", "In app"
    EMAIL = "email", "E-mail"


OPEN = ~Q(state=State.RESOLVED.value)


def owned_once(fields: list[str], name: str, condition: Q | None = None) -> list[models.UniqueConstraint]:
    """Unique for each tenant, and for the platform: to a database one empty tenant differs from another."""
    condition = condition or Q()
    return [
        models.UniqueConstraint(
            fields=["tenant", *fields], condition=Q(tenant__isnull=False) & condition, name=f"{name}_of_a_tenant"
        ),
        models.UniqueConstraint(
            fields=fields, condition=Q(tenant__isnull=True) & condition, name=f"{name}_of_the_platform"
        ),
    ]


# --- Whom to call -----------------------------------------------------------------------------------------------------


class EscalationPolicy(models.Model):
    """Who is called, after how long, and how, while an alert fires and nobody acknowledges it.

    `steps`: [{"after_seconds": 900, "people": ["<id>"], "ways": ["in_app", "email"]}], in the order of time. Without
    people: the tenant's admins (the platform's, for its own alerts). The last step comes again every `repeat_seconds`.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", null=True, blank=True)
    name = models.CharField(max_length=100)
    steps = models.JSONField(default=list, blank=True)
    repeat_seconds = models.PositiveIntegerField(default=0, help_text="0: the last step comes once.")
    is_default = models.BooleanField(default=False, help_text="For alerts whose rule names no policy, or with no rule.")
    version = models.PositiveBigIntegerField(default=1, editable=False)

    objects: ClassVar[TenantManager["EscalationPolicy"]] = TenantManager()

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "escalation policies"
        constraints = [
            *owned_once(["name"], "one_policy_of_a_name"),
            models.UniqueConstraint(fields=["tenant"], condition=Q(is_default=True), name="one_default_policy"),
            models.UniqueConstraint(
                fields=["is_default"],
                condition=Q(is_default=True, tenant__isnull=True),
                name="one_default_policy_of_the_platform",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def next_at(self, step: int, since: datetime, now: datetime) -> datetime | None:
        """When step number `step` (from 0) comes, of an alert that has waited `since`; None for none.

        `now` is when the step before it was taken. Later ones are counted from there, not from `since`: were several
        overdue after an outage, they would be taken at once, and nobody had the time that each is to give.
        """
        after = [one["after_seconds"] for one in self.steps]
        if step == 0 and after:
            return since + timedelta(seconds=after[0])
        if step < len(after):
            return now + timedelta(seconds=after[step] - after[step - 1])
        if self.steps and self.repeat_seconds:
            return now + timedelta(seconds=self.repeat_seconds)
        return None

    def step(self, number: int) -> dict[str, Any]:
        """What happens at step `number`; beyond the last one that again."""
        found: dict[str, Any] = self.steps[min(number, len(self.steps) - 1)]
        return found


# --- What to look for -------------------------------------------------------------------------------------------------


class AlertRule(models.Model):
    """What is wrong, in terms of one metric. See `conditions.Condition` for what each kind looks at.

    `pending_since` is the evaluation's own; it does not raise `version`.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", null=True, blank=True)
    name = models.CharField(max_length=100)
    enabled = models.BooleanField(default=True)
    metric = models.CharField(max_length=SERIES_LENGTH)
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.THRESHOLD)
    aggregate = models.CharField(max_length=8, choices=Aggregate.choices, default=Aggregate.AVERAGE)
    comparison = models.CharField(max_length=8, choices=Comparison.choices, default=Comparison.ABOVE)
    threshold = models.FloatField(
        null=True, blank=True, help_text="In the metric's unit; of a change, that unit a minute. Absence has none."
    )
    recovery = models.FloatField(
        null=True, blank=True, help_text="Once it fires, it is over when the value is back at this. Empty: threshold."
    )
    window_seconds = models.PositiveIntegerField(
        default=300,
        validators=[MinValueValidator(60), MaxValueValidator(DAY_SECONDS)],
        help_text="How far back it looks, in whole minutes; of an absence, how long nothing came.",
    )
    for_seconds = models.PositiveIntegerField(
        default=0, validators=[MaxValueValidator(DAY_SECONDS)], help_text="Fires when it has been so for this long."
    )
    hold_seconds = models.PositiveIntegerField(
        default=0, validators=[MaxValueValidator(DAY_SECONDS)], help_text="Is over when it was well for this long."
    )
    severity = models.CharField(max_length=16, choices=Severity.choices, default=Severity.WARNING)
    message = models.CharField(max_length=MESSAGE_LENGTH, blank=True, validators=[check_template])
    labels = models.JSONField(default=dict, blank=True, help_text="What its alerts carry besides the metric.")
    policy = models.ForeignKey(EscalationPolicy, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    pending_since = models.DateTimeField(null=True, blank=True, editable=False)
    watched_since = models.DateTimeField(default=timezone.now, editable=False, help_text="As it is now, and enabled.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    version = models.PositiveBigIntegerField(default=1, editable=False)

    objects: ClassVar[TenantManager["AlertRule"]] = TenantManager()

    class Meta:
        ordering = ["name"]
        constraints = [
            *owned_once(["name"], "one_rule_of_a_name"),
            models.CheckConstraint(
                condition=Q(kind=Kind.ABSENCE.value) | Q(threshold__isnull=False), name="rule_has_a_threshold"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """What no single field can tell."""
        problems = {
            name: f"A number from -{LARGEST:g} to {LARGEST:g}."
            for name, value in (("threshold", self.threshold), ("recovery", self.recovery))
            if value is not None and not -LARGEST <= value <= LARGEST
        }
        if self.kind != Kind.ABSENCE:
            if self.threshold is None:
                problems["threshold"] = "Say from which value on it fires."
            elif self.recovery is not None and self._is_beyond(self.recovery, self.threshold):
                problems["recovery"] = f"It is {self.comparison} the threshold itself: it would never be over."
            if self.window_seconds > LONGEST_WINDOW_SECONDS:
                problems["window_seconds"] = f"At most {LONGEST_WINDOW_SECONDS} s, but for an absence."
        if not (isinstance(self.labels, dict) and all(isinstance(value, str) for value in self.labels.values())):
            problems["labels"] = "Labels are names with texts."
        if problems:
            raise ValidationError(problems)

    def _is_beyond(self, value: float, limit: float) -> bool:
        return value < limit if self.comparison == Comparison.BELOW else value > limit

    @property
    def key(self) -> str:
        """The identity of its alerts: one is open at a time."""
        return f"rule:{self.id}"

    @property
    def condition(self) -> Condition:
        is_absence = self.kind == Kind.ABSENCE
        return Condition(
            kind=Kind(self.kind),
            aggregate=Aggregate(self.aggregate),
            comparison=Comparison.ABOVE if is_absence else Comparison(self.comparison),
            threshold=float(self.window_seconds) if is_absence else self.threshold or 0.0,
            recovery=None if is_absence else self.recovery,
            window=timedelta(seconds=self.window_seconds),
        )

    @property
    def pace(self) -> Pace:
        return Pace(after=timedelta(seconds=self.for_seconds), hold=timedelta(seconds=self.hold_seconds))


# --- What is quiet ----------------------------------------------------------------------------------------------------


class Silence(models.Model):
    """Alerts that match need nobody for a while. Any alert that comes while it lasts is silenced, too.

    `matchers`: [{"label": "instance", "op": "=", "value": "db-1"}]; all have to match. See `matching`.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", null=True, blank=True)
    matchers = models.JSONField()
    reason = models.CharField(max_length=300)
    created_by_id = models.UUIDField(help_text="The person who silenced.")
    created_by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    ends_on_resolve = models.BooleanField(default=False, help_text="Ends when the last alert it silences is over.")
    ended_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveBigIntegerField(default=1, editable=False)

    objects: ClassVar[TenantManager["Silence"]] = TenantManager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["expires_at"], condition=Q(ended_at__isnull=True), name="silence_active")]

    def __str__(self) -> str:
        return " ".join(f"{one['label']}{one['op']}{one['value']}" for one in self.matchers)

    @property
    def is_active(self) -> bool:
        """Whether it still silences; one whose time is up ends a moment later."""
        return self.ended_at is None


# --- What is wrong ----------------------------------------------------------------------------------------------------


class Alert(models.Model):
    """Something that was wrong from `started_at` on. Of one key of one owner at most one is open.

    `state` follows from the facts beside it (`state_now`); each change of it is one event, made under the row's lock.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", null=True, blank=True)
    source = models.CharField(max_length=16, choices=Source.choices)
    key = models.CharField(max_length=KEY_LENGTH)
    rule = models.ForeignKey(AlertRule, on_delete=models.SET_NULL, null=True, blank=True, related_name="alerts")
    name = models.CharField(max_length=200)
    severity = models.CharField(max_length=16, choices=Severity.choices)
    message = models.CharField(max_length=MESSAGE_LENGTH)
    labels = models.JSONField(default=dict)
    value = models.FloatField(null=True, blank=True, help_text="When it began to fire.")
    link = models.CharField(max_length=1000, blank=True, help_text="Where its source shows it: http or https.")
    state = models.CharField(max_length=16, choices=State.choices, default=State.FIRING)
    version = models.PositiveBigIntegerField(default=1)
    started_at = models.DateTimeField(help_text="By its source's clock.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    resolved_at = models.DateTimeField(null=True, blank=True)
    ended_why = models.CharField(max_length=200, blank=True, help_text="Where it was not its source that ended it.")

    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by_id = models.UUIDField(null=True, blank=True)
    acknowledged_by_name = models.CharField(max_length=200, blank=True)
    acknowledged_until = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is over.")
    note = models.CharField(max_length=500, blank=True)
    # RESTRICT: both go together, when their tenant does; a silence never by itself.
    silence = models.ForeignKey(Silence, on_delete=models.RESTRICT, null=True, blank=True, related_name="alerts")

    flaps = models.PositiveIntegerField(default=0, help_text="How often it had come back shortly before.")
    resolve_due_at = models.DateTimeField(null=True, blank=True, help_text="It is well since; over, if it stays so.")
    policy = models.ForeignKey(EscalationPolicy, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    waiting_since = models.DateTimeField(help_text="Since when somebody must act.")
    escalation_step = models.PositiveIntegerField(default=0, help_text="The next one; 0 is the policy's first.")
    escalate_at = models.DateTimeField(null=True, blank=True)
    called = models.JSONField(default=list, blank=True, help_text="Ids of those called last.")
    called_at = models.DateTimeField(null=True, blank=True)

    #: Whether whoever has this object opened the alert, and whether they found it worse than it was.
    is_new = False
    is_louder = False

    objects: ClassVar[TenantManager["Alert"]] = TenantManager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            *owned_once(["key"], "one_open_alert_of_a_key", OPEN),
            models.CheckConstraint(
                condition=(OPEN & Q(resolved_at__isnull=True)) | (~OPEN & Q(resolved_at__isnull=False)),
                name="alert_resolved_when_it_was",
            ),
            models.CheckConstraint(
                condition=~Q(state=State.SILENCED.value) | Q(silence__isnull=False), name="alert_silenced_by_something"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="alert_open", condition=OPEN),
            models.Index(fields=["tenant", "key", "-id"], name="alert_key"),
            models.Index(fields=["escalate_at"], condition=Q(escalate_at__isnull=False), name="alert_escalates"),
            models.Index(fields=["resolve_due_at"], condition=Q(resolve_due_at__isnull=False), name="alert_resolves"),
            models.Index(
                fields=["acknowledged_until"],
                condition=OPEN & Q(acknowledged_until__isnull=False),
                name="alert_acknowledged_until",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        return self.state != State.RESOLVED

    @property
    def matchable(self) -> dict[str, str]:
        """What a silence matches: its labels, with its name and severity as Alertmanager calls them."""
        return {**self.labels, "alertname": self.name, "severity": self.severity}

    def state_now(self, now: datetime) -> State:
        """The state that the facts come to. A silence is above an acknowledgement, which stands when it ends."""
        if self.resolved_at:
            return State.RESOLVED
        if self.silence_id:
            return State.SILENCED
        holds = self.acknowledged_until is None or self.acknowledged_until > now
        return State.ACKNOWLEDGED if self.acknowledged_at and holds else State.FIRING
