from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class EventsConfig(AppConfig):
    name = "events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Every app's event types, then what emits them, then what acts on them.
        autodiscover_modules("events")
        autodiscover_modules("signals")
        autodiscover_modules("handlers")
        post_migrate.connect(start_cursors, sender=self)


def start_cursors(**_: object) -> None:
    """With the release that brings a handler comes its cursor: it acts on what happens from then on."""
    from events import handling

    handling.start_cursors()
