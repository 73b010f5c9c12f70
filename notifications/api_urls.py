from django.urls import path

from notifications import api

urlpatterns = [
    path("notifications", api.InboxView.as_view(), name="api_notifications"),
    path("notifications/count", api.CountView.as_view(), name="api_notifications_count"),
    path("notifications/read", api.ReadView.as_view(), name="api_notifications_read"),
    path("notifications/read-all", api.ReadAllView.as_view(), name="api_notifications_read_all"),
    path("notifications/mark-unread", api.MarkUnreadView.as_view(), name="api_notifications_mark_unread"),
    path("notifications/archive", api.ArchiveView.as_view(), name="api_notifications_archive"),
    path("notifications/unarchive", api.UnarchiveView.as_view(), name="api_notifications_unarchive"),
    path("notifications/remove", api.RemoveView.as_view(), name="api_notifications_remove"),
    path("notifications/restore", api.RestoreView.as_view(), name="api_notifications_restore"),
    path("notifications/<uuid:id>", api.NotificationView.as_view(), name="api_notification"),
    path("notifications/preferences", api.PreferencesView.as_view(), name="api_notifications_preferences"),
]
