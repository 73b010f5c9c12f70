"""/api/billing/...: usage comes in; meters, plans, the subscription and what was used so far go out.

Any member reads, and a key with events:read. A tenant admin records usage, and a key with usage:write; changing the
plan and thresholds is the tenant admin's alone. Quantities and amounts are decimal strings.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, Throttled
from rest_framework.exceptions import ValidationError as Invalid
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actions import Refused
from billing import actions, reading
from billing.actions import BadRecord, Used
from billing.api_invoices import RecordPage, out
from billing.models import KEY_LENGTH, Meter, Period, Plan, Subscription, Threshold, Usage, UsageRecord
from billing.prices import QUANTITY_PLACES
from billing.projection import preview_of
from billing.reading import PreviewRead, RecordRead
from tenants import idempotency, rates
from tenants.access import Rule, TenantAPIView
from tenants.api import PAGES, Between, Conflict, NewestFirst, Problems, Strict, filtered, page_of, valid
from tenants.etags import CONDITIONAL_READ, with_etag
from tenants.examples import example, example_of, with_example
from tenants.models import Role
from tenants.schema import refusals

READ = Rule(scope="events:read")
RECORD = Rule(role=Role.TENANT_ADMIN, scope="usage:write")
ADMIN = Rule(role=Role.TENANT_ADMIN)
#: Of one record. A meter that needs more counts thousands.
LARGEST = Decimal(10**9)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
PROPERTIES = 10


# --- What comes in ----------------------------------------------------------------------------------------------------


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("not_printable", "Use printable characters.")
    return text


def _exact(quantity: Any) -> Any:
    if isinstance(quantity, bool):
        raise PydanticCustomError("decimal_type", 'Write a number, like 1.5 or "1.5".')
    return quantity


def _text(at: Any) -> Any:
    """A bare number could be seconds or milliseconds: ask which by taking neither."""
    if not isinstance(at, str):
        raise PydanticCustomError("datetime_type", "Write the time as text, like 2026-11-23T15:04:05.123Z.")
    return at


def _callers_own(key: str) -> str:
    if key.startswith(actions.OWN_KEYS):
        raise PydanticCustomError("reserved", "The platform's own records have keys like this. Begin it otherwise.")
    return key


Text = Annotated[str, Field(min_length=1, max_length=KEY_LENGTH), AfterValidator(_printable)]
Name = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_printable)]


A_RECORD = {
    "idempotency_key": "build-1042",
    "meter": "deployment_minutes",
    "quantity": "2.5",
    "at": "2026-11-23T15:04:05.123Z",
    "properties": {"branch": "main"},
}


class RecordIn(BaseModel):
    """Something that was used. Sent again with the same key and content it is known already, and not counted twice."""

    model_config = ConfigDict(extra="forbid", title="UsageRecord") | example(**A_RECORD)

    idempotency_key: Annotated[Text, AfterValidator(_callers_own)] = Field(
        description="Of your own making. It names this record for ever."
    )
    meter: Name
    quantity: Annotated[
        Decimal,
        Field(ge=0, le=LARGEST, decimal_places=QUANTITY_PLACES, allow_inf_nan=False),
        BeforeValidator(_exact),
    ]
    at: Annotated[AwareDatetime, BeforeValidator(_text), Field(ge=EARLIEST)] = Field(
        description="When it was used, with its zone."
    )
    properties: Annotated[dict[Name, Text], Field(max_length=PROPERTIES)] = Field(default_factory=dict)

    @property
    def used(self) -> Used:
        return Used(self.idempotency_key, self.meter, self.quantity, self.at, self.properties)


class UsageBatch(BaseModel):
    """All records of a batch are taken, or none."""

    model_config = ConfigDict(extra="forbid") | example(records=[A_RECORD])

    records: Annotated[list[RecordIn], Field(min_length=1, max_length=settings.USAGE_BATCH_LIMIT)]


class RecordQuery(Between):
    meter = serializers.SlugField(max_length=50, required=False)


@with_example(plan="team")
class PlanBody(Strict):
    plan = serializers.SlugField(max_length=50, help_text="Of one of /api/billing/plans.")


class PlanQuery(serializers.Serializer[Any]):
    plan = serializers.SlugField(max_length=50, help_text="Of one of /api/billing/plans.")


@with_example(plan="team", expectedVersion=2)
class PlanChangeBody(PlanBody):
    expectedVersion = serializers.IntegerField(
        min_value=1,
        max_value=2**31,
        required=False,
        help_text="Refused with 409 unless the subscription still has this version.",
    )


@with_example(expectedVersion=2)
class PlanCancelBody(Strict):
    expectedVersion = serializers.IntegerField(min_value=1, max_value=2**31, required=False)


@with_example(meter="deployment_minutes", percent=90)
class ThresholdBody(Strict):
    meter = serializers.SlugField(max_length=50)
    percent = serializers.IntegerField(min_value=1, max_value=1000, help_text="Of what the plan includes.")


# --- What goes out ----------------------------------------------------------------------------------------------------


class UsageRecorded(BaseModel):
    """`known` records had been taken before. `late` ones are of a period that is invoiced: the next invoice adjusts."""

    model_config = example(stored=1, known=0, late=0)

    stored: int
    known: int
    late: int


class MeterOut(BaseModel):
    model_config = ConfigDict(title="Meter") | example(
        slug="deployment_minutes", name="Deployment minutes", unit="minutes", aggregation="sum", countedProperty=None
    )

    slug: str
    name: str
    unit: str
    aggregation: Literal["sum", "max", "last", "unique"]
    countedProperty: str | None


class MeterList(BaseModel):
    results: list[MeterOut]


class PlanOut(BaseModel):
    """`prices` as plans are written: `fee` a month; of each meter what is included, then its tiers."""

    model_config = ConfigDict(title="Plan") | example(
        slug="team",
        version=1,
        name="Team",
        description="For a team that deploys every day.",
        currency="EUR",
        prices={"fee": "49", "meters": {"deployment_minutes": {"included": "500", "tiers": [{"unit": "0.02"}]}}},
    )

    slug: str
    version: int
    name: str
    description: str
    currency: str
    prices: dict[str, Any]

    @classmethod
    def of(cls, plan: Plan) -> Self:
        prices = plan.price_list.model_dump(mode="json", exclude_defaults=True)
        fields = {name: getattr(plan, name) for name in ("slug", "version", "name", "description", "currency")}
        return cls(**fields, prices={"fee": str(plan.price_list.fee)} | prices)


class PlanList(BaseModel):
    results: list[PlanOut]


class PeriodOut(BaseModel):
    """`endsAt` does not belong to it any more. `zone` is where its first and last day are those of a month."""

    model_config = ConfigDict(title="Period") | example(
        startsAt="2026-10-31T23:00:00Z", endsAt="2026-11-30T23:00:00Z", zone="Europe/Berlin"
    )

    startsAt: datetime
    endsAt: datetime
    zone: str

    @classmethod
    def of(cls, period: Period) -> Self:
        return cls(startsAt=period.starts_at, endsAt=period.ends_at, zone=period.zone)


class SubscriptionOut(BaseModel):
    """`cancelledAt`: since when it is to end with its period. `period`: the current one, null once it has ended."""

    model_config = ConfigDict(title="Subscription") | example(
        plan=example_of(PlanOut),
        version=2,
        startedAt="2026-10-12T09:30:00Z",
        cancelledAt=None,
        endedAt=None,
        period=example_of(PeriodOut),
    )

    plan: PlanOut
    version: int
    startedAt: datetime
    cancelledAt: datetime | None
    endedAt: datetime | None
    period: PeriodOut | None


class MeterUsage(BaseModel):
    """Names are those of `usage_update`. `limit` and `percentage` are null where the plan includes nothing."""

    model_config = example(
        resource="deployment_minutes",
        name="Deployment minutes",
        unit="minutes",
        version=7,
        usage="412.5",
        limit="500",
        percentage=82.5,
        reached=[50, 80],
    )

    resource: str
    name: str
    unit: str
    version: int
    usage: Decimal
    limit: Decimal | None
    percentage: float | None
    reached: list[int]


class UsageNow(BaseModel):
    period: PeriodOut | None
    meters: list[MeterUsage]


class ThresholdOut(BaseModel):
    model_config = ConfigDict(title="Threshold") | example(meter="deployment_minutes", percent=90)

    meter: str
    percent: int


class ThresholdList(BaseModel):
    """A tenant's own, beside the platform's."""

    model_config = example(platform=[50, 80, 100], results=[{"meter": "deployment_minutes", "percent": 90}])

    platform: list[int]
    results: list[ThresholdOut]


# --- Views ------------------------------------------------------------------------------------------------------------


class BillingAPIView(TenantAPIView):
    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, BadRecord):
            exc = _of_record(exc)
        if isinstance(exc, Problems):
            return exc.response
        if isinstance(exc, Refused):
            exc = Conflict(str(exc), getattr(exc, "code", Conflict.default_code))
        return super().handle_exception(exc)


def _of_record(bad: BadRecord) -> Problems:
    is_conflict = bad.code == idempotency.CONFLICT
    code = status.HTTP_409_CONFLICT if is_conflict else status.HTTP_400_BAD_REQUEST
    return Problems((bad.code, f"records.{bad.place}.{bad.field}", f"{bad} Nothing was recorded."), status=code)


def batch_of(body: Any) -> list[Used]:
    """The records of a request's body. Raises Problems that name each record by its place, from 0, and the field."""
    try:
        return [record.used for record in UsageBatch.model_validate(body).records]
    except ValidationError as invalid:
        raise Problems.of(invalid) from None


