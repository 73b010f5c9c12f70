"""What people do about alerts, and how they take it back: the same for a tenant's admins and for the platform's own.

Each is called with the `Place` whose alerts these are: `portal/alert_pages.py` makes the pages of both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from accounts.actions import Refused
from accounts.models import User
from deployments.rows import number_in
from events import channels
from events.channels import Channel, Topic
from monitoring.alerting import actions, silences
from monitoring.alerting.models import Alert, AlertRule, EscalationPolicy, Silence, State
from monitoring.alerting.transitions import StaleVersion
from portal import alerts, times
from portal.alert_forms import AcknowledgeForm, SilenceForm
from portal.changed import Difference, not_done
from tenants.access import admins_of
from tenants.models import Tenant

UNDO_SALT = "portal.alerts.undo"


@dataclass(frozen=True, slots=True)
class Place:
    """Whose alerts: a tenant's, or the platform's own, with the addresses of their pages."""

    tenant: Tenant | None

    def page(self, **query: str) -> str:
        return _address(self._named("monitoring"), query)

    def alert(self, alert: UUID) -> str:
        return self._named("alert", alert)

    @property
    def new_silence(self) -> str:
        return self._named("new_silence")

    def end_silence(self, silence: UUID) -> str:
        return self._named("end_silence", silence)

    def rule(self, rule: UUID) -> str:
        return self._named("alert_rule", rule)

    def rules_page(self, **query: str) -> str:
        """Where rules are listed: a tenant's are few, and stand on its page of monitoring."""
        return self.page(**query) if self.tenant else _address(self._named("alert_rules"), query)

    def policy(self, policy: UUID) -> str:
        return self._named("alert_policy", policy)

    def policies_page(self, **query: str) -> str:
        return _address(self._named("alert_policies"), query)

    def _named(self, name: str, *of: UUID) -> str:
        return reverse(name, args=[self.tenant.slug, *of]) if self.tenant else reverse(f"ops_{name}", args=of)

    @property
    def section(self) -> str:
        return "monitoring" if self.tenant else "ops_monitoring"

    @property
    def updates(self) -> Channel:
        """What brings news of these alerts."""
        return channels.tenant(self.tenant.pk, Topic.MONITORING) if self.tenant else channels.SYSTEM_ALERTS

    @property
    def alerts(self) -> QuerySet[Alert]:
        return Alert.objects.filter(tenant=self.tenant).select_related("silence", "rule")

    @property
    def silences(self) -> QuerySet[Silence]:
        return Silence.objects.filter(tenant=self.tenant)

    @property
    def rules(self) -> QuerySet[AlertRule]:
        return AlertRule.objects.filter(tenant=self.tenant).order_by("name")

    @property
    def policies(self) -> QuerySet[EscalationPolicy]:
        return EscalationPolicy.objects.filter(tenant=self.tenant).order_by("name")

    def whose(self, request: Any) -> list[str]:
        """Who undoes something, and where: for the tokens that offer it."""
        return [str(self.tenant.pk) if self.tenant else "", str(request.user.pk)]

    def admins(self) -> list[User]:
        if self.tenant:
            return admins_of(self.tenant)
        return list(User.objects.filter(is_superuser=True, is_active=True).order_by("name"))

    def found(self, alert_id: UUID) -> Alert:
        """Raises Http404."""
        found = self.alerts.filter(pk=alert_id).first()
        if found is None:
            raise Http404
        return found


PLATFORM = Place(None)


