"""What can be done with silences. Each change of one changes the alerts it is about, in the same transaction."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_scopes import scopes_disabled

from accounts.actions import Refused
from events.actors import HasActor
from monitoring.alerting.matching import OPERATORS, exactly, matches
from monitoring.alerting.models import OPEN, Alert, Silence
from monitoring.alerting.signals import silence_changed
from monitoring.alerting.transitions import lock_owner, locked_open, save_and_say, silence_for
from tenants.actions import action
from tenants.models import Tenant

#: As many as an alert has labels, and its name: it can always be silenced by itself.
MATCHERS_AT_MOST = 65
TEXT_LENGTH = 500


class InvalidSilence(Refused):
    """`field` is the one that can't be."""

    code = "invalid"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


class StaleVersion(Refused):
    """`now` is the silence as it is."""

    code = "stale_version"

    def __init__(self, now: Silence) -> None:
        super().__init__("This silence has been changed since you opened it. Nothing was changed now.")
        self.now = now


@action
def create_silence(
    tenant: Tenant | None,
    matchers: Sequence[dict[str, Any]],
    reason: str,
    expires_at: datetime,
    by: HasActor,
    *,
    ends_on_resolve: bool = False,
) -> Silence:
    """Silence every open alert that matches, and whatever comes that does. Raises InvalidSilence."""
    now = timezone.now()
    lock_owner(tenant)
    _check(tenant, matchers, reason, expires_at, now)
    silence = Silence.objects.create(
        tenant=tenant,
        matchers=[{name: one[name] for name in ("label", "op", "value")} for one in matchers],
        reason=reason.strip(),
        created_by_id=by.actor.id,
        created_by_name=by.actor.name,
        expires_at=expires_at,
        ends_on_resolve=ends_on_resolve,
    )
    silence_changed.send(Silence, silence=silence, by=by)
    for alert in _open_of(tenant).filter(silence=None):
        if matches(silence.matchers, alert.matchable):
            alert.silence = silence
            save_and_say(alert, now, by)
    return silence


def would_silence(tenant: Tenant | None, matchers: Sequence[dict[str, Any]]) -> list[Alert]:
    """The open alerts that a silence by these would be about now, newest first. Raises InvalidSilence."""
    _check_matchers(matchers)
    rows = Alert.objects.filter(OPEN, tenant=tenant, silence=None).order_by("-id")
    return [alert for alert in rows if matches(matchers, alert.matchable)]


@action
def silence_alert(
    alert: Alert,
    reason: str,
    expires_at: datetime,
    by: HasActor,
    *,
    ends_on_resolve: bool = True,
    expected_version: int | None = None,
) -> Silence:
    """Silence this alert, and whatever has the same name and labels. Raises InvalidSilence, NotOpen, StaleVersion.

    Of one that is over nothing is silenced: the silence would be about the next that fires.
    """
    alert = locked_open(alert, expected_version)
    matchers = exactly({name: text for name, text in alert.matchable.items() if name != "severity"})
    return create_silence(alert.tenant, matchers, reason, expires_at, by, ends_on_resolve=ends_on_resolve)


@action
def end_silence(silence: Silence, by: HasActor | None, *, expected_version: int | None = None) -> Silence:
    """What it silenced fires again, unless another silence is about it. Ending it twice is ending it once.

    Raises StaleVersion if it is not the version expected.
    """
    lock_owner(silence.tenant)
    silence = Silence.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=silence.pk)
    if expected_version not in (None, silence.version):
        raise StaleVersion(silence)
    return _end(silence, timezone.now(), by) if silence.is_active else silence


@scopes_disabled()
def end_expired(now: datetime | None = None) -> int:
    """End those whose time is up. Returns how many."""
    now = now or timezone.now()
    due = Silence.objects.filter(ended_at=None, expires_at__lte=now).select_related("tenant").order_by("id")
    ended = 0
    for silence in due[: settings.ALERTS_SWEPT_AT_ONCE]:
        with suppress(Tenant.DoesNotExist, Silence.DoesNotExist), transaction.atomic():
            ended += end_silence(silence, by=None).ended_at is not None
    return ended


def end_with_its_alerts(silence: Silence, now: datetime) -> None:
    """End it if none of its alerts is open any more. The owner is locked."""
    if Alert.objects.filter(OPEN, silence=silence).exists():
        return
    silence = Silence.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=silence.pk)
    if silence.is_active:
        _end(silence, now, by=None)


def _end(silence: Silence, now: datetime, by: HasActor | None) -> Silence:
    silence.ended_at = now
    silence.version += 1
    silence.save(update_fields=["ended_at", "version"])
    silence_changed.send(Silence, silence=silence, by=by)
    for alert in _open_of(silence.tenant).filter(silence=silence):
        alert.silence = silence_for(alert)
        save_and_say(alert, now, by)
    return silence


def _open_of(tenant: Tenant | None) -> QuerySet[Alert]:
    """Locked in one order. The tenant's row is locked, so that no alert comes to be meanwhile."""
    rows = Alert.objects.select_for_update(of=("self",)).select_related("tenant", "policy")
    return rows.filter(OPEN, tenant=tenant).order_by("id")


def _check(
    tenant: Tenant | None, matchers: Sequence[dict[str, Any]], reason: str, expires_at: datetime, now: datetime
) -> None:
    longest = timedelta(days=settings.SILENCE_MAX_DAYS)
    _check_matchers(matchers)
    if not reason.strip():
        raise InvalidSilence("reason", "Say why: others will read it.")
    if not now < expires_at <= now + longest:
        raise InvalidSilence("expiresAt", f"It ends in the future, within {settings.SILENCE_MAX_DAYS} days.")
    if Silence.objects.filter(tenant=tenant, ended_at=None).count() >= settings.SILENCES_PER_TENANT:
        raise InvalidSilence("matchers", f"{settings.SILENCES_PER_TENANT} are active, which is the most. End some.")


def _check_matchers(matchers: Sequence[dict[str, Any]]) -> None:
    if not matchers or len(matchers) > MATCHERS_AT_MOST:
        raise InvalidSilence("matchers", f"Give 1 to {MATCHERS_AT_MOST}: none would silence everything.")
    for one in matchers:
        if one["op"] not in OPERATORS or not one["label"] or max(len(one["label"]), len(one["value"])) > TEXT_LENGTH:
            raise InvalidSilence("matchers", f"Each is a label, one of {' '.join(OPERATORS)}, and a value.")
    if all(one["op"] == "~" and set(one["value"]) <= {"*"} for one in matchers):
        raise InvalidSilence("matchers", "These match every alert there is. Name what is to be silent.")
