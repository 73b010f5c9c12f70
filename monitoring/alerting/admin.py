"""Rules, policies, silences and alerts, of every tenant and of the platform. Changes go through the actions."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin_site import ActionAdmin, who
from events.admin import ReadOnlyAdmin, UncountedPaginator
from monitoring.alerting import rules, silences
from monitoring.alerting.models import Alert, AlertRule, EscalationPolicy, Silence


class OwnedAdmin(ActionAdmin):
    """What belongs to a tenant or, without one, to the platform. Whose it is is said once, when it is made."""

    list_select_related = ["tenant"]
    raw_id_fields = ["tenant"]
    empty_value_display = "—"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["tenant", *self.readonly_fields] if obj else list(self.readonly_fields)


@admin.register(AlertRule)
class AlertRuleAdmin(OwnedAdmin):
    list_display = ["name", "tenant", "metric", "kind", "severity", "enabled"]
    list_filter = ["enabled", "severity", "kind"]
    raw_id_fields = ["tenant", "policy"]
    search_fields = ["name", "metric", "=tenant__slug"]
    ordering = ["tenant__name", "name"]
    fields = ["tenant", *rules.RULE_FIELDS, "version"]
    readonly_fields = ["version"]

    def save_model(self, request: HttpRequest, obj: AlertRule, form: Any, change: bool) -> None:
        wanted = {name: getattr(obj, name) for name in rules.RULE_FIELDS}
        if change:
            rules.update_rule(AlertRule.objects.get(pk=obj.pk), who(request), **wanted)
        else:
            obj.pk = rules.create_rule(obj.tenant, who(request), **wanted).pk

    def delete_model(self, request: HttpRequest, obj: AlertRule) -> None:
        rules.delete_rule(obj, by=who(request))


@admin.register(EscalationPolicy)
class EscalationPolicyAdmin(OwnedAdmin):
    list_display = ["name", "tenant", "is_default", "repeat_seconds"]
    list_filter = ["is_default"]
    search_fields = ["name", "=tenant__slug"]
    ordering = ["tenant__name", "name"]
    fields = ["tenant", *rules.POLICY_FIELDS, "version"]
    readonly_fields = ["version"]

    def save_model(self, request: HttpRequest, obj: EscalationPolicy, form: Any, change: bool) -> None:
        wanted = {name: getattr(obj, name) for name in rules.POLICY_FIELDS}
        if change:
            rules.update_policy(EscalationPolicy.objects.get(pk=obj.pk), who(request), **wanted)
        else:
            obj.pk = rules.create_policy(obj.tenant, who(request), **wanted).pk

    def delete_model(self, request: HttpRequest, obj: EscalationPolicy) -> None:
        rules.delete_policy(obj, by=who(request))


@admin.register(Silence)
class SilenceAdmin(ReadOnlyAdmin, ActionAdmin):
    list_display = ["__str__", "tenant", "reason", "created_by_name", "expires_at", "ended_at"]
    list_select_related = ["tenant"]
    search_fields = ["reason", "created_by_name", "=tenant__slug"]
    ordering = ["-id"]
    actions = ["end"]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return who(request).has_perm("monitoring.change_silence")

    @admin.action(description="End: what they silence fires again", permissions=["operate"])
    def end(self, request: HttpRequest, queryset: QuerySet[Silence]) -> None:
        for silence in queryset.select_related("tenant").order_by("id"):
            self.message_user(request, f"The silence of {silences.end_silence(silence, by=who(request))} has ended.")


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin, ActionAdmin):
    list_display = ["name", "tenant", "severity", "state", "message", "started_at", "resolved_at"]
    list_filter = ["state", "severity", "source"]
    list_select_related = ["tenant"]
    search_fields = ["name", "=key", "=tenant__slug"]
    ordering = ["-id"]
    show_full_result_count = False
    paginator = UncountedPaginator
