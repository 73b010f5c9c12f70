"""The steps that every change of an alert is made of: lock, derive the state, save, say.

The owner is locked first, as by everything that adds rows to a tenant, then alerts in the order of their ids.
"""

from datetime import datetime

from django.utils import timezone

from accounts.actions import Refused
from events import databases
from events.actors import HasActor
from monitoring.alerting.matching import matches
from monitoring.alerting.models import Alert, Silence, State
from monitoring.alerting.signals import alert_changed
from tenants.models import Tenant


class NotOpen(Refused):
    code = "not_open"

    def __init__(self, alert: Alert) -> None:
        super().__init__(f"{alert.name} is resolved. Nothing was changed.")


class StaleVersion(Refused):
    """`now` is the alert as it is."""

    code = "stale_version"

    def __init__(self, now: Alert, seen: int) -> None:
        super().__init__(
            f"{now.name} has changed since you opened this page: it is {now.get_state_display().lower()} now. "
            "Nothing was changed."
        )
        self.now, self.seen = now, seen


def lock_owner(tenant: Tenant | None) -> None:
    """Let nobody else add or silence alerts of this owner meanwhile. Raises Tenant.DoesNotExist."""
    if tenant is None:
        databases.take_turns("alerts of the platform")
    else:
        Tenant.objects.select_for_update(no_key=True).only("pk").get(pk=tenant.pk)


def locked(alert: Alert) -> Alert:
    """The row as it is now, to change it. Raises Tenant.DoesNotExist, Alert.DoesNotExist."""
    lock_owner(alert.tenant)
    return Alert.objects.select_for_update(of=("self",)).select_related("tenant", "silence", "policy").get(pk=alert.pk)


def locked_open(alert: Alert, expected_version: int | None) -> Alert:
    """The same, of one that is not over, to act on what somebody saw of it. Raises NotOpen and StaleVersion too."""
    alert = locked(alert)
    if expected_version not in (None, alert.version):
        raise StaleVersion(alert, expected_version or 0)
    if not alert.is_open:
        raise NotOpen(alert)
    return alert


def save_and_say(alert: Alert, now: datetime, by: HasActor | None = None) -> Alert:
    """Derive its state from what was changed, and tell everybody. The row is locked."""
    previous, alert.state = alert.state, alert.state_now(now)
    if alert.state != previous:
        alert.waiting_since = now
        plan_escalation(alert, now)
    alert.version += 1
    alert.save()
    alert_changed.send(Alert, alert=alert, previous=previous, by=by)
    return alert


def plan_escalation(alert: Alert, now: datetime) -> None:
    """Begin at the policy's first step whenever somebody must act; stop when nobody must."""
    alert.escalation_step, alert.escalate_at = 0, None
    if alert.state == State.FIRING and alert.policy:
        alert.escalate_at = alert.policy.next_at(0, alert.waiting_since, now)


def silence_for(alert: Alert) -> Silence | None:
    """The active silence that it matches, the one that lasts longest. The owner is locked."""
    active = Silence.objects.filter(tenant=alert.tenant_id, ended_at=None, expires_at__gt=timezone.now())
    return next((one for one in active.order_by("-expires_at") if matches(one.matchers, alert.matchable)), None)
