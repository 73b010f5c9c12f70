"""What can be done with rules and escalation policies."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import F
from django.utils import timezone
from django_scopes import scopes_disabled
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic import ValidationError as Malformed

from accounts.actions import Refused
from accounts.models import User
from events.actors import HasActor
from monitoring.alerting.actions import end, open_alert
from monitoring.alerting.escalation import go_by
from monitoring.alerting.models import DAY_SECONDS, AlertRule, EscalationPolicy, Way
from monitoring.alerting.signals import policy_changed, rule_changed
from monitoring.alerting.transitions import lock_owner
from tenants.access import admins_of
from tenants.actions import action
from tenants.models import Tenant

#: What may be set of a rule, and of a policy.
RULE_FIELDS = (
    "name",
    "enabled",
    "metric",
    "kind",
    "aggregate",
    "comparison",
    "threshold",
    "recovery",
    "window_seconds",
    "for_seconds",
    "hold_seconds",
    "severity",
    "message",
    "labels",
    "policy",
)
POLICY_FIELDS = ("name", "steps", "repeat_seconds", "is_default")
#: A change of these is another question: what was pending begins anew.
CONDITION_FIELDS = frozenset({"metric", "kind", "aggregate", "comparison", "threshold", "window_seconds", "enabled"})
STEPS_AT_MOST = 10
LABELS_AT_MOST = 20
SHORTEST_REPEAT = timedelta(minutes=1)


class TooMany(Refused):
    code = "too_many"


class StaleVersion(Refused):
    """`now` is the row as it is."""

    code = "stale_version"

    def __init__(self, now: AlertRule | EscalationPolicy, seen: int) -> None:
        super().__init__(f"{now.name} has been changed since you opened it. Nothing was changed now.")
        self.now, self.seen = now, seen


# --- Rules ------------------------------------------------------------------------------------------------------------


@action
def create_rule(tenant: Tenant | None, by: HasActor | None, **fields: Any) -> AlertRule:
    """Raises ValidationError, which names the field, and TooMany."""
    lock_owner(tenant)
    if AlertRule.objects.filter(tenant=tenant).count() >= settings.ALERT_RULES_PER_TENANT:
        raise TooMany(f"There are {settings.ALERT_RULES_PER_TENANT} rules, which is the most. Nothing was changed.")
    rule = AlertRule(tenant=tenant)
    _set_rule(rule, fields)
    rule.save(force_insert=True)
    rule_changed.send(AlertRule, rule=rule, change="created", by=by)
    return rule


@action
def update_rule(
    rule: AlertRule, by: HasActor | None, *, expected_version: int | None = None, **fields: Any
) -> AlertRule:
    """An alert that is open stays until the rule's next look. Raises ValidationError and StaleVersion."""
    lock_owner(rule.tenant)
    rule = _locked_rule(rule)
    _expect(rule, expected_version)
    before = {name: getattr(rule, name) for name in RULE_FIELDS}
    _set_rule(rule, fields)
    changed = {name for name in RULE_FIELDS if getattr(rule, name) != before[name]}
    if not changed:
        return rule
    if changed & CONDITION_FIELDS:
        rule.pending_since, rule.watched_since = None, timezone.now()
    rule.version += 1
    rule.save()
    if not rule.enabled:
        _end_its_alert(rule, by, "Its rule was switched off")
    rule_changed.send(AlertRule, rule=rule, change="updated", by=by)
    return rule


@action
def delete_rule(rule: AlertRule, by: HasActor | None, *, expected_version: int | None = None) -> None:
    """Its open alert is over with it; those of the past stay. Raises StaleVersion."""
    lock_owner(rule.tenant)
    rule = _locked_rule(rule)
    _expect(rule, expected_version)
    _end_its_alert(rule, by, "Its rule was deleted")
    rule.version += 1
    rule_changed.send(AlertRule, rule=rule, change="deleted", by=by)
    rule.delete()


@scopes_disabled()
def watch_anew(tenant: Tenant) -> None:
    """The tenant is back: that nothing came while it could send nothing is no absence. Its row is locked."""
    AlertRule.objects.filter(tenant=tenant).update(watched_since=timezone.now(), pending_since=None)


def checked_rule(tenant: Tenant | None, fields: Mapping[str, Any]) -> AlertRule:
    """A rule that is not stored, to try it out. Raises ValidationError."""
    rule = AlertRule(tenant=tenant)
    for name, value in fields.items():
        setattr(rule, name, value)
    rule.clean_fields(exclude=["tenant", "policy", "id"])
    rule.clean()
    return rule


def _set_rule(rule: AlertRule, fields: Mapping[str, Any]) -> None:
    if unknown := set(fields) - set(RULE_FIELDS):
        raise TypeError(f"A rule has no {', '.join(sorted(unknown))} to set.")
    for name, value in fields.items():
        setattr(rule, name, value)
    if rule.policy and rule.policy.tenant_id != rule.tenant_id:
        raise ValidationError({"policy": "There is no such policy."})
    if isinstance(rule.labels, dict) and len(rule.labels) > LABELS_AT_MOST:
        raise ValidationError({"labels": f"At most {LABELS_AT_MOST}."})
    rule.full_clean(exclude=["tenant", "policy"], validate_constraints=False)
    if AlertRule.objects.filter(tenant=rule.tenant, name=rule.name).exclude(pk=rule.pk).exists():
        raise ValidationError({"name": "There is a rule of this name. Take another."})