OTHER_RECORD = Conflict(
    {
        "records.0.idempotency_key": "The key 'build-1042' came before with another content. Use a key of its own for "
        "each record. Nothing was recorded."
    },
    idempotency.CONFLICT,
)
STALE = Conflict("The subscription has changed meanwhile. Nothing was changed.", actions.StaleSubscription.code)
SUBSCRIBED = Conflict("Acme has a subscription. Nothing was changed: change its plan.")
NO_SUBSCRIPTION = Conflict("Acme has no subscription. Nothing was changed.", actions.NoSubscription.code)


class UsageView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ, "POST": RECORD}

    @extend_schema(operation_id="billing_usage", parameters=CONDITIONAL_READ, responses=UsageNow)
    def get(self, request: Request) -> Response:
        """What was used in the current period, meter by meter."""
        tenant = request.tenant  # type: ignore[attr-defined]
        period = current_period(tenant.pk, timezone.now())
        found = UsageNow(
            period=PeriodOut.of(period) if period else None,
            meters=usage_of(period) if period else [],
        )
        return with_etag(request, found.model_dump(mode="json"))

    @extend_schema(
        operation_id="billing_usage_record",
        request=UsageBatch,
        responses={200: UsageRecorded} | refusals(OTHER_RECORD, NO_SUBSCRIPTION, Throttled(1)),
    )
    def post(self, request: Request) -> Response:
        """Record usage. Sending the same records again, after an answer that never came, is safe."""
        tenant = request.tenant  # type: ignore[attr-defined]
        if wait := rates.seconds_to_wait(settings.USAGE_POSTED_PER_SECOND, "usage", str(tenant.pk)):
            raise Throttled(wait)
        recorded = actions.record(tenant, batch_of(request.data))
        return Response({"stored": recorded.stored, "known": recorded.known, "late": recorded.late})


