"""API keys of a tenant: create one, whose secret is shown once, and revoke it. Its admins' page."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.timezone import localtime
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods

from deployments.views import PageRequest
from events import channels
from events.channels import Topic
from portal.changed import not_done
from tenants import actions
from tenants.access import tenant_page
from tenants.models import ApiKey, Role, Scope, Tenant

#: What each scope lets a service do, in words for whoever ticks it.
MEANS = {
    Scope.EVENTS_READ: "Read the log of everything that happens here, in order.",
    Scope.EVENTS_PUBLISH: "Publish notices and other events into this company's channels.",
    Scope.DEPLOYMENTS_READ: "See deployments, their steps and their logs.",
    Scope.DEPLOYMENTS_WRITE: "Deploy approved stacks, cancel and retry.",
    Scope.METRICS_WRITE: "Send the samples that the charts show.",
    Scope.USAGE_WRITE: "Record what is used, which is billed.",
    Scope.ALERTS_WRITE: "Raise alerts and end them.",
}


@dataclass(frozen=True, slots=True)
class KeyRow:
    key: ApiKey

    @property
    def scopes(self) -> list[str]:
        """In words; a scope that the product no longer has keeps its name."""
        words = dict(Scope.choices)
        return [words.get(scope, scope) for scope in self.key.scopes]

    @property
    def state(self) -> str:
        if self.key.revoked:
            return "revoked"
        return "expired" if self.key.has_expired else "works"


@require_GET
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def api_keys(request: PageRequest) -> HttpResponse:
    """Those that work first: what was revoked or expired is history."""
    activity = channels.tenant(request.tenant.id, Topic.ACTIVITY)
    live = request.live.follow(activity)
    rows = [KeyRow(key) for key in _keys(request.tenant)]
    context = {
        "section": "keys",
        "live": live,
        "activity": activity,
        "as_of": timezone.now(),
        "rows": sorted(rows, key=lambda row: row.state != "works"),
    }
    return render(request, "portal/keys/list.html", context)


def _keys(tenant: Tenant) -> Any:
    return ApiKey.objects.filter(tenant=tenant).select_related("created_by").order_by("-created")


# --- Creating ---------------------------------------------------------------------------------------------------------


class KeyForm(forms.Form):
    name = forms.CharField(max_length=50, help_text="What uses it, for instance “ci” or “billing export”.")
    scopes = forms.MultipleChoiceField(
        label="What it may do", choices=Scope.choices, widget=forms.CheckboxSelectMultiple
    )
    expires = forms.DateField(
        label="Works until", required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )

    def __init__(self, tenant: Tenant, data: Any = None) -> None:
        super().__init__(data)
        self.zone = ZoneInfo(tenant.time_zone)
        self.fields["expires"].help_text = f"The end of that day in {tenant.time_zone}. Empty: until it is revoked."

    def scope_choices(self) -> list[tuple[str, str, str, bool]]:
        """Name, label, meaning, whether it is ticked."""
        ticked = self["scopes"].value() or []
        return [(scope.value, scope.label, MEANS[scope], scope.value in ticked) for scope in Scope]

    def clean_expires(self) -> datetime | None:
        day: date | None = self.cleaned_data["expires"]
        if day is None:
            return None
        if day < localtime(timezone=self.zone).date():
            raise ValidationError("That day is over. Choose today or a later one.")
        return datetime.combine(day, time(23, 59, 59), self.zone).astimezone(UTC)


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
@sensitive_variables("secret", "context")
def create(request: PageRequest) -> HttpResponse:
    """The answer to the form is the only place where the secret ever stands: no session, log or event has it.

    Sending the same form again, which a reload of the answer is, creates no second key.
    """
    live = request.live.follow()
    context: dict[str, Any] = {"section": "keys", "live": live}
    if request.method != "POST":
        context |= {"form": KeyForm(request.tenant), "idempotency_key": uuid4()}
        return render(request, "portal/keys/create.html", context)
    form, idempotency_key = KeyForm(request.tenant, request.POST), request.POST.get("idempotency_key", "")[:255]
    if form.is_valid():
        wanted = form.cleaned_data
        try:
            key, secret = actions.create_api_key(
                request.tenant,
                wanted["name"],
                wanted["scopes"],
                request.user,
                expiry_date=wanted["expires"],
                idempotency_key=idempotency_key,
            )
        except actions.CreatedAlready as refused:
            return not_done(request, "keys", str(refused), _address(request))
        return render(request, "portal/keys/created.html", context | {"row": KeyRow(key), "secret": secret})
    context |= {"form": form, "idempotency_key": idempotency_key or uuid4()}
    return render(request, "portal/keys/create.html", context)


# --- Revoking ---------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def revoke(request: PageRequest, key_id: UUID) -> HttpResponse:
    """A secret can't be given back, so this asks first: in a dialog of the list, or here without JavaScript."""
    live = request.live.follow()
    key = _keys(request.tenant).filter(pk=key_id).first()
    if key is None:
        raise Http404
    if request.method != "POST":
        return render(request, "portal/keys/revoke.html", {"section": "keys", "live": live, "row": KeyRow(key)})
    actions.revoke_api_key(key, by=request.user)
    messages.success(request, f"The API key {key.name} is revoked: whatever still uses it is refused from now on.")
    return redirect("api_keys", request.tenant.slug)


def _address(request: PageRequest) -> str:
    return reverse("api_keys", args=[request.tenant.slug])
