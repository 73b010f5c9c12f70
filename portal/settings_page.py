"""A tenant's name and time zone. Its admins' page."""

from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from deployments.views import PageRequest
from events import channels
from events.channels import Topic
from portal.changed import Difference
from tenants import actions
from tenants.access import tenant_page
from tenants.models import Role, Tenant, validate_time_zone

FIELDS = {"name": "Name", "time_zone": "Time zone"}


class SettingsForm(forms.Form):
    """`seen_*` is what the page showed, so that nobody overwrites what they have not seen."""

    name = forms.CharField(max_length=150, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    time_zone = forms.CharField(
        label="Time zone",
        max_length=64,
        validators=[validate_time_zone],
        help_text="Days begin and end, and invoices are dated, by this zone. Type a part of it to find it.",
        widget=forms.TextInput(attrs={"list": "time-zones", "autocomplete": "off"}),
    )
    seen_name = forms.CharField(required=False, widget=forms.HiddenInput)
    seen_time_zone = forms.CharField(required=False, widget=forms.HiddenInput)

    @classmethod
    def showing(cls, tenant: Tenant) -> "SettingsForm":
        return cls(initial={name: getattr(tenant, name.removeprefix("seen_")) for name in cls.base_fields})

    def seen(self) -> dict[str, str]:
        return {field: self.cleaned_data[f"seen_{field}"] for field in FIELDS}

    def differences(self, now: Tenant) -> tuple[Difference, ...]:
        return tuple(Difference(label, self.seen()[field], getattr(now, field)) for field, label in FIELDS.items())

    def seeing(self, now: Tenant) -> "SettingsForm":
        """The same input, by somebody who has seen how it is now: sending it again overwrites that on purpose."""
        typed = {name: self.data.get(name, "") for name in self.fields}
        return SettingsForm(typed | {f"seen_{field}": getattr(now, field) for field in FIELDS})


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def tenant_settings(request: PageRequest) -> HttpResponse:
    activity = channels.tenant(request.tenant.id, Topic.ACTIVITY)
    live = request.live.follow(activity)
    tenant = Tenant.objects.get(pk=request.tenant.pk)  # read behind the channel's position
    form = SettingsForm(request.POST) if request.method == "POST" else SettingsForm.showing(tenant)
    context = {"section": "settings", "live": live, "activity": activity, "zones": sorted(available_timezones())}
    status = 200
    if request.method == "POST" and form.is_valid():
        wanted = {field: form.cleaned_data[field] for field in FIELDS}
        try:
            actions.update_tenant(tenant, request.user, **wanted, seen=form.seen())
        except actions.StaleVersion as stale:
            tenant = Tenant.objects.get(pk=tenant.pk)
            context |= {"refused": stale, "differences": form.differences(tenant)}
            form, status = form.seeing(tenant), 409
        except ValidationError as invalid:
            for field, errors in invalid.message_dict.items():
                form.add_error(field if field in FIELDS else None, errors)
        else:
            messages.success(request, "Saved.")
            return redirect("tenant_settings", request.tenant.slug)
    context |= {"form": form, "now": tenant, "local_time": datetime.now(ZoneInfo(tenant.time_zone))}
    return render(request, "portal/settings.html", context, status=status)
