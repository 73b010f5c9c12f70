"""What is sold is edited here; what was used, owed and paid is read. Rows of usage may be millions: not counted."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts.actions import Refused
from accounts.admin_site import ActionAdmin, who
from accounts.models import User
from billing import actions, payments
from billing.models import (
    CountedValue,
    Crossing,
    GatewayEvent,
    Invoice,
    InvoiceLine,
    LocalCharge,
    Meter,
    Payment,
    PaymentMethod,
    Period,
    Plan,
    Refund,
    Segment,
    Series,
    Subscription,
    Threshold,
    Usage,
    UsageRecord,
)
from events.admin import ReadOnlyAdmin, UncountedPaginator


class BillingAdmin(ReadOnlyAdmin, ActionAdmin):
    """A tenant's own, to be read."""

    search_help_text = "A tenant's slug"
    search_fields = ["=tenant__slug"]
    list_select_related = ["tenant"]
    show_full_result_count = False
    paginator = UncountedPaginator


@admin.register(Meter)
class MeterAdmin(ActionAdmin):
    """How a meter counts stays as it is: what was counted already would mean something else."""

    list_display = ["name", "slug", "unit", "aggregation"]
    search_fields = ["slug", "name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Meter | None = None) -> list[str]:
        return ["slug", "aggregation", "counted_property"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Meter | None = None) -> bool:
        return False


@admin.register(Plan)
class PlanAdmin(ActionAdmin):
    """Drafts can be changed; what is published is read-only, and is changed by making its next version."""

    list_display = ["name", "slug", "version", "published", "published_at", "currency"]
    list_filter = ["slug"]
    search_fields = ["slug", "name"]
    fields = ["slug", "version", "name", "description", "currency", "prices", "published_at"]
    readonly_fields = ["version", "published_at"]
    actions = ["publish", "make_next_version"]

    def has_change_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.is_published)

    def has_delete_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and obj.is_published)

    def get_readonly_fields(self, request: HttpRequest, obj: Plan | None = None) -> list[str]:
        return ["slug", *self.readonly_fields] if obj else list(self.readonly_fields)

    @admin.display(boolean=True)
    def published(self, plan: Plan) -> bool:
        return plan.is_published

    @admin.action(description="Publish: offer this version to every tenant, and freeze it", permissions=["change"])
    def publish(self, request: HttpRequest, queryset: QuerySet[Plan]) -> None:
        for plan in queryset.order_by("slug", "version"):
            self.message_user(request, f"{actions.publish(plan)} is published.")

    @admin.action(description="Make the next version, as a draft", permissions=["add"])
    def make_next_version(self, request: HttpRequest, queryset: QuerySet[Plan]) -> None:
        for plan in queryset.order_by("slug", "version"):
            self.message_user(request, f"{actions.new_version(plan)} is a draft now. Change it, then publish it.")


