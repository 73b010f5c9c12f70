from django.urls import path

from monitoring import api

urlpatterns = [
    path("monitoring/metrics", api.MetricsView.as_view(), name="api_metrics"),
    path("monitoring/series", api.SeriesView.as_view(), name="api_series"),
    path("tenant/metrics", api.TenantMetricsView.as_view(), name="api_tenant_metrics"),
]
