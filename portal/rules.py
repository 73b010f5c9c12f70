"""Rules of alerts: made and changed by a tenant's admins, and by the platform's for its own. They see what a rule would
have done in the last day before it does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.actions import Refused
from deployments.rows import number_in
from monitoring.alerting import rules
from monitoring.alerting.messages import duration, number
from monitoring.alerting.models import AlertRule, EscalationPolicy
from monitoring.alerting.trial import Firing, Trial, try_out
from monitoring.models import LatestMetrics
from portal import figures
from portal.alert_acts import Place
from portal.alert_forms import RuleForm
from portal.changed import Difference, not_done
from portal.charts import path
from portal.models import PlatformFigures

#: The chart's line has a point for so many minutes: a day in some 300. The table that stands for it has a row for more.
POINT_MINUTES = 5
ROW_MINUTES = 30
NO_SAMPLES = "no samples"
FIRINGS_SHOWN = 20
UNDO_SALT = "portal.rules.undo"


@dataclass(frozen=True, slots=True)
class DryRun:
    """A trial as a picture of 100 by 100: where it would have fired, what the rule compares, and its threshold."""

    trial: Trial
    metric: str
    threshold: float | None
    is_age: bool

    @property
    def summary(self) -> str:
        return self.trial.summary

    @property
    def what(self) -> str:
        """What the line is, and in which unit."""
        if self.is_age:
            return f"How long no sample of {figures.word(self.metric)} had come"
        return f"{figures.word(self.metric)}, in {self.trial.unit}" if self.trial.unit else figures.word(self.metric)

    @property
    def axis(self) -> tuple[str, str]:
        """What the upper and the lower edge of the picture mean."""
        low, high = self._bounds
        return self._said(high), self._said(low)

    @property
    def has_gaps(self) -> bool:
        return any(value is None for value in self._values)

    @property
    def table(self) -> list[tuple[datetime, str, str]]:
        """The picture for who can't see it, newest first: from when on, the lowest and the highest in that time."""
        points = self.trial.points
        parts = [points[first : first + ROW_MINUTES] for first in range(0, len(points), ROW_MINUTES)]
        return [(part[0][0], *self._extremes([value for _, value in part])) for part in reversed(parts)]

    def _extremes(self, values: Sequence[float | None]) -> tuple[str, str]:
        known = [value for value in values if value is not None]
        return (self._said(min(known)), self._said(max(known))) if known else (NO_SAMPLES, NO_SAMPLES)

    @property
    def line(self) -> str:
        return path(self._values, *self._bounds)

    @property
    def edge(self) -> str:
        """The threshold's height, from above."""
        low, high = self._bounds
        return "" if self.threshold is None else f"{100 * (high - self.threshold) / (high - low):.2f}"

    @property
    def edge_word(self) -> str:
        return self._said(self.threshold)

    @property
    def spans(self) -> list[tuple[str, str]]:
        """Where each firing begins, and how wide it is."""
        places = [(self._x(one.since), self._x(self._end(one))) for one in self.trial.firings]
        return [(f"{first:.2f}", f"{last - first:.2f}") for first, last in places]

    @property
    def rows(self) -> list[tuple[Firing, str, str]]:
        """The newest firings, each with how long it lasted and its peak."""
        shown = self.trial.firings[::-1][:FIRINGS_SHOWN]
        return [(one, duration((self._end(one) - one.since).total_seconds()), self._said(one.peak)) for one in shown]

    def _said(self, value: float | None) -> str:
        return duration(value or 0.0) if self.is_age else number(value, self.trial.unit)

    def _end(self, firing: Firing) -> datetime:
        return firing.until or self.trial.until

    def _x(self, at: datetime) -> float:
        return 100 * ((at - self.trial.since) / (self.trial.until - self.trial.since))

    @property
    def _values(self) -> list[float | None]:
        return [value for _, value in self.trial.points[::POINT_MINUTES]]

    @property
    def _bounds(self) -> tuple[float, float]:
        known = [value for value in [*self._values, self.threshold] if value is not None]
        low, high = min(known, default=0.0), max(known, default=1.0)
        margin = (high - low) * 0.1 or 1.0
        return low - margin, high + margin


def dry_run(rule: AlertRule) -> DryRun:
    condition = rule.condition
    return DryRun(try_out(rule, timezone.now()), rule.metric, condition.threshold, is_age=rule.kind == "absence")