@admin.register(Subscription)
class SubscriptionAdmin(BillingAdmin):
    """Read-only, but for what actions can do: let it end with its period, and begin again."""

    list_display = ["tenant", "plan", "started_at", "cancelled_at", "ended_at"]
    list_filter = ["plan__slug"]
    list_select_related = ["tenant", "plan"]
    actions = ["cancel", "begin_again"]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return who(request).has_perm("billing.change_subscription")

    @admin.action(description="Cancel: let it end with its period", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        for subscription in queryset.select_related("tenant").order_by("pk"):
            actions.cancel(subscription.tenant, by=who(request))

    @admin.action(description="Begin again, where it has ended: by the same plan, from now on", permissions=["operate"])
    def begin_again(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        for subscription in queryset.select_related("tenant", "plan").order_by("pk"):
            actions.subscribe(subscription.tenant, actions.offered(subscription.plan.slug), by=who(request))


@admin.register(Period)
class PeriodAdmin(BillingAdmin):
    list_display = ["tenant", "starts_at", "ends_at", "zone", "closed_at"]


@admin.register(Segment)
class SegmentAdmin(BillingAdmin):
    list_display = ["tenant", "plan", "since", "until"]
    list_select_related = ["tenant", "plan", "period__tenant"]


@admin.register(UsageRecord)
class UsageRecordAdmin(BillingAdmin):
    list_display = ["recorded_at", "tenant", "meter", "quantity", "at", "key", "is_late"]
    list_filter = ["meter", "is_late"]
    list_select_related = ["tenant", "meter"]
    search_fields = ["=key", "=tenant__slug"]
    search_help_text = "A record's whole key, or a tenant's slug"
    ordering = ["-id"]


@admin.register(Usage)
class UsageAdmin(BillingAdmin):
    list_display = ["tenant", "meter", "period", "quantity", "records", "version"]
    list_filter = ["meter"]
    list_select_related = ["tenant", "meter", "period__tenant"]
    ordering = ["-id"]


@admin.register(CountedValue)
class CountedValueAdmin(BillingAdmin):
    list_display = ["tenant", "meter", "value"]
    list_select_related = ["tenant", "meter"]
    search_fields = ["=value", "=tenant__slug"]
    search_help_text = "A whole value, or a tenant's slug"
    ordering = ["-id"]


@admin.register(Threshold)
class ThresholdAdmin(BillingAdmin):
    list_display = ["tenant", "meter", "percent"]
    list_select_related = ["tenant", "meter"]


@admin.register(Crossing)
class CrossingAdmin(BillingAdmin):
    list_display = ["at", "tenant", "meter", "percent"]
    list_select_related = ["tenant", "meter"]
    ordering = ["-at"]


@admin.register(Series)
class SeriesAdmin(ReadOnlyAdmin, ActionAdmin):
    list_display = ["prefix", "next_number"]
    search_fields = ["prefix"]


@admin.register(Invoice)
class InvoiceAdmin(BillingAdmin):
    list_display = ["number", "tenant", "kind", "status", "sum", "issued_at", "due_at", "reason"]
    list_filter = ["status", "kind"]
    search_fields = ["=number", "=tenant__slug"]
    search_help_text = "An invoice's whole number, or a tenant's slug"
    readonly_fields = ["sum"]
    actions = ["collect", "take_by_hand", "refund", "void"]

    @admin.display(description="Total")
    def sum(self, invoice: Invoice) -> str:
        return invoice.total

    def has_pay_permission(self, request: HttpRequest) -> bool:
        return who(request).has_perm("billing.change_invoice")

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> HttpResponse | None:
        """Not in one transaction: gateways are asked between two of them."""
        return super(ActionAdmin, self).response_action(request, queryset, *args, **kwargs)

    @admin.action(description="Collect now", permissions=["pay"])
    def collect(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> None:
        self._each(request, queryset, lambda invoice: payments.pay(invoice, by=who(request)))

    @admin.action(description="Write down as paid in another way…", permissions=["pay"])
    def take_by_hand(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> HttpResponse | None:
        return self._with_a_reason(request, queryset, "take_by_hand", payments.take_by_hand)

    @admin.action(description="Give back what is left of it…", permissions=["pay"])
    def refund(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> HttpResponse | None:
        return self._with_a_reason(request, queryset, "refund", payments.refund)

    @admin.action(description="Give up (void)…", permissions=["pay"])
    def void(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> HttpResponse | None:
        return self._with_a_reason(request, queryset, "void", payments.void)

    def _with_a_reason(
        self, request: HttpRequest, queryset: QuerySet[Invoice], name: str, do: Callable[[Invoice, str, User], object]
    ) -> HttpResponse | None:
        """Asks first for the words that the tenant reads."""
        reason = request.POST.get("reason", "").strip()
        if not reason:
            title = self.get_actions(request)[name][2].rstrip("…")
            context = self.admin_site.each_context(request) | {"invoices": queryset, "title": title, "action": name}
            return TemplateResponse(request, "billing/admin_reason.html", context)
        self._each(request, queryset, lambda invoice: do(invoice, reason, who(request)))
        return None

    def _each(self, request: HttpRequest, queryset: QuerySet[Invoice], do: Callable[[Invoice], object]) -> None:
        """To each by itself: what is refused for one is said, and the others go on."""
        for invoice in queryset.select_related("tenant").order_by("created_at"):
            try:
                do(invoice)
                invoice.refresh_from_db(fields=["status", "reason"])
                self.message_user(request, f"{invoice} is {invoice.get_status_display().lower()}. {invoice.reason}")
            except Refused as refused:
                self.message_user(request, str(refused), messages.ERROR)


@admin.register(InvoiceLine)
class InvoiceLineAdmin(BillingAdmin):
    list_display = ["invoice", "position", "tenant", "description", "quantity", "unit_amount", "amount_minor"]
    list_select_related = ["tenant", "invoice"]
    search_fields = ["=invoice__number", "=tenant__slug"]
    search_help_text = "An invoice's whole number, or a tenant's slug"
    ordering = ["-invoice__created_at", "position"]


@admin.register(Payment)
class PaymentAdmin(BillingAdmin):
    list_display = ["created_at", "tenant", "invoice", "gateway", "status", "amount_minor", "currency", "reason"]
    list_filter = ["status", "gateway"]
    list_select_related = ["tenant", "invoice"]
    search_fields = ["=invoice__number", "=reference", "=tenant__slug"]
    search_help_text = "An invoice's number, a gateway's reference, or a tenant's slug"


@admin.register(GatewayEvent)
class GatewayEventAdmin(ReadOnlyAdmin, ActionAdmin):
    list_display = ["received_at", "gateway", "event_id"]
    list_filter = ["gateway"]
    search_fields = ["=event_id"]
    ordering = ["-id"]


@admin.register(Refund)
class RefundAdmin(BillingAdmin):
    list_display = ["created_at", "tenant", "payment", "status", "amount_minor", "currency", "purpose", "credit_note"]
    list_filter = ["status", "is_surplus"]
    list_select_related = ["tenant", "payment", "credit_note"]
    search_fields = ["=payment__invoice__number", "=reference", "=tenant__slug"]
    search_help_text = "An invoice's number, a gateway's reference, or a tenant's slug"


@admin.register(PaymentMethod)
class PaymentMethodAdmin(BillingAdmin):
    list_display = ["tenant", "gateway", "customer", "reference", "changed_at"]
    list_filter = ["gateway"]


@admin.register(LocalCharge)
class LocalChargeAdmin(ReadOnlyAdmin, ActionAdmin):
    """The books of the local test gateway."""

    list_display = ["created_at", "reference", "outcome", "minor", "currency", "refunds"]
    list_filter = ["outcome"]
    search_fields = ["=reference", "=key"]
    ordering = ["-created_at"]
