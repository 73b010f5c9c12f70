"""/api/monitoring/... and /api/tenant/metrics: samples come in, the newest values and their history go out.

Any member reads figures, and a key with events:read; a tenant admin sends samples, and a key with metrics:write.
"""

from typing import Annotated, Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from rest_framework import serializers, status
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from events import channels
from events.channels import Channel, Topic
from events.live import Live
from monitoring import actions
from monitoring.actions import BadSample, Measured
from monitoring.models import NAME_LENGTH, NAME_PATTERN, UNIT_LENGTH, LatestMetrics, wire_time
from monitoring.series import RANGES, recent
from tenants import rates
from tenants.access import Rule, TenantAPIView
from tenants.models import Role, Tenant

READ = Rule(scope="events:read")
WRITE = Rule(role=Role.TENANT_ADMIN, scope="metrics:write")
#: Beyond this even the sum of a minute could leave what a float holds.
LARGEST = 1e18
SERIES_AT_ONCE = 20
#: Of a batch that is wrong throughout, so many problems are told.
PROBLEMS_TOLD = 20


# --- What comes in ----------------------------------------------------------------------------------------------------


def _name(name: str) -> str:
    if not NAME_PATTERN.fullmatch(name):
        raise PydanticCustomError(
            "invalid_name", "Begin with a letter, then use lower-case letters, digits, underscores and dots."
        )
    return name


def _unit(unit: str) -> str:
    if not unit.isprintable():
        raise PydanticCustomError("invalid_unit", "Use printable characters.")
    return unit


def _text(at: Any) -> Any:
    """A bare number could be seconds or milliseconds: ask which by taking neither."""
    if not isinstance(at, str):
        raise PydanticCustomError("datetime_type", "Write the time as text, like 2026-11-23T15:04:05.123Z.")
    return at


class SampleIn(BaseModel):
    """One measured value. Sent again with the same name, time and value it is known already, and not counted twice."""

    model_config = ConfigDict(extra="forbid", title="Sample")

    name: Annotated[str, Field(max_length=NAME_LENGTH), AfterValidator(_name)]
    value: Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
    unit: Annotated[str, Field(max_length=UNIT_LENGTH), AfterValidator(_unit)] = ""
    at: Annotated[AwareDatetime, BeforeValidator(_text)] = Field(description="When it was measured, with its zone.")

    @property
    def measured(self) -> Measured:
        return Measured(name=self.name, value=self.value, at=self.at, unit=self.unit)


class Batch(BaseModel):
    """All samples of a batch are stored, or none."""

    model_config = ConfigDict(extra="forbid", title="Samples")

    samples: Annotated[list[SampleIn], Field(min_length=1, max_length=settings.METRICS_BATCH_LIMIT)]


class SeriesQuery(serializers.Serializer[Any]):
    name = serializers.ListField(
        child=serializers.CharField(max_length=NAME_LENGTH),
        max_length=SERIES_AT_ONCE,
        required=False,
        help_text="Once for each metric. Default: every metric there is.",
    )
    range = serializers.ChoiceField(choices=list(RANGES), default="1h")


# --- What goes out ----------------------------------------------------------------------------------------------------


class Stored(BaseModel):
    """`known` samples had been stored before; `version` is that of the tenant's metrics after this."""

    stored: int
    known: int
    version: int


class Newest(BaseModel):
    value: float
    unit: str
    at: str


class Position(BaseModel):
    """From where to subscribe so that nothing is missed between this answer and the first `metrics_update`.

    `offset` and `epoch` are null while the engine is away.
    """

    channel: str
    offset: int | None = None
    epoch: str | None = None


class TenantMetrics(BaseModel):
    """`as_of`: when the newest was measured. `position`: null for who may not subscribe to the channel."""

    tenantId: UUID
    metrics: dict[str, Newest]
    version: int
    as_of: str | None
    position: Position | None


