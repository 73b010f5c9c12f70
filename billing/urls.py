from django.urls import path

from billing import views

urlpatterns = [
    path("", views.billing, name="billing"),
    path("invoices/", views.invoices, name="invoices"),
    path("invoices/<uuid:invoice_id>/", views.invoice_by_id, name="invoice_by_id"),
    path("invoices/<slug:number>/", views.invoice, name="invoice"),
    path("invoices/<slug:number>/pay/", views.pay, name="pay_invoice"),
    path("invoices/<slug:number>/lines/<int:position>/", views.invoice_line, name="invoice_line"),
    path("projected/", views.projected, name="projected_invoice"),
    path("projected/lines/<int:position>/", views.projected_line, name="projected_line"),
    path("plan/", views.plan, name="plan"),
    path("plan/change/", views.change_plan, name="change_plan"),
    path("plan/start/", views.start_plan, name="start_plan"),
    path("plan/cancel/", views.cancel_plan, name="cancel_plan"),
    path("payment-method/", views.payment_method, name="payment_method"),
    path("thresholds/", views.add_threshold, name="add_threshold"),
    path("thresholds/<int:threshold_id>/remove/", views.remove_threshold, name="remove_threshold"),
]
