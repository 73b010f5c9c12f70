from django.contrib import admin

from accounts.admin_site import ActionAdmin
from events.admin import ReadOnlyAdmin
from notifications.models import Inbox, Notice, Notification


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin, ActionAdmin):
    list_display = ["title", "tenant", "level", "sender_name", "sent_at"]
    list_filter = ["level", "tenant"]
    list_select_related = ["tenant"]
    search_fields = ["title", "message", "sender_name", "tenant__name"]
    date_hierarchy = "sent_at"


@admin.register(Inbox)
class InboxAdmin(ReadOnlyAdmin, ActionAdmin):
    list_display = ["user", "email", "unread", "version"]
    list_select_related = ["user"]
    search_fields = ["user__email", "user__name"]

    @admin.display(ordering="user__email")
    def email(self, inbox: Inbox) -> str:
        return inbox.user.email


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin, ActionAdmin):
    """What people were told, and what they made of it. Theirs to read and remove: nobody does it for them."""

    list_display = ["title", "user", "tenant", "kind", "level", "created_at", "read_at", "removed_at"]
    list_filter = ["kind", "level", "tenant"]
    list_select_related = ["user", "tenant"]
    search_fields = ["title", "message", "user__email", "user__name", "tenant__name", "=source"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
