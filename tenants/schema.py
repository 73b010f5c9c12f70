"""What the API's description says of every endpoint: how a caller comes in, for which tenant, and what is refused.

What follows from the rules, parameters and body of a view is derived here. What an action refuses, the view says with
`refusals`; each example is made from the error that is really raised, as it is really answered.
"""

from typing import Any, Literal

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from drf_standardized_errors.formatter import ExceptionFormatter
from pydantic import BaseModel
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    NotAcceptable,
    NotAuthenticated,
    NotFound,
    ParseError,
    PermissionDenied,
    UnsupportedMediaType,
    ValidationError,
)

from tenants import access
from tenants.access import TENANT_HEADER, Rule, TenantAPIView
from tenants.api import TooLarge
from tenants.etags import IF_MATCH, IF_NONE_MATCH, PreconditionFailed
from tenants.models import Role, Tenant

TENANT = OpenApiParameter(
    TENANT_HEADER,
    str,
    OpenApiParameter.HEADER,
    description="The tenant, by its slug. A signed-in person must name one they belong to; an API key knows its own.",
)
RETRY_AFTER = OpenApiParameter(
    "Retry-After", int, OpenApiParameter.HEADER, response=[429], description="In so many seconds it may go ahead."
)
BODIES = ("POST", "PUT", "PATCH")


class Problem(BaseModel):
    """`attr`: which field, by its path; null where it is about the whole."""

    code: str
    detail: str
    attr: str | None


class Refusal(BaseModel):
    """Why it was not done, the same for every error: a program goes by `code`, `detail` is for people."""

    type: Literal["validation_error", "client_error", "server_error"]
    errors: list[Problem]


def refusals(*errors: APIException) -> dict[int, OpenApiResponse]:
    """For the `responses` of a view: what it refuses, each by its status."""
    by_status: dict[int, list[APIException]] = {}
    for error in errors:
        by_status.setdefault(error.status_code, []).append(error)
    return {
        status: OpenApiResponse(
            Refusal,
            description=" ".join(f"`{code}`" for code in dict.fromkeys(map(_code, alike))),
            examples=[_example(error) for error in alike],
        )
        for status, alike in by_status.items()
    }


def _code(error: APIException) -> str:
    code: str = ExceptionFormatter(error, {}, error).run()["errors"][0]["code"]  # type: ignore[typeddict-item]
    return code


def _example(error: APIException) -> OpenApiExample:
    told = ExceptionFormatter(error, {}, error).run()  # type: ignore[typeddict-item]
    return OpenApiExample(_code(error), told, status_codes=[str(error.status_code)])


class Schema(AutoSchema):
    """The description of one endpoint."""

    def get_override_parameters(self) -> list[Any]:
        own: list[Any] = [RETRY_AFTER, *super().get_override_parameters()]
        return [TENANT, *own] if isinstance(self.view, TenantAPIView) else own

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        said = super()._get_response_bodies(direction)
        if self._takes(IF_NONE_MATCH):
            headers = self._get_response_headers_for_code("304")
            said = {"304": {"description": "It has this ETag still.", "headers": headers}} | said
        derived = {
            str(status): self._get_response_for_code(response, str(status))
            for status, response in refusals(*self._refused()).items()
        }
        return dict(sorted((derived | said).items()))

    def _refused(self) -> list[APIException]:
        return [
            *self._malformed(),
            NotAuthenticated(),
            AuthenticationFailed("This API key is unknown or revoked."),
            *self._forbidden(),
            *self._missing(),
            NotAcceptable(),
            *([PreconditionFailed(8)] if self._takes(IF_MATCH) else []),
        ]

    def _malformed(self) -> list[APIException]:
        found: list[APIException] = []
        if self._has_body():
            found += [ParseError("JSON parse error - unexpected end of data"), TooLarge(), UnsupportedMediaType("x/y")]
        if isinstance(self.view, TenantAPIView):
            found.append(access.tenant_needed())
        if self._has_body() or self._queries():
            found.append(ValidationError({"limit": "A valid integer is required."}))
        return found

    def _forbidden(self) -> list[APIException]:
        found: list[APIException] = []
        if isinstance(self.view, TenantAPIView):
            rule = self.view.rules.get(self.method, Rule())  # without one it is refused to everybody
            found.append(access.scope_needed(rule.scope) if rule.scope else access.person_needed())
            if rule.role:
                found.append(access.role_needed(Role(rule.role), held=Role.TENANT_USER))
            if not rule.even_suspended:
                found.append(access.tenant_suspended(Tenant(name="Acme")))
        elif no_keys := getattr(self.view, "no_keys", ""):
            found.append(access.person_needed(no_keys))
        if self.method != "GET":
            found.append(PermissionDenied("CSRF Failed: CSRF token missing."))
        return found

    def _missing(self) -> list[APIException]:
        is_hidden = isinstance(self.view, TenantAPIView) or getattr(self.view, "is_hidden", False)
        is_of_something = is_hidden or "{" in self.path
        return [NotFound()] if is_of_something or "cursor" in self._queries() else []

    def _has_body(self) -> bool:
        return self.method in BODIES and self.get_request_serializer() is not None

    def _takes(self, header: OpenApiParameter) -> bool:
        return header in self.get_override_parameters()

    def _queries(self) -> set[str]:
        return {one["name"] for one in self._get_parameters() if one["in"] == "query"}


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """How the API's documentation shows keys."""

    target_class = "tenants.access.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Api-Key <secret>`. A key belongs to one tenant and does what its scopes say.",
        }