class SeriesOut(BaseModel):
    """`points` of each name are [t, average, least, greatest]: t in seconds since 1970, `step` seconds apart.

    All names have their points at the same t. Where nothing was measured the three values are null.
    """

    model_config = ConfigDict(title="Series")

    names: list[str]
    unit: dict[str, str]
    step: int
    points: dict[str, list[tuple[int, float | None, float | None, float | None]]]


# --- Views ------------------------------------------------------------------------------------------------------------


class Problems(Exception):
    """What is wrong with a batch: (code, where, what is wrong and what to do) of each."""

    def __init__(self, *problems: tuple[str, str, str]) -> None:
        super().__init__(problems)
        self.problems = problems


class MetricsView(TenantAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": WRITE}

    @extend_schema(request=Batch, responses={200: Stored})
    def post(self, request: Request) -> Response:
        """Store samples. Sending the same ones again, after an answer that never came, is safe."""
        tenant: Tenant = request.tenant  # type: ignore[attr-defined]
        if wait := rates.seconds_to_wait(settings.METRICS_POSTED_PER_SECOND, "metrics", str(tenant.pk)):
            raise Throttled(wait)
        try:
            recorded = actions.record(tenant, samples_of(request.data))
        except Tenant.DoesNotExist:  # deleted since the key was looked at
            raise Http404 from None
        return Response({"stored": recorded.stored, "known": recorded.known, "version": recorded.version})

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, BadSample):
            exc = Problems((exc.code, f"samples.{exc.place}.{exc.field}", f"{exc} Nothing was stored."))
        if isinstance(exc, Problems):
            told = [{"code": code, "detail": detail, "attr": attr} for code, attr, detail in exc.problems]
            return Response({"type": "validation_error", "errors": told}, status=status.HTTP_400_BAD_REQUEST)
        return super().handle_exception(exc)


def samples_of(body: Any) -> list[Measured]:
    """The samples of a request's body. Raises Problems that name each sample by its place, from 0, and the field."""
    try:
        return [sample.measured for sample in Batch.model_validate(body).samples]
    except ValidationError as invalid:
        problems = invalid.errors(include_url=False, include_context=False, include_input=False)
        raise Problems(
            *(
                (problem["type"], ".".join(map(str, problem["loc"])), f"{problem['msg'].rstrip('.')}.")
                for problem in problems[:PROBLEMS_TOLD]
            )
        ) from None


class TenantMetricsView(TenantAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(responses=TenantMetrics)
    def get(self, request: Request) -> Response:
        """The newest value of each metric, and from where to follow them."""
        tenant: Tenant = request.tenant  # type: ignore[attr-defined]
        # Before the data: what happens between the two then comes twice rather than never.
        position = position_of(request._request.live, channels.tenant(tenant.pk, Topic.DASHBOARD))  # type: ignore[attr-defined]
        latest = LatestMetrics.objects.filter(pk=tenant.pk).first() or LatestMetrics(tenant=tenant)
        found = TenantMetrics(
            tenantId=tenant.pk,
            metrics={name: Newest(**one | {"at": wire_time(one["at"])}) for name, one in latest.metrics.items()},
            version=latest.version,
            as_of=wire_time(latest.as_of) if latest.as_of else None,
            position=position,
        )
        return Response(found.model_dump(mode="json"))


def position_of(live: Live, channel: Channel) -> Position | None:
    """Where the channel stands now; None for who may not subscribe to it."""
    allowed = live.follow(channel).config["channels"]
    return Position(channel=channel.name, **allowed[channel.name]) if channel.name in allowed else None


class SeriesView(TenantAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(
        parameters=[SeriesQuery, OpenApiParameter("name", str, many=True, description="Once for each metric.")],
        responses=SeriesOut,
    )
    def get(self, request: Request) -> Response:
        """Metrics over the last 15 minutes, hour, day, week or month, for charts."""
        query = SeriesQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        found = recent(request.tenant, wanted.get("name"), wanted["range"])  # type: ignore[attr-defined]
        return Response({"names": found.names, "unit": found.unit, "step": found.step, "points": found.points})
