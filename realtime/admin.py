from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.admin_site import who
from events.admin import ReadOnlyAdmin
from realtime import actions
from realtime.models import ChannelPolicy, SigningKey


@admin.register(ChannelPolicy)
class ChannelPolicyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Permissions on channels. Goes through the actions: taking one away ends the connections of all who had it."""

    list_display = ["role", "action", "pattern"]
    list_filter = ["role", "action"]
    search_fields = ["pattern"]

    def save_model(self, request: HttpRequest, obj: ChannelPolicy, form: Any, change: bool) -> None:
        actions.save_policy(obj, by=who(request))

    def delete_model(self, request: HttpRequest, obj: ChannelPolicy) -> None:
        actions.delete_policies([obj], by=who(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ChannelPolicy]) -> None:
        actions.delete_policies(queryset, by=who(request))


@admin.register(SigningKey)
class SigningKeyAdmin(ReadOnlyAdmin):
    """Which keys are published, and which one signs. `manage.py rotate_realtime_keys` changes them."""

    list_display = ["kid", "state", "algorithm", "created_at", "signs_from", "signs_until"]
    search_fields = ["kid"]
    fields = ["kid", "state", "algorithm", "created_at", "signs_from", "signs_until", "public"]
    readonly_fields = ["state"]

    @admin.display()
    def state(self, key: SigningKey) -> str:
        return key.state_at(timezone.now())
