from typing import Any

import rest_framework_api_key.admin  # noqa: F401  registers APIKey
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from rest_framework_api_key.models import APIKey as KeyOfNoTenant

from accounts.admin_site import ActionAdmin, who
from tenants import actions
from tenants.models import ApiKey, Membership, Role, Scope, Tenant

# The library's own keys: they would open nothing here.
admin.site.unregister(KeyOfNoTenant)


class NoDelete(ActionAdmin):
    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Tenant)
class TenantAdmin(ActionAdmin):
    """Tenants. To delete one takes its name, typed; suspending it is what can be undone."""

    list_display = ["name", "slug", "members", "is_suspended", "created_at"]
    search_fields = ["name", "slug"]
    readonly_fields = ["suspended_at", "created_at", "version"]
    actions = ["suspend", "resume"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        tenants: QuerySet[Tenant] = super().get_queryset(request)
        return tenants.annotate(member_count=Count("memberships"))

    def get_readonly_fields(self, request: HttpRequest, obj: Tenant | None = None) -> list[str]:
        return ["slug", *self.readonly_fields] if obj else list(self.readonly_fields)

    @admin.display(description="Members", ordering="member_count")
    def members(self, tenant: Tenant) -> int:
        return tenant.member_count  # type: ignore[attr-defined, no-any-return]

    @admin.display(description="Suspended", boolean=True)
    def is_suspended(self, tenant: Tenant) -> bool:
        return tenant.is_suspended

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        by = who(request)
        if change:
            actions.update_tenant(obj, by, name=obj.name, time_zone=obj.time_zone)
        else:
            obj.pk = actions.create_tenant(obj.slug, obj.name, by, time_zone=obj.time_zone).pk
        actions.allow_deployments(obj, obj.deployments_at_once, by)
        obj.refresh_from_db()

    def view_on_site(self, tenant: Tenant) -> str:
        return reverse("ops_tenant", args=[tenant.slug])

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Says what goes with it, and asks for its name. Django's own page would list each row."""
        tenant = self.get_object(request, unquote(object_id))
        if tenant is None or not self.has_delete_permission(request, tenant):
            return super().delete_view(request, object_id, extra_context)
        if request.method == "POST" and request.POST.get("name", "").strip() == tenant.name:
            return self._or_say_why(request, self._delete, tenant)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "tenant": tenant,
            "title": f"Delete {tenant}?",
            "goes": actions.what_goes_with(tenant),
            "is_misspelt": request.method == "POST",
        }
        return TemplateResponse(request, "tenants/admin_delete.html", context)

    def _delete(self, request: HttpRequest, tenant: Tenant) -> HttpResponse:
        actions.delete_tenant(tenant, by=who(request))
        self.message_user(request, f"{tenant} was deleted with everything that was its own.", messages.SUCCESS)
        return redirect("admin:tenants_tenant_changelist")

    @admin.action(description="Suspend: end the access of all members and keys")
    def suspend(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        for tenant in queryset.order_by("pk"):
            actions.suspend(tenant, by=who(request))

    @admin.action(description="Resume")
    def resume(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        for tenant in queryset.order_by("pk"):
            actions.resume(tenant, by=who(request))


class MemberForm(forms.ModelForm):  # type: ignore[type-arg]
    email = forms.EmailField(help_text="Somebody new gets a link to set a password, anybody else a mail that says so.")
    name = forms.CharField(required=False, max_length=150, help_text="For somebody new.")

    class Meta:
        model = Membership
        fields = ["tenant", "role"]


@admin.register(Membership)
class MembershipAdmin(ActionAdmin):
    list_display = ["user", "email", "tenant", "role", "created_at"]
    list_filter = ["role"]
    raw_id_fields = ["tenant"]
    list_select_related = ["user", "tenant"]
    search_fields = ["user__email", "user__name", "tenant__name"]

    def get_form(self, request: HttpRequest, obj: Membership | None = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs if obj else kwargs | {"form": MemberForm})

    def get_fields(self, request: HttpRequest, obj: Membership | None = None) -> Any:
        return ["tenant", "user", "role"] if obj else ["tenant", "email", "name", "role"]

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> list[str]:
        return ["tenant", "user"] if obj else []

    @admin.display(ordering="user__email")
    def email(self, membership: Membership) -> str:
        return membership.user.email

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        by = who(request)
        if change:
            actions.change_role(Membership.objects.get(pk=obj.pk), Role(obj.role), by)
            return
        wanted = form.cleaned_data
        added = actions.add_member(obj.tenant, wanted["email"], Role(obj.role), by, name=wanted["name"])
        obj.pk, obj.user = added.pk, added.user

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        actions.remove_member(obj, by=who(request))


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiKey
        fields = ["tenant", "name", "scopes", "expiry_date"]


@admin.register(ApiKey)
class ApiKeyAdmin(NoDelete):
    """Keys. The secret of a new one is shown once; afterwards a key can only be revoked."""

    form = ApiKeyForm
    list_display = ["name", "tenant", "prefix", "scopes", "created", "last_used_at", "expiry_date", "revoked"]
    list_filter = ["revoked"]
    raw_id_fields = ["tenant"]
    list_select_related = ["tenant"]
    search_fields = ["name", "prefix", "tenant__name"]
    actions = ["revoke"]

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        shown = ["prefix", "created", "created_by", "last_used_at", "revoked"]
        return ["tenant", "name", "scopes", "expiry_date", *(shown if obj else [])]

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        by = who(request)
        key, secret = actions.create_api_key(obj.tenant, obj.name, obj.scopes, by, expiry_date=obj.expiry_date)
        obj.pk = key.pk
        text = f"Copy the secret of {key} now, it is not shown again: {secret}"
        self.message_user(request, text, messages.WARNING)

    @admin.action(description="Revoke: it can't be given back")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset.order_by("pk"):
            actions.revoke_api_key(key, by=who(request))
