"""What actions on alerts say; `monitoring.signals` makes events of it."""

from django.dispatch import Signal

#: alert: Alert, previous: str (its state before, "" for a new one), by: HasActor | None
alert_changed = Signal()
#: alert: Alert, people: Sequence[User], ways: Sequence[str], step: int (from 1)
alert_escalated = Signal()
#: rule: AlertRule, change: str (created, updated, deleted), by: HasActor | None
rule_changed = Signal()
#: policy: EscalationPolicy, change: str, by: HasActor | None
policy_changed = Signal()
#: silence: Silence, by: HasActor | None
silence_changed = Signal()
