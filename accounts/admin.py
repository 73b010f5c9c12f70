from typing import Any

import allauth.account.admin  # noqa: F401  registers EmailAddress
import django.contrib.auth.admin  # noqa: F401  registers Group
from allauth.account.models import EmailAddress
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import actions
from accounts.admin_site import ActionAdmin, who
from accounts.models import Invitation, User
from events.admin import ReadOnlyAdmin

# What people may do comes from memberships, and a person has one address: these two would only mislead.
admin.site.unregister(Group)
admin.site.unregister(EmailAddress)


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]
    is_superuser = forms.BooleanField(
        label="Platform admin", required=False, help_text="May open this site and the operations portal."
    )

    class Meta:
        model = User
        fields = ["email", "name", "is_active", "is_superuser"]


@admin.register(User)
class PersonAdmin(ActionAdmin):
    """People. A new one gets a link to set a password; nobody sets one for somebody else."""

    form = PersonForm
    list_display = ["email", "name", "is_active", "is_superuser", "invitation", "last_login"]
    list_filter = ["is_active", "is_superuser"]
    search_fields = ["email", "name"]
    ordering = ["email"]
    fields = ["email", "name", "is_active", "is_superuser", "invitation", "tenants", "last_login", "access_generation"]
    actions = ["send_invitations_again"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("invitations")

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.fields if obj else ["email", "name", "is_superuser"]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        shown = ["invitation", "tenants", "last_login", "access_generation"]
        return ["email", *shown] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # the log names people: they are disabled instead

    @admin.display(description="Invitation")
    def invitation(self, person: User) -> str:
        latest = next(iter(person.invitations.all()), None)
        if latest is None:
            return "none"
        latest.user = person
        return latest.state

    @admin.display(description="Tenants")
    def tenants(self, person: User) -> str:
        memberships = person.memberships.select_related("tenant")
        return ", ".join(f"{m.tenant} ({m.get_role_display()})" for m in memberships) or "none"

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.pk = actions.add_person(obj.email, obj.name, by=who(request)).pk
        self._apply(obj, form.cleaned_data, who(request))
        obj.refresh_from_db()

    def _apply(self, person: User, wanted: dict[str, Any], by: User) -> None:
        now = User.objects.get(pk=person.pk)
        if wanted.get("name", now.name) != now.name:
            actions.rename_person(now, wanted["name"])
        if wanted["is_superuser"] != now.is_superuser:
            (actions.grant_platform_admin if wanted["is_superuser"] else actions.take_platform_admin)(now, by)
        if wanted.get("is_active", now.is_active) != now.is_active:
            (actions.enable_person if wanted["is_active"] else actions.disable_person)(now, by)

    @admin.action(description="Send the invitation again")
    def send_invitations_again(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for person in queryset:
            invitation = person.invitations.first()
            if invitation is None:
                raise actions.Refused(f"{person} was never invited. Nothing was sent.")
            actions.resend_invitation(invitation)
        self.message_user(request, "The invitations are on their way; this list shows those that could not be sent.")


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin, ActionAdmin):
    """Who was told by mail, and what could not be sent."""

    list_display = ["user", "place", "invited_by", "created_at", "sent_at", "state"]
    list_select_related = ["user"]
    search_fields = ["user__email", "user__name", "place"]
    actions = ["send_again"]

    @admin.action(description="Send again")
    def send_again(self, request: HttpRequest, queryset: QuerySet[Invitation]) -> None:
        for invitation in queryset.select_related("user"):
            actions.resend_invitation(invitation)
        self.message_user(request, "They are on their way; this list shows those that could not be sent.")
