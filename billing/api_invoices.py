"""/api/billing/invoices: what is owed, line by line down to the records; paying it; and what gateways call.

Any member reads. Paying is the tenant admin's, in person: no key can. Giving back and giving up are the platform's.
"""

from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from django_scopes import scope, scopes_disabled
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import BaseModel
from rest_framework import serializers, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import APIException, NotAuthenticated, NotFound, Throttled
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actions import Refused
from accounts.models import User
from billing import gateways, payments, reading
from billing.gateways import BadCallback, Unavailable, UnknownGateway
from billing.models import Invoice, InvoiceLine, Kind, Payment, PaymentMethod, PaymentStatus, Status
from billing.money import exact_minor
from billing.reading import InvoiceDetail, InvoiceRead, PaymentRead, ProjectedInvoice, Read, RecordRead
from tenants import idempotency, rates
from tenants.access import ApiKeyAuthentication, Rule, TenantAPIView, api_not_found, principal_of
from tenants.api import PAGES, Between, Conflict, NewestById, NewestFirst, Strict, filtered, page_of, valid
from tenants.etags import CONDITIONAL_READ, with_etag
from tenants.examples import example, with_example
from tenants.models import Role, Tenant
from tenants.schema import refusals

#: Who was suspended because it does not pay still reads what it owes, and pays.
READ = Rule(scope="events:read", even_suspended=True)
ADMIN = Rule(role=Role.TENANT_ADMIN, even_suspended=True)
CALLBACK_MAX_BYTES = 256 * 1024


# --- What goes out ----------------------------------------------------------------------------------------------------


class InvoicePage(BaseModel):
    next: str | None
    previous: str | None
    results: list[InvoiceRead]


class RecordPage(BaseModel):
    next: str | None
    previous: str | None
    results: list[RecordRead]


class PayResult(Read):
    """The invoice as it is now, and the try to pay it; `payment` is null if nothing was owed."""

    invoice: InvoiceRead
    payment: PaymentRead | None


class RefundRead(Read):
    """`creditNote`: its number, once the money has gone."""

    model_config = example(
        id="01900000-0000-7000-8000-000000000009",
        status="done",
        amount="28.40",
        currency="EUR",
        reason="The service was down",
        creditNote="CN-000001",
    )

    id: UUID
    status: str
    amount: str
    currency: str
    reason: str
    credit_note: str | None


class MethodRead(Read):
    """How the tenant pays. `given`: whether it has given a means of payment. `url`: where a person gives one."""

    model_config = example(gateway="stripe", given=False, url="https://checkout.stripe.com/c/pay/cs_test")

    gateway: str
    given: bool
    url: str | None = None


def out(found: Read) -> dict[str, Any]:
    return found.model_dump(mode="json", by_alias=True)


# --- What comes in ----------------------------------------------------------------------------------------------------


class InvoiceQuery(Between):
    status = serializers.MultipleChoiceField(
        choices=[one for one in Status.choices if one[0] != "draft"], required=False
    )
    kind = serializers.ChoiceField(choices=Kind.choices, required=False)
    period = serializers.DateTimeField(required=False, help_text="Only of the period that this moment belongs to.")


@with_example(reason="The service was down", amount="28.40")
class RefundBody(Strict):
    reason = serializers.CharField(max_length=250, help_text="It stands on the credit note.")
    amount = serializers.DecimalField(
        max_digits=20, decimal_places=4, required=False, help_text='In whole units: "12.50". Default: all that is left.'
    )


@with_example(expectedVersion=3)
class VersionBody(Strict):
    expectedVersion = serializers.IntegerField(
        min_value=1,
        max_value=2**31,
        required=False,
        help_text="Refused with 409 unless the invoice still has this version.",
    )


@with_example(reason="Issued twice", expectedVersion=3)
class VoidBody(VersionBody):
    reason = serializers.CharField(max_length=250)


@with_example(note="Bank transfer 4711", expectedVersion=3)
class ByHandBody(VersionBody):
    note = serializers.CharField(max_length=250, help_text="Where to find the money: the bank's reference.")


