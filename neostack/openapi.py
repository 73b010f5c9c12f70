"""The description of the HTTP API, and the page that shows it."""

from typing import Any

from csp.decorators import csp_update
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """How a service says who it is."""

    target_class = "tenants.access.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": 'A tenant\'s key: "Api-Key " and then its secret. What it may do are its scopes.',
        }


schema = SpectacularAPIView.as_view()
#: Swagger's page carries inline styles: it alone may have them.
docs = csp_update({"style-src": ["'unsafe-inline'"]})(SpectacularSwaggerSplitView.as_view(url_name="schema"))
