"""/api/deployments: what is deployed, how it goes, its log; deploying, cancelling, retrying, rolling back. /api/stacks.

Names are those of the events, so that a client reads both with the same code. Any member reads status; logs and changes
are the tenant admin's, and a key's with deployments:read and deployments:write.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Self
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import BaseModel
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actions import Refused
from deployments import actions, logs, stacks
from deployments.events import DeploymentData, DeploymentStatus, DeploymentUpdate
from deployments.models import Deployment, Stack, Status, wire_time
from deployments.rows import queue_places
from tenants import idempotency
from tenants.access import Rule, TenantAPIView
from tenants.api import PAGES, Between, BySlug, Conflict, NewestFirst, Strict, filtered, page_of, valid
from tenants.etags import CONDITIONAL_READ, with_etag
from tenants.examples import example, with_example
from tenants.models import Role
from tenants.schema import refusals

LOG_PAGE_LINES = 1_000
READ = Rule(scope="deployments:read")
READ_ADMIN = Rule(role=Role.TENANT_ADMIN, scope="deployments:read")
WRITE = Rule(role=Role.TENANT_ADMIN, scope="deployments:write")
IDEMPOTENCY = OpenApiParameter(
    idempotency.HEADER, str, OpenApiParameter.HEADER, description="The same key again answers with the same deployment."
)


STALE = Conflict(
    {"version": "The deployment has changed meanwhile. You saw version 3, now it is 4."}, actions.StaleVersion.code
)
FULL = Conflict("Acme has 100 deployments waiting. Nothing was queued.", actions.QueueFull.code)
OTHER_REQUEST = Conflict("This Idempotency-Key was used for another request.", idempotency.CONFLICT)


# --- What goes out ----------------------------------------------------------------------------------------------------


def _as_in_its_event() -> dict[str, Any]:
    told = next(iter(DeploymentUpdate.samples())).model_dump(mode="json", by_alias=True)
    return told["data"] | {"id": told["deploymentId"], "version": told["version"], "status": told["status"]}


class DeploymentResource(DeploymentData):
    model_config = example(**_as_in_its_event())

    id: UUID
    version: int
    status: DeploymentStatus


class DeploymentPage(BaseModel):
    next: str | None
    previous: str | None
    results: list[DeploymentResource]


class StackResource(BaseModel):
    """`steps` are names; what they run is in no parameter's hands and is not told."""

    model_config = example(
        slug="web",
        name="Web",
        description="Builds and publishes the site.",
        version=3,
        steps=["build", "publish"],
        parameters=[
            {
                "name": "TITLE",
                "type": "string",
                "label": "Title",
                "help": "",
                "required": True,
                "default": None,
                "min": None,
                "max": 60,
                "choices": [],
            }
        ],
    )

    slug: str
    name: str
    description: str
    version: int
    steps: list[str]
    parameters: list[stacks.Parameter]

    @classmethod
    def of(cls, stack: Stack) -> Self:
        return cls(
            slug=stack.slug,
            name=stack.name,
            description=stack.description,
            version=stack.version,
            steps=[step.name for step in stack.step_list],
            parameters=stack.parameter_list,
        )


class StackPage(BaseModel):
    next: str | None
    previous: str | None
    results: list[StackResource]


class LogLine(BaseModel):
    line: int
    level: str
    at: str
    text: str


class LogPage(BaseModel):
    """`next` is the `after` of the next call; `ended`: no line will follow those already stored."""

    model_config = example(
        lines=[{"line": 1, "level": "info", "at": "2026-11-23T15:04:05.200Z", "text": "Building 3 pages"}],
        next=1,
        ended=False,
    )

    lines: list[LogLine]
    next: int
    ended: bool


def resource(deployment: Deployment, **more: Any) -> dict[str, Any]:
    found = DeploymentResource.of(
        deployment, id=deployment.id, version=deployment.version, status=deployment.status, **more
    )
    return found.model_dump(mode="json", by_alias=True)