@with_example(reference="pays")
class MethodBody(Strict):
    reference = serializers.CharField(
        max_length=200, required=False, help_text="For the local test gateway: one of its means of payment."
    )


# --- Errors -----------------------------------------------------------------------------------------------------------


class Declined(APIException):
    status_code = status.HTTP_402_PAYMENT_REQUIRED
    default_code = "declined"


class GatewayAway(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "gateway_unavailable"
    default_detail = "The payment gateway does not answer. Nothing was changed: try again in a minute."


def as_api_error(error: Exception) -> Exception:
    if isinstance(error, Refused):
        return Conflict(str(error), getattr(error, "code", Conflict.default_code))
    return GatewayAway() if isinstance(error, Unavailable) else error


NOT_PAYABLE = Conflict("Invoice NS-000007 is void. Nothing was charged.", payments.NotPayable.code)
NO_METHOD = Conflict("Acme has given no means of payment. Nothing was charged.", payments.NoPaymentMethod.code)
NO_GATEWAY = Conflict("This platform collects nothing by itself.", payments.NoGateway.code)
STALE = Conflict("The invoice has changed meanwhile. Nothing was charged.", payments.StaleInvoice.code)
NOT_REFUNDABLE = Conflict("NS-000007 is open. Nothing was given back.", payments.NotRefundable.code)
OTHER_REQUEST = Conflict("This Idempotency-Key was used for another request.", idempotency.CONFLICT)


# --- Reading ----------------------------------------------------------------------------------------------------------


class RecordsInOrder(NewestFirst):
    ordering = "id"


class BillingAPIView(TenantAPIView):
    def handle_exception(self, exc: Exception) -> Any:
        return super().handle_exception(as_api_error(exc))

    def tenant(self, request: Request) -> Tenant:
        return request.tenant  # type: ignore[attr-defined, no-any-return]

    def invoice(self, invoice_id: UUID) -> Invoice:
        found = reading.invoices().select_related("tenant").filter(pk=invoice_id).first()
        if found is None:
            raise NotFound
        return found


class InvoiceListView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(operation_id="billing_invoices_list", parameters=[InvoiceQuery, *PAGES], responses=InvoicePage)
    def get(self, request: Request) -> Response:
        """The tenant's invoices and credit notes, newest first. `since` and `until` are about when they were issued."""
        wanted = valid(InvoiceQuery(data=request.query_params))
        found = filtered(
            reading.invoices(),
            wanted,
            status="status__in",
            kind="kind",
            since="issued_at__gte",
            until="issued_at__lt",
        )
        if at := wanted.get("period"):
            found = found.filter(reading.of_period(at))
        return page_of(found, request, NewestById(), lambda invoice: out(InvoiceRead.of(invoice)))


class ProjectedView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(parameters=CONDITIONAL_READ, responses=ProjectedInvoice)
    def get(self, request: Request) -> Response:
        """What the current period comes to with the records there are now. It has no number: nobody owes it yet."""
        found = reading.projected(self.tenant(request))
        if found is None:
            raise NotFound
        return with_etag(request, out(found))


class InvoiceView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(parameters=CONDITIONAL_READ, responses=InvoiceDetail)
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """One invoice or credit note with its lines, every try to pay it, and what was credited. With an ETag."""
        found = reading.detail(self.invoice(invoice_id))
        return with_etag(request, out(found), found.revision)


class RecordsView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(parameters=PAGES, responses=RecordPage)
    def get(self, request: Request, invoice_id: UUID, position: int) -> Response:
        """The records of usage that one line was made of, in the order in which they were reported."""
        lines = InvoiceLine.objects.select_related("meter", "segment__period", "invoice")
        line = lines.filter(invoice=self.invoice(invoice_id), position=position).first()
        if line is None:
            raise NotFound
        records = reading.records_behind(line)
        return page_of(records, request, RecordsInOrder(), lambda record: out(RecordRead.of(record)))


class ProjectedRecordsView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(operation_id="billing_projected_records", parameters=PAGES, responses=RecordPage)
    def get(self, request: Request, position: int) -> Response:
        """The records of usage that a line of the projected invoice is made of so far, in the order they came."""
        line = reading.projected_line(self.tenant(request), position)
        if line is None:
            raise NotFound
        records = reading.records_behind(line)
        return page_of(records, request, RecordsInOrder(), lambda record: out(RecordRead.of(record)))


# --- Paying -----------------------------------------------------------------------------------------------------------


PAID = {200: PayResult, 202: PayResult} | refusals(
    Declined("The card was declined."), NOT_PAYABLE, NO_METHOD, NO_GATEWAY, STALE, GatewayAway()
)


class PayView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": ADMIN}

    @extend_schema(request=VersionBody, responses=PAID | refusals(Throttled(1)))
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Pay an invoice now. Asking again is safe: one that is paid, or being paid, is not charged again.

        200: it is paid. 202: the gateway has not decided yet, an `invoice_event` will say. 402: it was declined.
        """
        invoice = self.invoice(invoice_id)
        if wait := rates.seconds_to_wait(settings.PAYMENTS_PER_SECOND, "payments", str(invoice.tenant_id)):
            raise Throttled(wait)
        version = valid(VersionBody(data=request.data)).get("expectedVersion")
        payment = payments.pay(invoice, by=request.principal, expected_version=version)  # type: ignore[attr-defined]
        return answer_to(self.invoice(invoice_id), payment)


def answer_to(invoice: Invoice, payment: Payment | None) -> Response:
    """What came of a try to pay. Raises Declined."""
    if payment and payment.status == PaymentStatus.DECLINED:
        raise Declined(payment.reason)
    pending = payment is not None and payment.status == PaymentStatus.PENDING
    with scope(tenant=invoice.tenant):
        read = PayResult(invoice=InvoiceRead.of(invoice), payment=PaymentRead.of(payment) if payment else None)
    return Response(out(read), status=202 if pending else 200)


class MethodView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": ADMIN, "POST": ADMIN}

    @extend_schema(responses=MethodRead)
    def get(self, request: Request) -> Response:
        """How the tenant pays."""
        return Response(out(self._read(self.tenant(request))))

    @extend_schema(request=MethodBody, responses={200: MethodRead} | refusals(NO_GATEWAY, GatewayAway()))
    def post(self, request: Request) -> Response:
        """Give a means of payment: on the page at `url`, which is the gateway's. Card numbers never come here."""
        body, tenant = valid(MethodBody(data=request.data)), self.tenant(request)
        if reference := body.get("reference"):
            payments.choose_method(tenant, reference, by=request.principal)  # type: ignore[attr-defined]
            return Response(out(self._read(tenant)))
        return Response(out(self._read(tenant, url=payments.page_for_method(tenant))))

    def _read(self, tenant: Tenant, url: str | None = None) -> MethodRead:
        name = settings.PAYMENT_GATEWAY
        given = PaymentMethod.objects.filter(tenant=tenant, gateway=name).exclude(reference="").exists()
        by_default = bool(name) and gateways.get(name).default_method is not None
        return MethodRead(gateway=name, given=given or by_default, url=url)


# --- The platform's staff ---------------------------------------------------------------------------------------------


class StaffView(APIView):
    """For platform admins; for everybody else there is no such thing."""

    is_hidden = True
    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]  # initial() decides

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        principal = principal_of(request)
        if isinstance(principal, User) and principal.is_platform_admin:
            return
        raise NotAuthenticated if isinstance(principal, AnonymousUser) else NotFound

    def handle_exception(self, exc: Exception) -> Any:
        return api_not_found() if isinstance(exc, NotFound) else super().handle_exception(as_api_error(exc))