class NewestUsed(NewestFirst):
    """By when it was used. A whole batch may be of one moment: pages then count from where that begins."""

    ordering = ("-at", "-id")
    offset_cutoff = 1_000_000

    def is_position(self, text: str) -> bool:
        try:
            return datetime.fromisoformat(text).tzinfo is UTC
        except ValueError:
            return False


class RecordListView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(
        operation_id="billing_usage_records",
        parameters=[RecordQuery, *PAGES],
        responses=RecordPage,
    )
    def get(self, request: Request) -> Response:
        """The records of usage as they were reported, of every period, the newest first by `at`, when it was used."""
        wanted = valid(RecordQuery(data=request.query_params))
        found = filtered(UsageRecord.objects.all(), wanted, meter="meter", since="at__gte", until="at__lt")
        return page_of(found, request, NewestUsed(), lambda record: out(RecordRead.of(record)))


def current_period(tenant_id: Any, at: datetime) -> Period | None:
    """The tenant's period of this moment, as far as it has begun."""
    return Period.objects.filter(tenant=tenant_id, starts_at__lte=at, ends_at__gt=at).first()


def usage_of(period: Period) -> list[MeterUsage]:
    used = list(Usage.objects.filter(period=period).select_related("meter").order_by("meter"))
    reached: dict[str, list[int]] = {usage.meter_id: [] for usage in used}
    if used:
        for meter, percent in period.crossings.order_by("percent").values_list("meter", "percent"):
            reached[meter].append(percent)
    return [usage_out(period, usage, reached[usage.meter_id]) for usage in used]