# --- What comes in ----------------------------------------------------------------------------------------------------


@with_example(stack="web", parameters={"TITLE": "Acme"}, name="shop")
class DeployBody(Strict):
    stack = serializers.CharField(max_length=50, help_text="The slug of an approved stack.")
    parameters = serializers.DictField(child=serializers.JSONField(allow_null=True), default=dict)
    name = serializers.CharField(max_length=50, required=False, help_text="Default: the stack's slug.")


@with_example(expectedVersion=3)
class ChangeBody(Strict):
    expectedVersion = serializers.IntegerField(
        min_value=1, required=False, help_text="Refused with 409 unless the deployment still has this version."
    )


class ListQuery(Between):
    status = serializers.MultipleChoiceField(choices=Status.choices, required=False)
    stack = serializers.CharField(max_length=50, required=False)
    name = serializers.CharField(max_length=50, required=False, help_text="The whole name, of every number.")


class LogQuery(serializers.Serializer[Any]):
    after = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0, help_text="Lines above this number.")
    limit = serializers.IntegerField(min_value=1, max_value=LOG_PAGE_LINES, default=LOG_PAGE_LINES)


def as_api_error(refused: Refused) -> APIException:
    """What an action refused, as this API says it: field errors are 400, the rest is a conflict with how things are."""
    if isinstance(refused, actions.InvalidRequest):
        return ValidationError(nested(refused.errors))
    code = getattr(refused, "code", Conflict.default_code)
    if isinstance(refused, actions.StaleVersion):
        seen, now = refused.difference["version"].values()
        return Conflict({"version": f"{refused} You saw version {seen}, now it is {now}."}, code)
    return Conflict(str(refused), code)


def nested(errors: dict[str, str]) -> dict[str, Any]:
    """{"parameters.X": text} as {"parameters": {"X": text}}, the way serializers report their fields."""
    found: dict[str, Any] = {}
    for field, text in errors.items():
        outer, _, inner = field.partition(".")
        if inner:
            found.setdefault(outer, {})[inner] = [text]
        else:
            found[outer] = [text]
    return found


# --- Views ------------------------------------------------------------------------------------------------------------


class DeploymentsAPIView(TenantAPIView):
    def handle_exception(self, exc: Exception) -> Any:
        return super().handle_exception(as_api_error(exc) if isinstance(exc, Refused) else exc)

    def deployments(self) -> QuerySet[Deployment]:
        return Deployment.objects.select_related("release__stack", "retry_of", "rollback_of")

    def deployment(self, id: UUID) -> Deployment:
        found = self.deployments().filter(pk=id).first()
        if found is None:
            raise NotFound
        return found


class DeploymentListView(DeploymentsAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ, "POST": WRITE}

    @extend_schema(
        operation_id="deployments_list",
        parameters=[ListQuery, *PAGES],
        responses=DeploymentPage,
    )
    def get(self, request: Request) -> Response:
        """The tenant's deployments, newest first. `since` and `until` are about when they were asked for."""
        wanted = valid(ListQuery(data=request.query_params))
        found = filtered(
            self.deployments(),
            wanted,
            status="status__in",
            stack="release__stack__slug",
            name="name",
            since="created_at__gte",
            until="created_at__lt",
        )
        pages = NewestFirst()
        page = pages.paginate_queryset(found, request, view=self) or []
        places = queue_places(one.tenant_id for one in page if one.status == Status.QUEUED)
        return pages.get_paginated_response([resource(one, queue_position=places.get(one.id)) for one in page])

    @extend_schema(
        request=DeployBody,
        parameters=[IDEMPOTENCY],
        responses={201: DeploymentResource} | refusals(FULL, OTHER_REQUEST),
    )
    def post(self, request: Request) -> Response:
        """Queue a deployment of an approved stack."""
        body = valid(DeployBody(data=request.data))
        key = idempotency.key_of(request)
        try:
            stack = actions.offered_stack(body["stack"])
        except Stack.DoesNotExist:
            raise ValidationError({"stack": "There is no approved stack of this name."}) from None
        deployment = actions.request_deployment(
            request.tenant,  # type: ignore[attr-defined]
            stack,
            body["parameters"],
            by=request.principal,  # type: ignore[attr-defined]
            name=body.get("name"),
            idempotency_key=key,
        )
        return Response(resource(deployment), status=status.HTTP_201_CREATED)