class StaffInvoiceView(StaffView):
    """An invoice of any tenant."""

    def invoice(self, invoice_id: UUID) -> Invoice:
        with scopes_disabled():
            found = reading.invoices().select_related("tenant").filter(pk=invoice_id).first()
        if found is None:
            raise NotFound
        return found

    def read(self, invoice_id: UUID) -> Response:
        return Response(out(InvoiceRead.of(self.invoice(invoice_id))))


class RefundView(StaffInvoiceView):
    @extend_schema(
        parameters=[
            OpenApiParameter(
                idempotency.HEADER,
                str,
                OpenApiParameter.HEADER,
                description="The same key again answers with the same refund, and gives nothing more back.",
            )
        ],
        request=RefundBody,
        responses={200: RefundRead, 202: RefundRead} | refusals(NOT_REFUNDABLE, OTHER_REQUEST, GatewayAway()),
    )
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Give back what was paid, or a part of it; a credit note says so. For platform admins.

        Asking again while the first is under way is the same refund. Give an Idempotency-Key, so that it is the same
        afterwards, too. 202: the gateway has not decided yet.
        """
        key = idempotency.key_of(request)
        body, invoice = valid(RefundBody(data=request.data)), self.invoice(invoice_id)
        minor = _minor(body["amount"], invoice.currency) if "amount" in body else None
        refund = payments.refund(invoice, body["reason"], request.user, minor, key=key)  # type: ignore[arg-type]
        found = RefundRead(
            id=refund.pk,
            status=refund.status,
            amount=reading.amount(refund.amount_minor, refund.currency),
            currency=refund.currency,
            reason=refund.reason,
            credit_note=refund.credit_note.number if refund.credit_note else None,
        )
        return Response(out(found), status=202 if refund.status == PaymentStatus.PENDING else 200)


class VoidView(StaffInvoiceView):
    @extend_schema(request=VoidBody, responses={200: InvoiceRead} | refusals(NOT_PAYABLE, STALE, GatewayAway()))
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Give up an invoice that is not paid. It keeps its number. For platform admins."""
        body = valid(VoidBody(data=request.data))
        payments.void(
            self.invoice(invoice_id),
            body["reason"],
            by=request.user,  # type: ignore[arg-type]
            expected_version=body.get("expectedVersion"),
        )
        return self.read(invoice_id)


