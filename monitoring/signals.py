"""Which change becomes which event. The signals are sent by actions, inside their transaction."""

from collections.abc import Sequence

from django.dispatch import Signal, receiver

from accounts.models import User
from events.actors import HasActor
from events.emit import emit
from monitoring.alerting.models import Alert, AlertRule, EscalationPolicy, Silence
from monitoring.alerting.signals import alert_changed, alert_escalated, policy_changed, rule_changed, silence_changed
from monitoring.events import (
    AlertEscalated,
    AlertEvent,
    AlertRuleUpdated,
    EscalationPolicyUpdated,
    MetricsUpdate,
    SamplesStored,
    SilenceUpdated,
)
from monitoring.models import LatestMetrics

#: A tenant's metrics have changed, and it is time to say so: latest.
metrics_due = Signal()
#: So many samples were stored since this was sent last: latest, count.
samples_counted = Signal()


@receiver(metrics_due)
def say_how_they_are(latest: LatestMetrics, **_: object) -> None:
    """By nobody, whoever measured: figures several times a second are no activity of anyone's."""
    emit(MetricsUpdate.of(latest))


@receiver(samples_counted)
def say_how_many(latest: LatestMetrics, count: int, **_: object) -> None:
    emit(SamplesStored(tenant_id=latest.tenant_id, count=count))


@receiver(alert_changed)
def say_what_became_of_it(alert: Alert, previous: str, by: HasActor | None, **_: object) -> None:
    emit(AlertEvent.of(alert, previous), by=by)


@receiver(alert_escalated)
def say_who_is_called(alert: Alert, people: Sequence[User], ways: Sequence[str], step: int, **_: object) -> None:
    event = {
        "tenant_id": alert.tenant_id,
        "alert_id": alert.pk,
        "version": alert.version,
        "severity": alert.severity,
        "name": alert.name,
        "message": alert.message,
        "people": [person.pk for person in people],
        "names": [str(person) for person in people],
        "ways": ways,
        "step": step,
    }
    emit(AlertEscalated.model_validate(event))


@receiver(rule_changed)
def say_what_is_looked_for(rule: AlertRule, change: str, by: HasActor | None, **_: object) -> None:
    emit(AlertRuleUpdated.of(rule, change), by=by)


@receiver(policy_changed)
def say_who_would_be_called(policy: EscalationPolicy, change: str, by: HasActor | None, **_: object) -> None:
    emit(EscalationPolicyUpdated.of(policy, change), by=by)


@receiver(silence_changed)
def say_what_is_quiet(silence: Silence, by: HasActor | None, **_: object) -> None:
    emit(SilenceUpdated.of(silence), by=by)