def _address(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


@require_GET
def alert_page(request: Any, place: Place, alert_id: UUID) -> HttpResponse:
    """What is wrong, who looks after it, and what can be done about it."""
    live = request.live.follow(place.updates)
    context = shown(place, place.found(alert_id)) | {"live": live, "updates": place.updates}
    return render(request, "portal/monitoring/alert.html", context)


def shown(place: Place, found: Alert) -> dict[str, Any]:
    """What the page of one alert needs."""
    return {
        "section": place.section,
        "alert": found,
        "row": alerts.row(found, place.alert(found.pk)),
        "back": place.page(),
        "rule_url": place.rule(found.rule_id) if found.rule_id else "",
        "acknowledging": AcknowledgeForm(),
        "silencing": SilenceForm(),
        "may_end": found.source == "api",
        "people_called": [str(person) for person in place.admins() if str(person.pk) in found.called],
    }


# --- Acts -------------------------------------------------------------------------------------------------------------


@require_POST
def acknowledge(request: Any, place: Place, alert_id: UUID) -> HttpResponse:
    """From a list with one press, or from the alert's page with a note and an end."""
    form = AcknowledgeForm(request.POST)
    if not form.is_valid():
        raise Http404  # no browser sends what this form refuses

    def act(found: Alert) -> HttpResponse:
        note, until = form.cleaned_data["note"], form.until(timezone.now())
        actions.acknowledge(found, request.user, note=note, until=until, expected_version=_seen_version(request))
        return redirect(place.page(undo=undo_token(request, place, "acknowledged", found.pk)))

    return _acting(request, place, alert_id, act)


@require_POST
def unacknowledge(request: Any, place: Place, alert_id: UUID) -> HttpResponse:
    def act(found: Alert) -> HttpResponse:
        actions.unacknowledge(found, request.user, expected_version=_seen_version(request))
        messages.success(request, f"Nobody looks after {found.name} any more.")
        return redirect(place.alert(found.pk))

    return _acting(request, place, alert_id, act)


@require_POST
def resolve(request: Any, place: Place, alert_id: UUID) -> HttpResponse:
    def act(found: Alert) -> HttpResponse:
        actions.resolve_by_hand(found, request.user, expected_version=_seen_version(request))
        messages.success(request, f"{found.name} is resolved.")
        return redirect(place.page())

    return _acting(request, place, alert_id, act)


@require_POST
def silence(request: Any, place: Place, alert_id: UUID) -> HttpResponse:
    """Quiet for a while, with a reason that others will read. A form that can't be comes back filled in, and is about
    what the page shows by then."""
    live = request.live.follow()
    found, form = place.found(alert_id), SilenceForm(request.POST)
    if form.is_valid():
        try:
            made = _silenced(request, found, form)
        except silences.InvalidSilence as invalid:
            form.add_error("reason" if invalid.field == "reason" else None, str(invalid))
        except Refused as refused:
            return _refused(request, place, found, refused)
        else:
            return redirect(place.page(undo=undo_token(request, place, "silenced", made.pk)))
    return render(request, "portal/monitoring/alert.html", shown(place, found) | {"live": live, "silencing": form})


def _silenced(request: Any, found: Alert, form: SilenceForm) -> Silence:
    given = form.cleaned_data
    until = form.until(timezone.now())
    return silences.silence_alert(
        found,
        given["reason"],
        until,
        request.user,
        ends_on_resolve=given["ends_on_resolve"],
        expected_version=_seen_version(request),
    )


@require_POST
def end_silence(request: Any, place: Place, silence_id: UUID) -> HttpResponse:
    found = place.silences.filter(pk=silence_id).first()
    if found is None:
        raise Http404
    silences.end_silence(found, request.user)
    messages.success(request, f"The silence of {alerts.matchers_words(found)} has ended.")
    return redirect(place.page())


def _acting(request: Any, place: Place, alert_id: UUID, act: Callable[[Alert], HttpResponse]) -> HttpResponse:
    found = place.found(alert_id)
    try:
        return act(found)
    except Refused as refused:
        return _refused(request, place, found, refused)


def _refused(request: Any, place: Place, found: Alert, why: Refused) -> HttpResponse:
    """409: it is over, somebody else was quicker, or its source decides."""
    differences: tuple[Difference, ...] = ()
    if isinstance(why, StaleVersion):
        seen = dict(State.choices).get(request.POST.get("seen_state", ""), "")
        differences = (Difference("State", seen, why.now.get_state_display()),)
    return not_done(request, place.section, str(why), place.alert(found.pk), differences)


def _seen_version(request: Any) -> int | None:
    return number_in(request.POST.get("version"))


# --- Undo -------------------------------------------------------------------------------------------------------------


@require_POST
def undo(request: Any, place: Place) -> HttpResponse:
    """Take back an acknowledgement or a silence; whoever made it may, for a short time."""
    known = _undoable(request, place, request.POST.get("undo", ""), settings.UNDO_TAKEN_SECONDS)
    if known is None:
        too_late = "It is too late to undo that. Nothing was changed."
        return not_done(request, place.section, too_late, place.page())
    try:
        if isinstance(known, Silence):
            silences.end_silence(known, request.user)
        else:
            actions.unacknowledge(known, request.user)
    except Refused as refused:
        return not_done(request, place.section, str(refused), place.page())
    messages.success(request, "Undone: it is as it was.")
    return redirect(place.page())


def undo_offered(request: Any, place: Place) -> dict[str, Any] | None:
    token = request.GET.get("undo", "")
    known = _undoable(request, place, token, settings.UNDO_SHOWN_SECONDS) if token else None
    if known is None:
        return None
    if isinstance(known, Silence):
        what = f"Silenced until {times.exact(known.expires_at)}: {alerts.matchers_words(known)}."
    else:
        what = f"You look after {known.name} now. Nobody else is called."
    return {"token": token, "what": what}


def undo_token(request: Any, place: Place, what: str, key: UUID) -> str:
    return signing.dumps([*place.whose(request), what, str(key)], salt=UNDO_SALT)


def _undoable(request: Any, place: Place, token: str, max_age_seconds: int) -> Alert | Silence | None:
    """What this person acknowledged or silenced here; None for what is too old, over, or was not theirs."""
    try:
        *whose, what, key = signing.loads(token, salt=UNDO_SALT, max_age=max_age_seconds)
    except signing.BadSignature:
        return None
    if whose != place.whose(request):
        return None
    if what == "silenced":
        return place.silences.filter(pk=key, ended_at=None).first()
    return place.alerts.filter(pk=key, state=State.ACKNOWLEDGED, acknowledged_by_id=request.user.pk).first()