class CollectView(StaffInvoiceView):
    @extend_schema(request=VersionBody, responses=PAID)
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Collect a tenant's invoice now, by the means of payment that it has given. Answers as `pay` does."""
        version = valid(VersionBody(data=request.data)).get("expectedVersion")
        payment = payments.pay(self.invoice(invoice_id), by=request.user, expected_version=version)  # type: ignore[arg-type]
        return answer_to(self.invoice(invoice_id), payment)


class ByHandView(StaffInvoiceView):
    @extend_schema(request=ByHandBody, responses={200: InvoiceRead} | refusals(NOT_PAYABLE, STALE))
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Write down that an invoice was paid in another way, such as a bank transfer."""
        body = valid(ByHandBody(data=request.data))
        payments.take_by_hand(
            self.invoice(invoice_id),
            body["note"],
            by=request.user,  # type: ignore[arg-type]
            expected_version=body.get("expectedVersion"),
        )
        return self.read(invoice_id)


def _minor(amount: Decimal, currency: str) -> int:
    """Raises ValidationError for a fraction of a minor unit, and for nothing."""
    try:
        return exact_minor(amount, currency)
    except ValueError as problem:
        raise serializers.ValidationError({"amount": str(problem)}) from None


# --- What gateways call -----------------------------------------------------------------------------------------------


@csrf_exempt
@require_POST
def callback(request: HttpRequest, gateway: str) -> HttpResponse:
    """For gateways alone: what they sign is believed. What they say again is answered alike, and changes nothing."""
    try:
        if int(request.headers.get("Content-Length") or 0) > CALLBACK_MAX_BYTES:
            return JsonResponse({"error": "Too large."}, status=413)
        payments.take_callback(gateway, request.body, request.headers)
    except UnknownGateway:
        return api_not_found()
    except BadCallback as bad:
        return JsonResponse({"error": str(bad)}, status=400)
    return JsonResponse({"received": True})
