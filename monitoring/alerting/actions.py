"""What happens to an alert, one function each: raise, resolve, acknowledge, and what time does to it.

Each locks the alert's owner and its row, and says once what it changed: whoever comes second finds it done.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_scopes import scopes_disabled

from accounts.actions import Refused
from events.actors import HasActor
from monitoring.alerting.conditions import flaps_of, held
from monitoring.alerting.models import (
    KEY_LENGTH,
    MESSAGE_LENGTH,
    OPEN,
    Alert,
    AlertRule,
    EscalationPolicy,
    Severity,
    Silence,
    Source,
    State,
)
from monitoring.alerting.signals import alert_changed
from monitoring.alerting.silences import end_with_its_alerts
from monitoring.alerting.transitions import lock_owner, locked, locked_open, plan_escalation, save_and_say, silence_for
from tenants.actions import action
from tenants.models import Tenant

#: What a source outside ends is over at once, unless it flaps.
NO_HOLD = timedelta(0)
#: What these say may come late, and in another order than it was.
OUTSIDE = (Source.ALERTMANAGER, Source.API)


class ItsSourceDecides(Refused):
    code = "its_source_decides"

    def __init__(self, alert: Alert) -> None:
        who = {Source.RULE: "Its rule", Source.ALERTMANAGER: "Alertmanager", Source.PLATFORM: "The platform"}
        super().__init__(
            f"{who[Source(alert.source)]} says when {alert.name} is over. "
            "Nothing was changed: acknowledge or silence it."
        )


class TooManyAlerts(Refused):
    code = "too_many_alerts"

    def __init__(self) -> None:
        most = settings.ALERTS_OPEN_PER_TENANT
        super().__init__(
            f"{most} alerts are open, which is the most. Nothing was changed: resolve some, or group them."
        )


@dataclass(frozen=True, slots=True)
class Raised:
    """What a source says of something that fires. `key` identifies it there, `started_at` this time of its firing."""

    source: Source
    key: str
    name: str
    severity: str
    message: str
    started_at: datetime
    labels: dict[str, str] = field(default_factory=dict)
    value: float | None = None
    link: str = ""
    rule: AlertRule | None = None

    def is_late_after(self, known: Alert) -> bool:
        """Whether it is this firing again, or one before it: of our own, clocks are put back."""
        return self.started_at == known.started_at or (self.source in OUTSIDE and self.started_at < known.started_at)


# --- What sources say -------------------------------------------------------------------------------------------------


@action
def raise_alert(tenant: Tenant | None, raised: Raised) -> Alert:
    """Open an alert, or bring the open one of this key up to date. Said again it changes nothing.

    A firing that had been resolved stays so, however late it is repeated: a new one has a later `started_at`. Raises
    TooManyAlerts, and Tenant.DoesNotExist for one that was deleted.
    """
    lock_owner(tenant)
    if known := open_alert(tenant, raised.key):
        return _said_again(known, raised)
    last = _last(tenant, raised.key)
    if last and raised.is_late_after(last):
        return last
    return _opened(tenant, raised, last)


@action
def resolve_alert(
    tenant: Tenant | None, key: str, firing: Raised | None = None, at: datetime | None = None
) -> Alert | None:
    """Its source says that it is over; one that flaps stays open a while longer. None: nothing of this key is open.

    With `firing`, that one and those before it: a late word about an earlier one ends nothing. Where it was not heard
    of it is kept as one that is over, so that it does not begin when it is.
    """
    lock_owner(tenant)
    alert, now = open_alert(tenant, key), at or timezone.now()
    if alert is None:
        return _over_unheard(tenant, firing, now) if firing else None
    if firing and firing.started_at < alert.started_at:
        return None
    alert.started_at = firing.started_at if firing else alert.started_at
    hold = held(NO_HOLD, alert.flaps)
    if not hold:
        return end(alert, now)
    alert.resolve_due_at = alert.resolve_due_at or now + hold
    alert.save(update_fields=["resolve_due_at", "started_at"])
    return alert


def _said_again(alert: Alert, raised: Raised) -> Alert:
    if alert.resolve_due_at and raised.source in OUTSIDE and raised.is_late_after(alert):
        return alert  # that firing is over, and stays so
    is_another = raised.source == Source.ALERTMANAGER and raised.started_at > alert.started_at
    said = (raised.severity, raised.message[:MESSAGE_LENGTH])
    if alert.resolve_due_at:
        alert.resolve_due_at = None
        alert.save(update_fields=["resolve_due_at"])
    if (alert.severity, alert.message) != said or is_another:
        alert.is_louder = Severity.values.index(raised.severity) > Severity.values.index(alert.severity)
        alert.severity, alert.message = said
        alert.value = raised.value
        alert.started_at = raised.started_at if is_another else alert.started_at
        save_and_say(alert, timezone.now())
    return alert


def _opened(tenant: Tenant | None, raised: Raised, last: Alert | None) -> Alert:
    if Alert.objects.filter(OPEN, tenant=tenant).count() >= settings.ALERTS_OPEN_PER_TENANT:
        raise TooManyAlerts
    alert, now = _new(tenant, raised, last), timezone.now()
    alert.silence = silence_for(alert)
    alert.state = alert.state_now(now)
    plan_escalation(alert, now)
    return _stored(alert)


def _over_unheard(tenant: Tenant | None, firing: Raised, now: datetime) -> Alert | None:
    """What fired and ended is heard in this order: it was, and nobody has to act."""
    last = _last(tenant, firing.key)
    if last and last.started_at >= firing.started_at:
        return None
    alert = _new(tenant, firing, last)
    alert.resolved_at, alert.state = now, State.RESOLVED
    return _stored(alert)


def _last(tenant: Tenant | None, key: str) -> Alert | None:
    return Alert.objects.filter(tenant=tenant, key=key[:KEY_LENGTH]).order_by("-id").first()


def _new(tenant: Tenant | None, raised: Raised, last: Alert | None) -> Alert:
    now = timezone.now()
    return Alert(
        tenant=tenant,
        source=raised.source,
        key=raised.key[:KEY_LENGTH],
        rule=raised.rule,
        name=raised.name[:200],
        severity=raised.severity,
        message=raised.message[:MESSAGE_LENGTH],
        labels=raised.labels,
        value=raised.value,
        link=raised.link if raised.link.startswith(("https://", "http://")) else "",
        started_at=raised.started_at,
        waiting_since=now,
        flaps=flaps_of(last.resolved_at, last.flaps, now) if last else 0,
        policy=_policy_for(tenant, raised.rule),
    )


def _stored(alert: Alert) -> Alert:
    alert.save(force_insert=True)
    alert.is_new = True
    alert_changed.send(Alert, alert=alert, previous="", by=None)
    return alert


def _policy_for(tenant: Tenant | None, rule: AlertRule | None) -> EscalationPolicy | None:
    if rule and rule.policy_id:
        return rule.policy
    return EscalationPolicy.objects.filter(tenant=tenant, is_default=True).first()


# --- What people do ---------------------------------------------------------------------------------------------------


@action
def acknowledge(
    alert: Alert, by: HasActor, note: str = "", until: datetime | None = None, expected_version: int | None = None
) -> Alert:
    """Somebody looks after it: nobody else is called, until it is over or until the moment given.

    Raises NotOpen, StaleVersion if it is not the version expected, and Refused for a moment that is past.
    """
    now = timezone.now()
    if until and until <= now:
        raise Refused("That moment is past. Nothing was changed: take a later one.")
    alert = locked_open(alert, expected_version)
    alert.acknowledged_at, alert.acknowledged_until, alert.note = now, until, note
    alert.acknowledged_by_id, alert.acknowledged_by_name = by.actor.id, by.actor.name
    return save_and_say(alert, now, by)


@action
def unacknowledge(alert: Alert, by: HasActor, expected_version: int | None = None) -> Alert:
    """Nobody looks after it any more. Raises NotOpen and StaleVersion."""
    alert = locked_open(alert, expected_version)
    if alert.acknowledged_at is None:
        return alert
    _forget_acknowledgement(alert)
    return save_and_say(alert, timezone.now(), by)


@action
def resolve_by_hand(alert: Alert, by: HasActor, expected_version: int | None = None) -> Alert:
    """Somebody says that it is over. Raises NotOpen, StaleVersion, ItsSourceDecides where the source says so itself."""
    alert = locked_open(alert, expected_version)
    if alert.source != Source.API:
        raise ItsSourceDecides(alert)
    return end(alert, timezone.now(), by, f"Resolved by {by.actor.name}")


# --- What time does ---------------------------------------------------------------------------------------------------


@scopes_disabled()
def let_time_pass(now: datetime | None = None) -> int:
    """End acknowledgements whose time is up, and alerts that stayed well. Returns how many changed."""
    now = now or timezone.now()
    lapsed = Alert.objects.filter(OPEN, acknowledged_until__lte=now)
    well = Alert.objects.filter(OPEN, resolve_due_at__lte=now)
    changed = sum(_lapse(alert, now) for alert in _each(lapsed))
    return changed + sum(_end_if_well(alert, now) for alert in _each(well))


def _each(due: QuerySet[Alert]) -> Iterable[Alert]:
    return list(due.select_related("tenant").order_by("id")[: settings.ALERTS_SWEPT_AT_ONCE])


def _lapse(alert: Alert, now: datetime) -> bool:
    with suppress(Tenant.DoesNotExist, Alert.DoesNotExist), transaction.atomic():
        alert = locked(alert)
        if not (alert.is_open and alert.acknowledged_until and alert.acknowledged_until <= now):
            return False
        _forget_acknowledgement(alert)
        save_and_say(alert, now)
        return True
    return False


def _end_if_well(alert: Alert, now: datetime) -> bool:
    with suppress(Tenant.DoesNotExist, Alert.DoesNotExist), transaction.atomic():
        alert = locked(alert)
        if not (alert.is_open and alert.resolve_due_at and alert.resolve_due_at <= now):
            return False
        end(alert, now)
        return True
    return False


@scopes_disabled()
def forget_old() -> int:
    """Delete what has been over for ALERTS_KEPT_DAYS: alerts, and silences that no alert is left of."""
    oldest = timezone.now() - timedelta(days=settings.ALERTS_KEPT_DAYS)
    alerts = Alert.objects.filter(resolved_at__lt=oldest).delete()[0]
    return alerts + Silence.objects.filter(ended_at__lt=oldest, alerts=None).delete()[0]


# --- Parts of the above, and of what rules do -------------------------------------------------------------------------


def open_alert(tenant: Tenant | None, key: str) -> Alert | None:
    """The open one of this key, locked. The owner is locked."""
    rows = Alert.objects.select_for_update(of=("self",)).select_related("tenant", "silence", "policy")
    return rows.filter(OPEN, tenant=tenant, key=key[:KEY_LENGTH]).first()


def end(alert: Alert, at: datetime, by: HasActor | None = None, why: str = "") -> Alert:
    """It is over. The row is locked."""
    alert.resolved_at, alert.ended_why, alert.resolve_due_at = at, why[:200], None
    save_and_say(alert, at, by)
    if alert.silence and alert.silence.ends_on_resolve:
        end_with_its_alerts(alert.silence, at)
    return alert


def _forget_acknowledgement(alert: Alert) -> None:
    alert.acknowledged_at = alert.acknowledged_until = alert.acknowledged_by_id = None
    alert.acknowledged_by_name = alert.note = ""
