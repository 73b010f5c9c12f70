from django.contrib import admin

from events.admin import ReadOnlyAdmin
from portal.models import PlatformFigures, PlatformHealth


@admin.register(PlatformHealth)
class PlatformHealthAdmin(ReadOnlyAdmin):
    """What was last said about the platform's parts. /ops/ shows it live."""

    list_display = ["version", "changed_at", "not_well"]
    search_fields = ["parts"]

    def view_on_site(self, health: PlatformHealth) -> str:
        return "/ops/"

    @admin.display(description="Not well")
    def not_well(self, health: PlatformHealth) -> str:
        return ", ".join(f"{name} {state}" for name, state in health.states.items() if state != "ok") or "nothing"


@admin.register(PlatformFigures)
class PlatformFiguresAdmin(ReadOnlyAdmin):
    """The platform's own figures, as they were last said. /ops/ shows them live."""

    list_display = ["version", "as_of", "metrics"]
    search_fields = ["metrics"]

    def view_on_site(self, figures: PlatformFigures) -> str:
        return "/ops/"
