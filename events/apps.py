from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class EventsConfig(AppConfig):
    name = "events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Every app's event types, then what emits them, then what acts on them.
        autodiscover_modules("events")
        autodiscover_modules("signals")
        autodiscover_modules("handlers")