class DeploymentView(DeploymentsAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ}

    @extend_schema(parameters=CONDITIONAL_READ, responses=DeploymentResource)
    def get(self, request: Request, id: UUID) -> Response:
        """One deployment as it is now."""
        return with_etag(request, resource(self.deployment(id)))


class CancelView(DeploymentsAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": WRITE}

    @extend_schema(
        request=ChangeBody,
        responses={200: DeploymentResource}
        | refusals(Conflict("web #104 is completed already.", actions.NotCancellable.code), STALE),
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Ask it to stop. It is cancelled once its runner says so; a waiting one is cancelled at once."""
        body = valid(ChangeBody(data=request.data))
        deployment = actions.cancel(
            self.deployment(id),
            by=request.principal,  # type: ignore[attr-defined]
            expected_version=body.get("expectedVersion"),
        )
        return Response(resource(deployment))


class RetryView(DeploymentsAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": WRITE}

    @extend_schema(
        request=ChangeBody,
        parameters=[IDEMPOTENCY],
        responses={201: DeploymentResource}
        | refusals(
            Conflict("Only failed and lost deployments can be retried.", actions.NotRetryable.code),
            STALE,
            FULL,
            OTHER_REQUEST,
        ),
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Queue the release of a failed or lost deployment again, as a new deployment."""
        return _run_again(request, self.deployment(id), actions.retry)


class RollbackView(DeploymentsAPIView):
    rules: ClassVar[dict[str, Rule]] = {"POST": WRITE}

    @extend_schema(
        request=ChangeBody,
        parameters=[IDEMPOTENCY],
        responses={201: DeploymentResource}
        | refusals(
            Conflict("Only a completed deployment can be rolled back to.", actions.NotRollbackable.code),
            STALE,
            FULL,
            OTHER_REQUEST,
        ),
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Roll back to a completed deployment: queue its release again as it was, not what is approved now."""
        return _run_again(request, self.deployment(id), actions.roll_back)


def _run_again(request: Request, past: Deployment, action: Callable[..., Deployment]) -> Response:
    body = valid(ChangeBody(data=request.data))
    deployment = action(
        past,
        by=request.principal,  # type: ignore[attr-defined]
        expected_version=body.get("expectedVersion"),
        idempotency_key=idempotency.key_of(request),
    )
    return Response(resource(deployment), status=status.HTTP_201_CREATED)


class StackListView(TenantAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ_ADMIN}

    @extend_schema(operation_id="stacks_list", parameters=PAGES, responses=StackPage)
    def get(self, request: Request) -> Response:
        """What can be deployed: of each approved stack its newest version, with the parameters it takes."""
        return page_of(
            Stack.objects.offered(), request, BySlug(), lambda stack: StackResource.of(stack).model_dump(mode="json")
        )


class LogView(DeploymentsAPIView):
    rules: ClassVar[dict[str, Rule]] = {"GET": READ_ADMIN}

    @extend_schema(parameters=[LogQuery], responses=LogPage)
    def get(self, request: Request, id: UUID) -> Response:
        """Log lines after a number, in order."""
        wanted = valid(LogQuery(data=request.query_params))
        deployment = self.deployment(id)  # read before its lines: "ended" must not come true between
        found = logs.lines(deployment, **wanted)
        page = LogPage(
            lines=[
                LogLine(line=line.number, level=line.level, at=wire_time(line.at) or "", text=line.text)
                for line in found
            ],
            next=found[-1].number if found else wanted["after"],
            ended=deployment.has_ended,
        )
        return Response(page.model_dump(mode="json"))
