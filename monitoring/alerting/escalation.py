"""Calling people, step by step, while an alert fires and nobody acknowledges it. It all stands in the alert's row."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_scopes import scopes_disabled

from accounts.models import User
from monitoring.alerting.models import OPEN, Alert, EscalationPolicy, State
from monitoring.alerting.signals import alert_escalated
from monitoring.alerting.transitions import locked
from tenants.access import admins_of
from tenants.models import Tenant

logger = logging.getLogger("monitoring.alerting")


@scopes_disabled()
def escalate_due(now: datetime | None = None) -> int:
    """Take the step of each alert whose time has come. Returns how many; what else is due comes with the next call.

    Suspended tenants rest: nobody of theirs can act.
    """
    now = now or timezone.now()
    due = (
        Alert.objects.filter(OPEN, escalate_at__lte=now, tenant__suspended_at=None)
        .select_related("tenant")
        .order_by("escalate_at", "id")
    )
    return sum(_escalate(alert, now) for alert in due[: settings.ALERTS_SWEPT_AT_ONCE])


def _escalate(alert: Alert, now: datetime) -> bool:
    with suppress(Tenant.DoesNotExist, Alert.DoesNotExist), transaction.atomic():
        alert = locked(alert)
        if alert.tenant and alert.tenant.is_suspended:
            return False
        if alert.state != State.FIRING or alert.escalate_at is None or alert.escalate_at > now:
            return False
        if alert.policy is None or not alert.policy.steps:
            alert.escalate_at = None
            alert.save(update_fields=["escalate_at"])
            return False
        _call(alert, now)
        return True
    return False


def go_by(policy: EscalationPolicy, now: datetime) -> None:
    """Let open alerts go by a policy as it is now; by the default one also those that have none. The owner is locked.

    Those that wait for nothing more get their next step, if there is one by now: it counts from the last call.
    """
    theirs = Q(policy=policy) | Q(policy=None) if policy.is_default else Q(policy=policy)
    rows = Alert.objects.select_for_update(of=("self",)).filter(OPEN, theirs, tenant=policy.tenant)
    alerts = list(rows.order_by("id"))
    for alert in alerts:
        if alert.policy_id is None:
            alert.escalation_step, alert.policy = 0, policy
        if alert.state == State.FIRING and alert.escalate_at is None:
            called_at = alert.called_at or now
            alert.escalate_at = policy.next_at(alert.escalation_step, alert.waiting_since, called_at)
    Alert.objects.bulk_update(alerts, ["policy", "escalation_step", "escalate_at"])


def _call(alert: Alert, now: datetime) -> None:
    assert alert.policy
    step = alert.policy.step(alert.escalation_step)
    people = _people(alert.tenant, step["people"])
    alert.escalation_step += 1
    alert.escalate_at = alert.policy.next_at(alert.escalation_step, alert.waiting_since, now)
    alert.called, alert.called_at = [str(person.pk) for person in people], now
    alert.version += 1
    alert.save()
    alert_escalated.send(Alert, alert=alert, people=people, ways=step["ways"], step=alert.escalation_step)


def _people(tenant: Tenant | None, named: Sequence[str]) -> list[User]:
    """Those named who may still see the alert; every admin where nobody is named, or nobody named is left."""
    if tenant is None:
        admins = list(User.objects.filter(is_superuser=True, is_active=True).order_by("name", "pk"))
    else:
        admins = admins_of(tenant)
    return [person for person in admins if str(person.pk) in named] or admins
