from django.urls import path

from portal.alert_pages import pages_of_the_platform
from portal.ops import (
    access,
    activity,
    billing,
    dead_letters,
    deployments,
    events,
    home,
    monitoring,
    rules,
    tenant_filter,
    tenants,
)

urlpatterns = [
    path("", home.ops_home, name="ops_home"),
    path("deployments/", deployments.ops_deployments, name="ops_deployments"),
    path("deployments/<uuid:deployment_id>/", deployments.ops_deployment, name="ops_deployment"),
    path("deployments/<uuid:deployment_id>/log/", deployments.ops_log_download, name="ops_log_download"),
    path("deployments/<uuid:deployment_id>/log/lines/", deployments.ops_log_lines, name="ops_log_lines"),
    path("deployments/<uuid:deployment_id>/log/search/", deployments.ops_log_search, name="ops_log_search"),
    path("billing/", billing.ops_billing, name="ops_billing"),
    path("billing/invoices/<slug:number>/", billing.ops_invoice, name="ops_invoice"),
    path("billing/invoices/<slug:number>/lines/<int:position>/", billing.ops_invoice_line, name="ops_invoice_line"),
    path("billing/invoices/<slug:number>/refund/", billing.refund_invoice, name="ops_refund"),
    path("billing/invoices/<slug:number>/void/", billing.void_invoice, name="ops_void"),
    path("events/", events.ops_events, name="ops_events"),
    path("events/<uuid:event_id>/", events.ops_event, name="ops_event"),
    path("dead-letters/", dead_letters.ops_dead_letters, name="ops_dead_letters"),
    path("dead-letters/retry/", dead_letters.retry_waiting, name="ops_retry_waiting"),
    path("dead-letters/<int:letter_id>/retry/", dead_letters.retry_letter, name="ops_retry_letter"),
    path("dead-letters/<int:letter_id>/skip/", dead_letters.skip_letter, name="ops_skip_letter"),
    path("activity/", activity.ops_activity, name="ops_activity"),
    path("monitoring/", monitoring.ops_monitoring, name="ops_monitoring"),
    *pages_of_the_platform(),
    path("monitoring/rules/", rules.ops_alert_rules, name="ops_alert_rules"),
    path("access/", access.ops_access, name="ops_access"),
    path("tenants/", tenants.ops_tenants, name="ops_tenants"),
    # Not below tenants/, where it would be a tenant's.
    path("tenant-names/", tenant_filter.ops_tenant_names, name="ops_tenant_names"),
    path("tenants/<slug:slug>/", tenants.ops_tenant, name="ops_tenant"),
    path("tenants/<slug:slug>/suspend/", tenants.suspend_tenant, name="ops_suspend"),
    path("tenants/<slug:slug>/resume/", tenants.resume_tenant, name="ops_resume"),
    path("jump/", home.ops_jump, name="ops_jump"),
    path("health/", home.ops_health, name="ops_health"),
]
