"""Escalation policies: who is called, after how long, and how, while an alert fires and nobody looks after it.

Made and changed by a tenant's admins, and by the platform's for its own alerts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.actions import Refused
from accounts.models import User
from deployments.rows import number_in
from monitoring.alerting import rules
from monitoring.alerting.messages import duration
from monitoring.alerting.models import EscalationPolicy, Way
from portal.alert_acts import Place
from portal.changed import Difference, not_done

MINUTE_SECONDS = 60
#: So many empty steps stand below those there are; who needs more saves and opens it again.
STEPS_OFFERED = 2
WEEK_MINUTES = 7 * 24 * 60
#: Minutes are shown exactly: 90 s is 1.5, and 100 s comes back as 100 s.
DIGITS = 4


class StepForm(forms.Form):
    """One step. Without a time it is none."""

    after = forms.FloatField(
        required=False,
        min_value=0,
        max_value=WEEK_MINUTES,
        label="After, minutes",
        help_text="Since it fired. 0: at once.",
    )
    ways = forms.MultipleChoiceField(
        required=False,
        choices=Way.choices,
        widget=forms.CheckboxSelectMultiple,
        label="How",
        initial=[Way.IN_APP.value],
    )
    people = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, label="Who", help_text="Nobody ticked: all admins."
    )

    def __init__(self, *args: Any, admins: Iterable[User] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["people"].choices = [(str(admin.pk), str(admin)) for admin in admins]  # type: ignore[attr-defined]

    def step(self) -> dict[str, Any] | None:
        """As the policy stores it."""
        given = self.cleaned_data
        if given.get("after") is None:
            return None
        after = round(given["after"] * MINUTE_SECONDS)
        return {"after_seconds": after, "people": given["people"], "ways": given["ways"]}


class PolicyForm(forms.Form):
    name = forms.CharField(max_length=100)
    repeat = forms.FloatField(
        required=False,
        min_value=0,
        max_value=WEEK_MINUTES,
        label="The last step again every, minutes",
        help_text="Until somebody looks after it. Empty: never.",
    )
    is_default = forms.BooleanField(
        required=False, label="For every alert whose rule names no other", help_text="There is one such policy at most."
    )

    def values(self) -> dict[str, Any]:
        given = self.cleaned_data
        repeat = round((given["repeat"] or 0) * MINUTE_SECONDS)
        return {"name": given["name"], "repeat_seconds": repeat, "is_default": given["is_default"]}


Steps = forms.formset_factory(
    StepForm, extra=STEPS_OFFERED, max_num=rules.STEPS_AT_MOST, absolute_max=rules.STEPS_AT_MOST
)


def _minutes(seconds: int) -> float | None:
    return round(seconds / MINUTE_SECONDS, DIGITS)


def _initial(policy: EscalationPolicy) -> dict[str, Any]:
    repeat = _minutes(policy.repeat_seconds) if policy.repeat_seconds else None
    return {"name": policy.name, "repeat": repeat, "is_default": policy.is_default}


def _initial_steps(policy: EscalationPolicy) -> list[dict[str, Any]]:
    return [
        {"after": _minutes(step["after_seconds"]), "ways": step["ways"], "people": step["people"]}
        for step in policy.steps
    ]


# --- The list ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PolicyRow:
    policy: EscalationPolicy
    url: str
    steps: list[str]
    rules: int


@require_GET
def list_page(request: Any, place: Place) -> HttpResponse:
    live = request.live.follow()
    found = list(place.policies)
    named = _named_by(place)
    names = {str(admin.pk): str(admin) for admin in place.admins()} if found else {}
    context = {
        "section": place.section,
        "live": live,
        "rows": [PolicyRow(one, place.policy(one.pk), steps_words(one, names), named.get(one.pk, 0)) for one in found],
        "back": place.page(),
        "new_url": f"{place.policies_page()}new/",
    }
    return render(request, "portal/monitoring/policies.html", context)


def steps_words(policy: EscalationPolicy, names: Mapping[str, str]) -> list[str]:
    """Each step in one sentence: "After 15 min: Alice, in app and by e-mail"."""
    ways = {Way.IN_APP: "in app", Way.EMAIL: "by e-mail"}
    said = []
    for step in policy.steps:
        when = f"After {duration(step['after_seconds'])}" if step["after_seconds"] else "At once"
        people = ", ".join(names[key] for key in step["people"] if key in names) or "all admins"
        said.append(f"{when}: {people}, {' and '.join(ways[Way(way)] for way in step['ways'])}")
    return said + ([f"Then again every {duration(policy.repeat_seconds)}"] if policy.repeat_seconds else [])


def _named_by(place: Place) -> dict[UUID, int]:
    """How many rules name each policy."""
    named: QuerySet[Any, Any] = place.rules.filter(policy__isnull=False).order_by().values_list("policy")
    return dict(named.annotate(count=Count("pk")))


# --- One policy -------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def policy_page(request: Any, place: Place, policy_id: UUID | None = None) -> HttpResponse:
    live = request.live.follow()
    policy = _found(place, policy_id) if policy_id else None
    data, admins = request.POST or None, place.admins()
    form = PolicyForm(data, initial=_initial(policy) if policy else None)
    steps = Steps(
        data, initial=_initial_steps(policy) if policy else None, prefix="steps", form_kwargs={"admins": admins}
    )
    if request.method == "POST" and _are_valid(form, steps):
        try:
            return _saved(request, place, policy, form, steps)
        except ValidationError as invalid:
            _add_problems(form, invalid)
        except rules.StaleVersion as stale:
            difference = Difference("Version", str(stale.seen), str(stale.now.version))
            return not_done(request, place.section, str(stale), place.policy(stale.now.pk), (difference,))
        except Refused as refused:
            form.add_error(None, str(refused))
    context = {
        "section": place.section,
        "live": live,
        "form": form,
        "steps": steps,
        "policy": policy,
        "named": place.rules.filter(policy=policy).count() if policy else 0,
        "version": request.POST.get("version") or (policy.version if policy else ""),
        "back": place.policies_page(),
        "delete_url": f"{place.policy(policy.pk)}delete/" if policy else "",
    }
    return render(request, "portal/monitoring/policy.html", context)


def _are_valid(form: PolicyForm, steps: Any) -> bool:
    """What is wrong with a step is said above, too, with the others."""
    if not steps.is_valid():
        for number, step in enumerate(steps, start=1):
            for name, said in step.errors.items():
                form.add_error(None, f"Step {number}, {step.fields[name].label.lower()}: {' '.join(said)}")
    return form.is_valid()


def _saved(request: Any, place: Place, policy: EscalationPolicy | None, form: PolicyForm, steps: Any) -> HttpResponse:
    fields = form.values() | {"steps": [step for one in steps if (step := one.step())]}
    if policy is None:
        policy = rules.create_policy(place.tenant, request.user, **fields)
    else:
        version = number_in(request.POST.get("version"))
        policy = rules.update_policy(policy, request.user, expected_version=version, **fields)
    messages.success(request, f"The policy {policy.name} is saved.")
    return redirect(place.policies_page())


def _add_problems(form: PolicyForm, invalid: ValidationError) -> None:
    ours = {"repeat_seconds": "repeat"}
    for name, said in invalid.message_dict.items():
        field = ours.get(name, name)
        form.add_error(field if field in form.fields else None, said)


@require_POST
def delete(request: Any, place: Place, policy_id: UUID) -> HttpResponse:
    """Refused while rules name it: they would call by another policy, or nobody, without anybody having said so."""
    policy = _found(place, policy_id)
    if named := place.rules.filter(policy=policy).count():
        count = "1 rule names" if named == 1 else f"{named} rules name"
        reason = f"{count} {policy.name}. Nothing was changed: let them name another policy first."
        return not_done(request, place.section, reason, place.policy(policy.pk))
    rules.delete_policy(policy, request.user)
    messages.success(request, f"The policy {policy.name} is deleted.")
    return redirect(place.policies_page())


def _found(place: Place, policy_id: UUID) -> EscalationPolicy:
    """Raises Http404."""
    found = place.policies.filter(pk=policy_id).first()
    if found is None:
        raise Http404
    return found
