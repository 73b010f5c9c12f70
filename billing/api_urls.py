from django.urls import path

from billing import api, api_invoices, api_platform

urlpatterns = [
    path("billing/usage", api.UsageView.as_view(), name="api_usage"),
    path("billing/usage/records", api.RecordListView.as_view(), name="api_usage_records"),
    path("billing/meters", api.MeterListView.as_view(), name="api_meters"),
    path("billing/plans", api.PlanListView.as_view(), name="api_plans"),
    path("billing/subscription", api.SubscriptionView.as_view(), name="api_subscription"),
    path("billing/subscription/preview", api.PreviewView.as_view(), name="api_subscription_preview"),
    path("billing/subscription/start", api.StartView.as_view(), name="api_subscription_start"),
    path("billing/subscription/change", api.ChangeView.as_view(), name="api_subscription_change"),
    path("billing/subscription/cancel", api.CancelView.as_view(), name="api_subscription_cancel"),
    path("billing/thresholds", api.ThresholdListView.as_view(), name="api_thresholds"),
    path("billing/thresholds/remove", api.ThresholdRemoveView.as_view(), name="api_threshold_remove"),
    path("billing/invoices", api_invoices.InvoiceListView.as_view(), name="api_invoices"),
    path("billing/invoices/projected", api_invoices.ProjectedView.as_view(), name="api_invoice_projected"),
    path(
        "billing/invoices/projected/lines/<int:position>/records",
        api_invoices.ProjectedRecordsView.as_view(),
        name="api_projected_records",
    ),
    path("billing/invoices/<uuid:invoice_id>", api_invoices.InvoiceView.as_view(), name="api_invoice"),
    path(
        "billing/invoices/<uuid:invoice_id>/lines/<int:position>/records",
        api_invoices.RecordsView.as_view(),
        name="api_invoice_records",
    ),
    path("billing/invoices/<uuid:invoice_id>/pay", api_invoices.PayView.as_view(), name="api_invoice_pay"),
    path("billing/invoices/<uuid:invoice_id>/refund", api_invoices.RefundView.as_view(), name="api_invoice_refund"),
    path("billing/invoices/<uuid:invoice_id>/void", api_invoices.VoidView.as_view(), name="api_invoice_void"),
    path("billing/invoices/<uuid:invoice_id>/collect", api_invoices.CollectView.as_view(), name="api_invoice_collect"),
    path(
        "billing/invoices/<uuid:invoice_id>/paid-by-hand", api_invoices.ByHandView.as_view(), name="api_invoice_by_hand"
    ),
    path("billing/platform/revenue", api_platform.RevenueView.as_view(), name="api_platform_revenue"),
    path("billing/platform/failed", api_platform.FailedView.as_view(), name="api_platform_failed"),
    path("billing/platform/thresholds", api_platform.ReachedView.as_view(), name="api_platform_thresholds"),
    path("billing/payment-method", api_invoices.MethodView.as_view(), name="api_payment_method"),
    path("billing/webhooks/<slug:gateway>", api_invoices.callback, name="api_gateway_callback"),
]