def usage_out(period: Period, usage: Usage, reached: list[int]) -> MeterUsage:
    limit = actions.limit_of(period, usage.meter)
    return MeterUsage(
        resource=usage.meter_id,
        name=usage.meter.name,
        unit=usage.meter.unit,
        version=usage.version,
        usage=usage.quantity,
        limit=limit,
        percentage=None if not limit else round(float(usage.quantity / limit * 100), 2),
        reached=reached,
    )


class MeterListView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(operation_id="billing_meters", responses=MeterList)
    def get(self, request: Request) -> Response:
        """What is counted. The meters are the platform's, the same for every tenant."""
        found = [
            MeterOut(
                slug=meter.slug,
                name=meter.name,
                unit=meter.unit,
                aggregation=meter.aggregation,  # type: ignore[arg-type]
                countedProperty=meter.counted_property or None,
            )
            for meter in Meter.objects.order_by("slug")
        ]
        return Response(MeterList(results=found).model_dump(mode="json"))


class PlanListView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(operation_id="billing_plans", responses=PlanList)
    def get(self, request: Request) -> Response:
        """What can be chosen: of each offer the newest version, the cheapest first."""
        return Response(PlanList(results=[PlanOut.of(plan) for plan in actions.published()]).model_dump(mode="json"))


class SubscriptionView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(parameters=CONDITIONAL_READ, responses=SubscriptionOut)
    def get(self, request: Request) -> Response:
        """The plan in force and the current period. 404 for a tenant that is not billed."""
        found = Subscription.objects.filter(pk=request.tenant.pk).select_related("plan").first()  # type: ignore[attr-defined]
        if found is None:
            raise NotFound
        return with_etag(request, subscription_out(found))


def subscription_out(subscription: Subscription) -> dict[str, Any]:
    period = None if subscription.ended_at else current_period(subscription.pk, timezone.now())
    found = SubscriptionOut(
        plan=PlanOut.of(subscription.plan),
        version=subscription.version,
        startedAt=subscription.started_at,
        cancelledAt=subscription.cancelled_at,
        endedAt=subscription.ended_at,
        period=PeriodOut.of(period) if period else None,
    )
    return found.model_dump(mode="json")


class ChangeView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": ADMIN}

    @extend_schema(request=PlanChangeBody, responses={200: SubscriptionOut} | refusals(STALE, NO_SUBSCRIPTION))
    def post(self, request: Request) -> Response:
        """Change the plan from now on. What the tenant had of the month before is billed by the old one."""
        body = valid(PlanChangeBody(data=request.data))
        plan = plan_of(body["plan"])
        changed = actions.change_plan(
            request.tenant,  # type: ignore[attr-defined]
            plan,
            by=request.principal,  # type: ignore[attr-defined]
            expected_version=body.get("expectedVersion"),
        )
        return Response(subscription_out(changed))


