from django.contrib import admin
from django.urls import include, path

from neostack import health, openapi

urlpatterns = [
    path("", include("portal.urls")),
    path("t/<slug:slug>/deployments/", include("deployments.urls")),
    path("t/<slug:slug>/billing/", include("billing.urls")),
    path("", include("notifications.urls")),
    path("ops/", include("portal.ops.urls")),
    path("accounts/", include("accounts.urls")),
    path("admin/", admin.site.urls),
    path("api/", include("realtime.urls")),
    path("api/", include("deployments.api_urls")),
    path("api/", include("billing.api_urls")),
    path("api/", include("monitoring.api_urls")),
    path("api/", include("notifications.api_urls")),
    path("api/schema", openapi.schema, name="schema"),
    path("api/docs", openapi.docs, name="api_docs"),
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
]

handler404 = "tenants.access.page_not_found"
