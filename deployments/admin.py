from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.admin_site import ActionAdmin, who
from accounts.models import User
from deployments import actions
from deployments.models import Deployment, Release, Stack
from events.admin import ReadOnlyAdmin


@admin.register(Stack)
class StackAdmin(ActionAdmin):
    """Drafts can be changed; what is approved is read-only, and is changed by making its next version."""

    list_display = ["name", "slug", "version", "approved", "approved_at", "approved_by"]
    list_filter = ["slug"]
    list_select_related = ["approved_by"]
    search_fields = ["slug", "name"]
    fields = ["slug", "version", "name", "description", "steps", "parameters", "approved_at", "approved_by"]
    readonly_fields = ["version", "approved_at", "approved_by"]
    actions = ["approve", "make_next_version"]

    def has_change_permission(self, request: HttpRequest, obj: Stack | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.is_approved)

    def has_delete_permission(self, request: HttpRequest, obj: Stack | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and obj.is_approved)

    def get_readonly_fields(self, request: HttpRequest, obj: Stack | None = None) -> list[str]:
        return ["slug", *self.readonly_fields] if obj else list(self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: Stack, form: Any, change: bool) -> None:
        actions.save_draft(obj)

    def delete_model(self, request: HttpRequest, obj: Stack) -> None:
        actions.delete_draft(obj)

    @admin.display(boolean=True)
    def approved(self, stack: Stack) -> bool:
        return stack.is_approved

    @admin.action(description="Approve: offer this version to every tenant, and freeze it", permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Stack]) -> None:
        for stack in queryset.order_by("slug", "version"):
            self.message_user(request, f"{actions.approve(stack, by=who(request))} is approved.")

    @admin.action(description="Make the next version, as a draft", permissions=["add"])
    def make_next_version(self, request: HttpRequest, queryset: QuerySet[Stack]) -> None:
        for stack in queryset.order_by("slug", "version"):
            self.message_user(request, f"{actions.new_version(stack)} is a draft now. Change it, then approve it.")


@admin.register(Release)
class ReleaseAdmin(ReadOnlyAdmin, ActionAdmin):
    """Secrets show as keyed hashes; not even the sealed text is here."""

    list_display = ["short_digest", "tenant", "stack", "stack_version", "created_at"]
    list_select_related = ["tenant", "stack"]
    search_fields = ["digest", "=tenant__slug"]
    search_help_text = "A digest, or a tenant's slug"
    fields = ["digest", "tenant", "stack", "stack_version", "steps", "parameters", "created_at"]


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin, ActionAdmin):
    """Read-only, but for what actions can do: cancel and retry."""

    list_display = ["title", "tenant", "status", "requester_name", "created_at", "ended_at", "reason"]
    list_filter = ["status"]
    list_select_related = ["tenant", "release__stack"]
    search_fields = ["name", "=number", "requester_name", "=tenant__slug"]
    search_help_text = "A name or number, who asked, or a tenant's slug"
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    exclude = ["idempotency_key", "request_hash"]
    readonly_fields = ["digest"]
    actions = ["cancel", "retry"]

    def view_on_site(self, deployment: Deployment) -> str:
        """Where platform admins watch it live; the tenant's own page is its members'."""
        return reverse("ops_deployment", args=[deployment.pk])

    @admin.display(description="Digest")
    def digest(self, deployment: Deployment) -> str:
        return format_html("<code>{}</code>", deployment.release.digest)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return who(request).has_perm("deployments.change_deployment")

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> None:
        self._each(request, queryset, actions.cancel, "Cancel asked: {}.")

    @admin.action(description="Retry", permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> None:
        self._each(request, queryset, actions.retry, "Queued: {}.")

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[Deployment],
        action: Callable[[Deployment, User], Deployment],
        words: str,
    ) -> None:
        """Apply it to each by itself: what is refused for one is said, and the others go on."""
        for deployment in queryset.select_related("tenant").order_by("created_at"):
            try:
                self.message_user(request, words.format(action(deployment, who(request))))
            except actions.Refused as refused:
                self.message_user(request, str(refused), messages.ERROR)
