from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Says no when a tenant would lose its last admin.
        from tenants import (
            actions,  # noqa: F401
            schema,  # noqa: F401  tells the API's documentation of keys
        )
