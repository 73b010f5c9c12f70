"""/api/billing/platform/...: billing of every tenant, for platform admins: what was earned, what failed, who has used
how much of what their plan includes. For everybody else there is no such thing.
"""

from django.utils import timezone
from django_scopes import scopes_disabled
from drf_spectacular.utils import extend_schema
from pydantic import BaseModel
from rest_framework.request import Request
from rest_framework.response import Response

from billing import reading, revenue
from billing.api_invoices import StaffView, out
from billing.reading import FailedRead, MonthRead, ReachedRead, Read
from tenants.api import PAGES, NewestById, NewestFirst, page_of
from tenants.examples import example, example_of


class Revenue(Read):
    """By month of issue (UTC) and currency, the newest first; `owed`: by all tenants now, a sum for each currency."""

    model_config = example(months=[example_of(MonthRead)], owed=["€176.50"])

    months: list[MonthRead]
    owed: list[str]


class FailedPage(BaseModel):
    next: str | None
    previous: str | None
    results: list[FailedRead]


class ReachedPage(BaseModel):
    next: str | None
    previous: str | None
    results: list[ReachedRead]


class RevenueView(StaffView):
    @extend_schema(operation_id="billing_platform_revenue", responses=Revenue)
    def get(self, request: Request) -> Response:
        """What was invoiced in each of the last twelve months, and what has become of it. For platform admins."""
        with scopes_disabled():
            found = Revenue(months=reading.months_read(revenue.months(timezone.now())), owed=revenue.owed())
        return Response(out(found))


class FailedView(StaffView):
    @extend_schema(operation_id="billing_platform_failed", parameters=PAGES, responses=FailedPage)
    def get(self, request: Request) -> Response:
        """Invoices of every tenant that could not be collected, the newest first. For platform admins."""
        with scopes_disabled():
            return page_of(revenue.not_collected(), request, NewestById(), lambda one: out(reading.failed_read(one)))


class NewestNumbered(NewestFirst):
    ordering = "-id"


class ReachedView(StaffView):
    @extend_schema(operation_id="billing_platform_thresholds", parameters=PAGES, responses=ReachedPage)
    def get(self, request: Request) -> Response:
        """Thresholds that were reached in periods which go on, the newest first. For platform admins."""
        with scopes_disabled():
            return page_of(revenue.reached(), request, NewestNumbered(), lambda one: out(reading.reached_read(one)))