def plan_of(slug: str) -> Plan:
    try:
        return actions.offered(slug)
    except Plan.DoesNotExist:
        raise Invalid({"plan": "There is no such plan. See /api/billing/plans."}) from None


class PreviewView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": ADMIN}

    @extend_schema(
        operation_id="billing_subscription_preview",
        parameters=[PlanQuery],
        responses={200: PreviewRead} | refusals(NO_SUBSCRIPTION),
    )
    def get(self, request: Request) -> Response:
        """What changing to a plan now would come to: this period's invoice, and a whole month. Nothing is changed."""
        plan = plan_of(valid(PlanQuery(data=request.query_params))["plan"])
        tenant = request.tenant  # type: ignore[attr-defined]
        return Response(out(reading.previewed(preview_of(tenant, plan))))


class StartView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": ADMIN}

    @extend_schema(
        operation_id="billing_subscription_start",
        request=PlanBody,
        responses={200: SubscriptionOut} | refusals(SUBSCRIBED, NO_SUBSCRIPTION),
    )
    def post(self, request: Request) -> Response:
        """Begin again after the subscription has ended. 409 while there is one, and for who never had one."""
        plan = plan_of(valid(PlanBody(data=request.data))["plan"])
        started = actions.restart(request.tenant, plan, by=request.principal)  # type: ignore[attr-defined]
        return Response(subscription_out(started))


class CancelView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": ADMIN}

    @extend_schema(request=PlanCancelBody, responses={200: SubscriptionOut} | refusals(STALE, NO_SUBSCRIPTION))
    def post(self, request: Request) -> Response:
        """Let the subscription end with its current period. Changing the plan before then takes it back."""
        body = valid(PlanCancelBody(data=request.data))
        cancelled = actions.cancel(
            request.tenant,  # type: ignore[attr-defined]
            by=request.principal,  # type: ignore[attr-defined]
            expected_version=body.get("expectedVersion"),
        )
        return Response(subscription_out(cancelled))


class ThresholdListView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ, "POST": ADMIN}

    @extend_schema(operation_id="billing_thresholds", responses=ThresholdList)
    def get(self, request: Request) -> Response:
        """At which levels the tenant is told: the platform's, and its own."""
        own = Threshold.objects.order_by("meter", "percent")
        return Response(thresholds_out(own))

    @extend_schema(
        operation_id="billing_thresholds_add",
        request=ThresholdBody,
        responses={201: ThresholdOut}
        | refusals(Conflict("There are 20 already. Nothing was changed.", actions.TooMuch.code)),
    )
    def post(self, request: Request) -> Response:
        """Be told at this level too; at once, if as much is used by now. Adding it again changes nothing."""
        meter, percent = _threshold(request)
        added = actions.add_threshold(request.tenant, meter, percent, by=request.principal)  # type: ignore[attr-defined]
        return Response({"meter": added.meter_id, "percent": added.percent}, status=status.HTTP_201_CREATED)


class ThresholdRemoveView(BillingAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": ADMIN}

    @extend_schema(request=ThresholdBody, responses=ThresholdList)
    def post(self, request: Request) -> Response:
        """Not be told at this level any more. Removing what is not there changes nothing."""
        actions.remove_threshold(request.tenant, *_threshold(request), by=request.principal)  # type: ignore[attr-defined]
        return Response(thresholds_out(Threshold.objects.order_by("meter", "percent")))


def _threshold(request: Request) -> tuple[Meter, int]:
    body = valid(ThresholdBody(data=request.data))
    meter = Meter.objects.filter(pk=body["meter"]).first()
    if meter is None:
        raise Invalid({"meter": "There is no such meter. See /api/billing/meters."})
    return meter, body["percent"]


def thresholds_out(own: Iterable[Threshold]) -> dict[str, Any]:
    found = [ThresholdOut(meter=one.meter_id, percent=one.percent) for one in own]
    return ThresholdList(platform=list(actions.LEVELS), results=found).model_dump(mode="json")