def _locked_rule(rule: AlertRule) -> AlertRule:
    rows = AlertRule.objects.select_for_update(of=("self",)).select_related("tenant", "policy")
    return rows.get(pk=rule.pk)


def _end_its_alert(rule: AlertRule, by: HasActor | None, why: str) -> None:
    if alert := open_alert(rule.tenant, rule.key):
        end(alert, timezone.now(), by, why)


def _expect(row: AlertRule | EscalationPolicy, version: int | None) -> None:
    if version not in (None, row.version):
        raise StaleVersion(row, version or 0)


# --- Escalation policies ----------------------------------------------------------------------------------------------


@action
def create_policy(tenant: Tenant | None, by: HasActor | None, **fields: Any) -> EscalationPolicy:
    """Open alerts that have none go by a default one. Raises ValidationError, which names the field, and TooMany."""
    lock_owner(tenant)
    if EscalationPolicy.objects.filter(tenant=tenant).count() >= settings.ESCALATION_POLICIES_PER_TENANT:
        raise TooMany(f"There are {settings.ESCALATION_POLICIES_PER_TENANT} policies, which is the most.")
    policy = EscalationPolicy(tenant=tenant)
    _set_policy(policy, fields)
    policy.save(force_insert=True)
    go_by(policy, timezone.now())
    policy_changed.send(EscalationPolicy, policy=policy, change="created", by=by)
    return policy


@action
def update_policy(
    policy: EscalationPolicy, by: HasActor | None, *, expected_version: int | None = None, **fields: Any
) -> EscalationPolicy:
    """Alerts that are open go on by it as it is now. Raises ValidationError and StaleVersion."""
    lock_owner(policy.tenant)
    policy = EscalationPolicy.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=policy.pk)
    _expect(policy, expected_version)
    _set_policy(policy, fields)
    policy.version += 1
    policy.save()
    go_by(policy, timezone.now())
    policy_changed.send(EscalationPolicy, policy=policy, change="updated", by=by)
    return policy


@action
def delete_policy(policy: EscalationPolicy, by: HasActor | None, *, expected_version: int | None = None) -> None:
    """Alerts that are open and went by it call nobody any more. Raises StaleVersion."""
    lock_owner(policy.tenant)
    policy = EscalationPolicy.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=policy.pk)
    _expect(policy, expected_version)
    policy.version += 1
    policy_changed.send(EscalationPolicy, policy=policy, change="deleted", by=by)
    policy.delete()


def _set_policy(policy: EscalationPolicy, fields: Mapping[str, Any]) -> None:
    if unknown := set(fields) - set(POLICY_FIELDS):
        raise TypeError(f"A policy has no {', '.join(sorted(unknown))} to set.")
    for name, value in fields.items():
        setattr(policy, name, value)
    policy.full_clean(exclude=["tenant"], validate_constraints=False)
    _check_steps(policy)
    others = EscalationPolicy.objects.filter(tenant=policy.tenant).exclude(pk=policy.pk)
    if others.filter(name=policy.name).exists():
        raise ValidationError({"name": "There is a policy of this name. Take another."})
    if policy.is_default:  # there is one at a time
        others.filter(is_default=True).update(is_default=False, version=F("version") + 1)


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    after_seconds: int
    people: list[str]
    ways: list[str]


_STEPS = TypeAdapter(list[_Step])


def _check_steps(policy: EscalationPolicy) -> None:
    try:
        _STEPS.validate_python(policy.steps)
    except Malformed:
        raise ValidationError({"steps": "Each is after_seconds, and lists of people and of ways."}) from None
    if not 1 <= len(policy.steps) <= STEPS_AT_MOST:
        raise ValidationError({"steps": f"Give 1 to {STEPS_AT_MOST}."})
    after = [step["after_seconds"] for step in policy.steps]
    if after != sorted(after) or after[0] < 0 or after[-1] > 7 * DAY_SECONDS:
        raise ValidationError({"steps": "Each comes after the one before, within a week."})
    if any(not step["ways"] or set(step["ways"]) - set(Way.values) for step in policy.steps):
        raise ValidationError({"steps": f"Each step has ways to call: {', '.join(Way.values)}."})
    if policy.repeat_seconds and policy.repeat_seconds < SHORTEST_REPEAT.total_seconds():
        raise ValidationError({"repeat_seconds": "Once a minute at most; 0: never."})
    named = {person for step in policy.steps for person in step["people"]}
    if named - _callable(policy.tenant):
        raise ValidationError({"steps": "People are named by their ids, and belong here."})


def _callable(tenant: Tenant | None) -> set[str]:
    """The ids of those who may be named: the tenant's admins, who can see alerts; the platform's for its own."""
    if tenant is None:
        return {str(admin.pk) for admin in User.objects.filter(is_superuser=True, is_active=True)}
    return {str(admin.pk) for admin in admins_of(tenant)}
