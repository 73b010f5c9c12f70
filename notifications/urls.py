from django.urls import path

from notifications import views

urlpatterns = [
    path("notifications/", views.inbox, name="notifications"),
    path("notifications/change/", views.change, name="change_notifications"),
    path("notifications/preferences/", views.preferences, name="notification_preferences"),
    path("notifications/unsubscribe/<str:token>/", views.unsubscribe, name="unsubscribe"),
    path("t/<slug:slug>/notices/", views.notices, name="notices"),
    path("t/<slug:slug>/notices/new/", views.send_notice, name="send_notice"),
]
