from django.apps import AppConfig


class NeostackConfig(AppConfig):
    name = "neostack"

    def ready(self) -> None:
        from neostack import checks  # noqa: F401  registers them
