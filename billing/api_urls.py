from django.urls import path

from billing import api

urlpatterns = [
    path("billing/usage", api.UsageView.as_view(), name="api_usage"),
    path("billing/meters", api.MeterListView.as_view(), name="api_meters"),
    path("billing/plans", api.PlanListView.as_view(), name="api_plans"),
    path("billing/subscription", api.SubscriptionView.as_view(), name="api_subscription"),
    path("billing/subscription/change", api.ChangeView.as_view(), name="api_subscription_change"),
    path("billing/subscription/cancel", api.CancelView.as_view(), name="api_subscription_cancel"),
    path("billing/thresholds", api.ThresholdListView.as_view(), name="api_thresholds"),
    path("billing/thresholds/remove", api.ThresholdRemoveView.as_view(), name="api_threshold_remove"),
]
