from django.urls import path

from realtime import api

#: The gate, /api/realtime/connect, is no view: see neostack.asgi.
urlpatterns = [
    path("events", api.FeedView.as_view(), name="events"),
    path("events/publish", api.PublishView.as_view(), name="publish"),
    path("realtime/token", api.ConnectionTokenView.as_view(), name="connection_token"),
    path("realtime/subscriptions", api.SubscriptionTokensView.as_view(), name="subscription_tokens"),
]
