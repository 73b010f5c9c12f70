"""What the API's description says of every tenant's endpoints: how a caller comes in, and for which tenant."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter
from drf_standardized_errors.openapi import AutoSchema

from tenants.access import TENANT_HEADER, TenantAPIView

TENANT = OpenApiParameter(
    TENANT_HEADER,
    str,
    OpenApiParameter.HEADER,
    description="The tenant, by its slug. A signed-in person must name one they belong to; an API key knows its own.",
)


class Schema(AutoSchema):
    """The description of one endpoint."""

    def get_override_parameters(self) -> list[Any]:
        own: list[Any] = super().get_override_parameters()
        return [TENANT, *own] if isinstance(self.view, TenantAPIView) else own


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
