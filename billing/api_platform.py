"""/api/billing/platform/...: billing of every tenant, for platform admins: what was earned, what failed, who has used
how much of what their plan includes. For everybody else there is no such thing.
"""

from django.utils import timezone
from django_scopes import scopes_disabled
from drf_spectacular.utils import OpenApiExample, extend_schema
from pydantic import BaseModel
from rest_framework.request import Request
from rest_framework.response import Response

from billing import reading, revenue
from billing.api_invoices import CURSOR, StaffView, out
from billing.reading import FailedRead, MonthRead, ReachedRead, Read
from tenants.api import NewestById, NewestFirst


class Revenue(Read):
    """By month of issue (UTC) and currency, the newest first; `owed`: by all tenants now, a sum for each currency."""

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


REVENUE = {
    "months": [
        {
            "month": "2026-11",
            "currency": "EUR",
            "count": 12,
            "invoiced": "1204.50",
            "paid": "998.00",
            "owed": "176.50",
            "givenBack": "30.00",
        }
    ],
    "owed": ["€176.50"],
}
FAILED = {
    "next": None,
    "previous": None,
    "results": [
        {
            "id": "01900000-0000-7000-8000-000000000007",
            "kind": "invoice",
            "number": "NS-000007",
            "status": "failed",
            "version": 3,
            "amount": "128.40",
            "shown": "€128.40",
            "currency": "EUR",
            "periodStart": "2026-10-01T00:00:00Z",
            "periodEnd": "2026-11-01T00:00:00Z",
            "issuedAt": "2026-11-01T01:00:00Z",
            "dueAt": "2026-11-15T01:00:00Z",
            "settledAt": None,
            "nextTryAt": "2026-11-16T01:00:00Z",
            "reason": "The card was declined.",
            "credits": None,
            "tenant": "acme",
            "tenantName": "Acme",
        }
    ],
}
REACHED = {
    "next": None,
    "previous": None,
    "results": [
        {
            "tenant": "acme",
            "tenantName": "Acme",
            "meter": "deployment_minutes",
            "percent": 80,
            "at": "2026-11-23T15:04:05.123000Z",
            "periodStart": "2026-11-01T00:00:00Z",
            "periodEnd": "2026-12-01T00:00:00Z",
        }
    ],
}


class RevenueView(StaffView):
    @extend_schema(
        operation_id="billing_platform_revenue",
        responses=Revenue,
        examples=[OpenApiExample("A month", REVENUE, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        """What was invoiced in each of the last twelve months, and what has become of it. For platform admins."""
        with scopes_disabled():
            found = Revenue(months=reading.months_read(revenue.months(timezone.now())), owed=revenue.owed())
        return Response(out(found))


class FailedView(StaffView):
    @extend_schema(
        operation_id="billing_platform_failed",
        parameters=[CURSOR],
        responses=FailedPage,
        examples=[OpenApiExample("One", FAILED, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        """Invoices of every tenant that could not be collected, the newest first, 50 a page. For platform admins."""
        with scopes_disabled():
            pages = NewestById()
            page = pages.paginate_queryset(revenue.not_collected(), request, view=self) or []
            return pages.get_paginated_response([out(reading.failed_read(one)) for one in page])


class NewestNumbered(NewestFirst):
    ordering = "-id"


class ReachedView(StaffView):
    @extend_schema(
        operation_id="billing_platform_thresholds",
        parameters=[CURSOR],
        responses=ReachedPage,
        examples=[OpenApiExample("One", REACHED, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        """Thresholds that were reached in periods which go on, the newest first, 50 a page. For platform admins."""
        with scopes_disabled():
            pages = NewestNumbered()
            page = pages.paginate_queryset(revenue.reached(), request, view=self) or []
            return pages.get_paginated_response([out(reading.reached_read(one)) for one in page])
