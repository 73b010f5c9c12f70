from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin_site import ActionAdmin
from events.admin import ReadOnlyAdmin
from notifications import mails
from notifications.models import Cause, Habits, Inbox, Mail, Notice, Notification, Preference


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin, ActionAdmin):
    list_display = ["title", "tenant", "level", "sender_name", "sent_at"]
    list_filter = ["level"]
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

    list_display = [
        *["title", "user", "tenant", "kind", "level"],
        *["created_at", "read_at", "archived_at", "removed_at", "solved_at"],
    ]
    list_filter = ["kind", "level"]
    list_select_related = ["user", "tenant"]
    search_fields = ["title", "message", "user__email", "user__name", "tenant__name", "=source"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]


@admin.register(Cause)
class CauseAdmin(ReadOnlyAdmin, ActionAdmin):
    """What notifications were failures of, and what ended it."""

    list_display = ["key", "tenant", "solved_order", "solved_at", "solved_by"]
    list_select_related = ["tenant"]
    search_fields = ["key", "tenant__name"]
    date_hierarchy = "created_at"


@admin.register(Mail)
class MailAdmin(ReadOnlyAdmin, ActionAdmin):
    """Every e-mail about notifications: what waits, what went, and why the rest did not."""

    list_display = ["subject_or_key", "user", "state", "attempts", "due_at", "ended_at", "error"]
    list_filter = ["state", "due_at"]
    list_select_related = ["user"]
    search_fields = ["subject", "address", "user__email", "user__name", "=id"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    actions = ["send_again"]

    @admin.display(description="Mail")
    def subject_or_key(self, mail: Mail) -> str:
        return mail.subject or mail.title

    @admin.action(description="Send those that failed after all")
    def send_again(self, request: HttpRequest, queryset: QuerySet[Mail]) -> None:
        count = sum(mails.try_again(mail) for mail in queryset)
        self.message_user(request, f"{count} of them are tried again now.")


@admin.register(Preference)
class PreferenceAdmin(ReadOnlyAdmin, ActionAdmin):
    """What people chose: theirs alone."""

    list_display = ["user", "kind", "way", "choice"]
    list_filter = ["way", "choice", "kind"]
    list_select_related = ["user"]
    search_fields = ["user__email", "user__name", "kind"]


@admin.register(Habits)
class HabitsAdmin(ReadOnlyAdmin, ActionAdmin):
    list_display = ["user", "time_zone", "digest_at", "quiet_from", "quiet_until", "urgent_anyway"]
    list_select_related = ["user"]
    search_fields = ["user__email", "user__name", "time_zone"]