# --- What can be done -------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def rule_page(request: Any, place: Place, rule_id: UUID | None = None) -> HttpResponse:
    """Filled in, tried on the last day as often as one likes, then saved."""
    live = request.live.follow()
    rule = _found(place, rule_id) if rule_id else None
    form = RuleForm(place.policies, request.POST or None, rule)
    shown = dry_run(rule) if rule else None
    if request.method == "POST" and form.is_valid():
        try:
            if request.POST.get("do") == "try":
                shown = dry_run(_tried(place, form))
            else:
                return _saved(request, place, rule, form)
        except ValidationError as invalid:
            form.add_problems(invalid.message_dict)
        except rules.StaleVersion as stale:
            return _changed(request, place, stale)
        except Refused as refused:
            form.add_error(None, str(refused))
    context = {
        "section": place.section,
        "live": live,
        "form": form,
        "rule": rule,
        "version": request.POST.get("version") or (rule.version if rule else ""),
        "series": _series(place),
        "run": shown,
        "back": place.rules_page(),
        "delete_url": f"{place.rule(rule.pk)}delete/" if rule else "",
    }
    return render(request, "portal/monitoring/rule.html", context)


def _tried(place: Place, form: RuleForm) -> AlertRule:
    """The rule as the form has it, not stored. Raises ValidationError."""
    return rules.checked_rule(place.tenant, {name: value for name, value in form.values().items() if name != "policy"})


def _saved(request: Any, place: Place, rule: AlertRule | None, form: RuleForm) -> HttpResponse:
    if rule is None:
        rule = rules.create_rule(place.tenant, request.user, **form.values())
        messages.success(request, f"The rule {rule.name} watches from now on.")
    else:
        version = number_in(request.POST.get("version"))
        rule = rules.update_rule(rule, request.user, expected_version=version, **form.values())
        messages.success(request, f"The rule {rule.name} is saved.")
    return redirect(place.rules_page())


def _changed(request: Any, place: Place, stale: rules.StaleVersion) -> HttpResponse:
    difference = Difference("Version", str(stale.seen), str(stale.now.version))
    return not_done(request, place.section, str(stale), place.rule(stale.now.pk), (difference,))


def _series(place: Place) -> Sequence[str]:
    """What the form offers: every series there is."""
    if place.tenant is None:
        return sorted(PlatformFigures.now().metrics)
    latest = LatestMetrics.objects.filter(pk=place.tenant.pk).first()
    return sorted(latest.metrics) if latest else []


def _found(place: Place, rule_id: UUID) -> AlertRule:
    """Raises Http404."""
    found = place.rules.select_related("policy").filter(pk=rule_id).first()
    if found is None:
        raise Http404
    return found


@require_POST
def delete(request: Any, place: Place, rule_id: UUID) -> HttpResponse:
    rule = _found(place, rule_id)
    token = _undo_token(request, place, rule)
    rules.delete_rule(rule, request.user)
    return redirect(place.rules_page(undo_rule=token))


@require_POST
def bring_back(request: Any, place: Place) -> HttpResponse:
    """Make the rule again that this person has just deleted; what it was firing about it finds anew."""
    back = place.rules_page()
    fields = _deleted(request, place, request.POST.get("undo", ""), settings.UNDO_TAKEN_SECONDS)
    if fields is None:
        return not_done(request, place.section, "It is too late to undo that. Nothing was changed.", back)
    policy = _policy(place, fields.pop("policy"))
    try:
        rule = rules.create_rule(place.tenant, request.user, policy=policy, **fields)
    except (Refused, ValidationError) as refused:
        reason = "; ".join(refused.messages) if isinstance(refused, ValidationError) else str(refused)
        return not_done(request, place.section, reason, back)
    messages.success(request, f"The rule {rule.name} watches again.")
    return redirect(back)


def _policy(place: Place, key: str | None) -> EscalationPolicy | None:
    return place.policies.filter(pk=key).first() if key else None


def _undo_token(request: Any, place: Place, rule: AlertRule) -> str:
    fields = {name: getattr(rule, name) for name in rules.RULE_FIELDS if name != "policy"}
    fields["policy"] = str(rule.policy_id) if rule.policy_id else None
    return signing.dumps([*place.whose(request), fields], salt=UNDO_SALT, compress=True)


def _deleted(request: Any, place: Place, token: str, max_age_seconds: int) -> dict[str, Any] | None:
    """What the rule said that this person has deleted here; None for what is too old or was not theirs."""
    try:
        *whose, fields = signing.loads(token, salt=UNDO_SALT, max_age=max_age_seconds)
    except signing.BadSignature:
        return None
    return fields if whose == place.whose(request) else None


def deleted_lately(request: Any, place: Place) -> dict[str, Any] | None:
    """For the page that offers to undo it."""
    token = request.GET.get("undo_rule", "")
    fields = _deleted(request, place, token, settings.UNDO_SHOWN_SECONDS) if token else None
    return {"token": token, "what": f"The rule {fields['name']} was deleted.", "is_rule": True} if fields else None
