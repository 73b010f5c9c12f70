"""/api/monitoring/... and /api/tenant/metrics: samples come in, the newest values and their history go out.

Any member reads figures, and a key with events:read; a tenant admin sends samples, and a key with metrics:write.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from django.conf import settings
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from events import channels
from events.channels import Channel, Topic
from events.live import Live
from monitoring import actions
from monitoring.actions import BadSample, Measured
from monitoring.exposition import BadText, Exposition, OpenMetricsParser, TextParser
from monitoring.models import (
    LARGEST,
    NAME_LENGTH,
    NAME_PATTERN,
    SERIES_LENGTH,
    UNIT_LENGTH,
    LatestMetrics,
    wire_time,
)
from monitoring.names import LABEL, series_name
from monitoring.series import RANGES, recent
from tenants import rates
from tenants.access import Rule, TenantAPIView
from tenants.api import Problems
from tenants.etags import CONDITIONAL_READ, with_etag
from tenants.examples import example
from tenants.models import Role, Tenant
from tenants.schema import refusals

READ = Rule(scope="events:read")
WRITE = Rule(role=Role.TENANT_ADMIN, scope="metrics:write")
SERIES_AT_ONCE = 20


# --- What comes in ----------------------------------------------------------------------------------------------------


def _name(name: str) -> str:
    if not NAME_PATTERN.fullmatch(name):
        raise PydanticCustomError(
            "invalid_name", "Begin with a letter, then use lower-case letters, digits, underscores and dots."
        )
    return name


def _labels(labels: dict[str, str]) -> dict[str, str]:
    if not all(map(LABEL.fullmatch, labels)):
        raise PydanticCustomError("invalid_label", "Label names have letters, digits and underscores, no digit first.")
    if not all(value.isprintable() for value in labels.values()):
        raise PydanticCustomError("invalid_label", "Use printable characters in labels.")
    if len(series_name("", labels)) > SERIES_LENGTH - NAME_LENGTH:
        raise PydanticCustomError(
            "labels_too_long", f"All labels together have at most {SERIES_LENGTH - NAME_LENGTH} characters."
        )
    return labels


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
    kind: Literal["gauge", "counter"] = Field("gauge", description="A counter only rises, or begins anew at 0.")
    labels: Annotated[dict[str, str], AfterValidator(_labels)] = Field(
        default_factory=dict, description="Each set of labels makes a series of its own."
    )

    @property
    def measured(self) -> Measured:
        name = series_name(self.name, self.labels)
        return Measured(name=name, value=self.value, at=self.at, unit=self.unit, kind=self.kind)


class Batch(BaseModel):
    """All samples of a batch are stored, or none."""

    model_config = ConfigDict(extra="forbid", title="Samples")

    samples: Annotated[list[SampleIn], Field(min_length=1, max_length=settings.METRICS_BATCH_LIMIT)]


class SeriesQuery(serializers.Serializer[Any]):
    name = serializers.ListField(
        child=serializers.CharField(max_length=SERIES_LENGTH),
        max_length=SERIES_AT_ONCE,
        required=False,
        help_text="Once for each metric, with its labels. Default: all there are, at most twenty.",
    )
    range = serializers.ChoiceField(choices=list(RANGES), default="1h")


# --- What goes out ----------------------------------------------------------------------------------------------------


class Stored(BaseModel):
    """`known` samples had been stored before; `version` is that of the tenant's metrics after this.

    `left_out` samples of a text are no counters or gauges: buckets, infos, values that are not finite.
    """

    model_config = example(stored=1, known=0, left_out=0, version=7)

    stored: int
    known: int
    left_out: int
    version: int


class Newest(BaseModel):
    value: float
    unit: str
    at: str
    kind: Literal["gauge", "counter"] = "gauge"


class Position(BaseModel):
    """From where to subscribe so that nothing is missed between this answer and the first `metrics_update`.

    `offset` and `epoch` are null while the engine is away.
    """

    channel: str
    offset: int | None = None
    epoch: str | None = None


class TenantMetrics(BaseModel):
    """`as_of`: when the newest was measured. `position`: null for who may not subscribe to the channel."""

    model_config = example(
        tenantId="01900000-0000-7000-8000-000000000001",
        metrics={"cpu_percent": {"value": 12.5, "unit": "%", "at": "2026-11-23T15:04:05.123Z", "kind": "gauge"}},
        version=7,
        as_of="2026-11-23T15:04:05.123Z",
        position={
            "channel": "tenant:01900000-0000-7000-8000-000000000001:dashboard",
            "offset": 1042,
            "epoch": "kQvS",
        },
    )

    tenantId: UUID
    metrics: dict[str, Newest]
    version: int
    as_of: str | None
    position: Position | None


class SeriesOut(BaseModel):
    """`points` of each name are [t, average, least, greatest]: t in seconds since 1970, `step` seconds apart.

    All names have their points at the same t. Where nothing was measured the three values are null. A counter's are how
    fast it rose, per second.
    """

    model_config = ConfigDict(title="Series") | example(
        names=["cpu_percent"],
        unit={"cpu_percent": "%"},
        step=60,
        points={"cpu_percent": [[1795359780, 12.5, 11.0, 14.0], [1795359840, None, None, None]]},
    )

    names: list[str]
    unit: dict[str, str]
    step: int
    points: dict[str, list[tuple[int, float | None, float | None, float | None]]]


# --- Views ------------------------------------------------------------------------------------------------------------


TEXT_EXAMPLE = """# TYPE http_requests_total counter
http_requests_total{method="get",code="200"} 1027
# TYPE queue_length gauge
queue_length 3
"""


class MetricsView(TenantAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": WRITE}
    parser_classes = [*TenantAPIView.parser_classes, TextParser, OpenMetricsParser]

    @extend_schema(
        request={"application/json": Batch, "text/plain": str, "application/openmetrics-text": str},
        responses={200: Stored} | refusals(Throttled(1)),
        examples=[
            OpenApiExample(
                "A gauge",
                {"samples": [{"name": "cpu_percent", "value": 12.5, "unit": "%", "at": "2026-11-23T15:04:05.123Z"}]},
                request_only=True,
                media_type="application/json",
            ),
            OpenApiExample("Prometheus", TEXT_EXAMPLE, request_only=True, media_type="text/plain"),
            OpenApiExample(
                "OpenMetrics",
                f"{TEXT_EXAMPLE.replace('http_requests_total counter', 'http_requests counter')}# EOF\n",
                request_only=True,
                media_type="application/openmetrics-text",
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        """Store samples, as JSON, as Prometheus' text or as OpenMetrics; all of them or none.

        Sending the same ones again, after an answer that never came, is safe where they carry their times. What a text
        says without a time was measured when it arrived.
        """
        tenant: Tenant = request.tenant  # type: ignore[attr-defined]
        if wait := rates.seconds_to_wait(settings.METRICS_POSTED_PER_SECOND, "metrics", str(tenant.pk)):
            raise Throttled(wait)
        read = read_body(request.data)
        try:
            recorded = actions.record(tenant, read.samples)
        except BadSample as bad:
            raise Problems((bad.code, read.where(bad), f"{bad} Nothing was stored.")) from None
        except Tenant.DoesNotExist:  # deleted since the key was looked at
            raise Http404 from None
        told = {"stored": recorded.stored, "known": recorded.known, "left_out": read.left_out}
        return Response(told | {"version": recorded.version})

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, BadText):
            exc = Problems((exc.code, exc.where, f"{exc} Nothing was stored."))
        if isinstance(exc, Problems):
            return exc.response
        return super().handle_exception(exc)


@dataclass(frozen=True, slots=True)
class Body:
    """What a request brought: in a text, samples go by their series' name; in JSON, by their place."""

    samples: list[Measured]
    left_out: int = 0
    is_text: bool = False

    def where(self, bad: BadSample) -> str:
        return self.samples[bad.place].name if self.is_text else f"samples.{bad.place}.{bad.field}"


def read_body(body: Any) -> Body:
    """Raises Problems, and BadText."""
    if not isinstance(body, Exposition):
        return Body(samples_of(body))
    found = body.read(timezone.now())
    return Body(found.samples, found.left_out, is_text=True)


def samples_of(body: Any) -> list[Measured]:
    """The samples of a JSON body. Raises Problems that name each sample by its place, from 0, and the field."""
    try:
        return [sample.measured for sample in Batch.model_validate(body).samples]
    except ValidationError as invalid:
        raise Problems.of(invalid) from None


class TenantMetricsView(TenantAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(parameters=CONDITIONAL_READ, responses=TenantMetrics)
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
        return with_etag(request, found.model_dump(mode="json"))


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
        """Metrics over the last 15 minutes, hour, day, week, month, 90 days or year, for charts."""
        query = SeriesQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        found = recent(request.tenant, wanted.get("name"), wanted["range"])  # type: ignore[attr-defined]
        return Response({"names": found.names, "unit": found.unit, "step": found.step, "points": found.points})
