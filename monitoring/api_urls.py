from django.urls import path

from monitoring import api
from monitoring.alerting import api as alerting

urlpatterns = [
    path("monitoring/metrics", api.MetricsView.as_view(), name="api_metrics"),
    path("monitoring/series", api.SeriesView.as_view(), name="api_series"),
    path("monitoring/alerts", alerting.AlertListView.as_view(), name="api_alerts"),
    path("monitoring/alerts/<uuid:id>", alerting.AlertView.as_view(), name="api_alert"),
    path("monitoring/alerts/<uuid:id>/acknowledge", alerting.AcknowledgeView.as_view(), name="api_alert_acknowledge"),
    path(
        "monitoring/alerts/<uuid:id>/unacknowledge",
        alerting.UnacknowledgeView.as_view(),
        name="api_alert_unacknowledge",
    ),
    path("monitoring/alerts/<uuid:id>/silence", alerting.SilenceAlertView.as_view(), name="api_alert_silence"),
    path("monitoring/alerts/<uuid:id>/resolve", alerting.ResolveView.as_view(), name="api_alert_resolve"),
    path("monitoring/alertmanager", alerting.AlertmanagerView.as_view(), name="api_alertmanager"),
    path("monitoring/rules", alerting.RuleListView.as_view(), name="api_alert_rules"),
    path("monitoring/rules/dry-run", alerting.RuleTrialView.as_view(), name="api_alert_rule_trial"),
    path("monitoring/rules/<uuid:id>", alerting.RuleView.as_view(), name="api_alert_rule"),
    path("monitoring/silences", alerting.SilenceListView.as_view(), name="api_silences"),
    path("monitoring/silences/<uuid:id>", alerting.SilenceView.as_view(), name="api_silence"),
    path("monitoring/silences/<uuid:id>/end", alerting.EndSilenceView.as_view(), name="api_silence_end"),
    path("monitoring/escalation-policies", alerting.PolicyListView.as_view(), name="api_escalation_policies"),
    path("monitoring/escalation-policies/<uuid:id>", alerting.PolicyView.as_view(), name="api_escalation_policy"),
    path("tenant/metrics", api.TenantMetricsView.as_view(), name="api_tenant_metrics"),
]
