from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class PlatformAdminConfig(AdminConfig):
    """Django's admin, on a site of our own."""

    default_site = "accounts.admin_site.PlatformAdminSite"


class NeostackConfig(AppConfig):
    name = "neostack"

    def ready(self) -> None:
        from neostack import checks  # noqa: F401  registers them
