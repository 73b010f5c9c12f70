from django.contrib import admin

from accounts.admin_site import ActionAdmin
from events.admin import ReadOnlyAdmin, UncountedPaginator
from monitoring.models import LatestMetrics, MinuteRollup, Sample


class MeasuredAdmin(ReadOnlyAdmin, ActionAdmin):
    """What was measured is not edited. There may be millions of rows: they are searched, not counted."""

    search_help_text = "A metric's whole name, or a tenant's slug"
    search_fields = ["=name", "=tenant__slug"]
    list_select_related = ["tenant"]
    show_full_result_count = False
    paginator = UncountedPaginator


@admin.register(Sample)
class SampleAdmin(MeasuredAdmin):
    list_display = ["at", "tenant", "name", "value", "unit"]
    ordering = ["-at"]


@admin.register(MinuteRollup)
class MinuteRollupAdmin(MeasuredAdmin):
    list_display = ["at", "tenant", "name", "count", "avg", "min", "max"]
    fields = ["at", "tenant", "name", "count", "avg", "sum", "min", "max"]
    readonly_fields = ["at", "avg"]
    ordering = ["-minute"]

    @admin.display(description="Minute (UTC)", ordering="minute")
    def at(self, rollup: MinuteRollup) -> str:
        return f"{rollup.at:%Y-%m-%d %H:%M}"


@admin.register(LatestMetrics)
class LatestMetricsAdmin(ReadOnlyAdmin, ActionAdmin):
    list_display = ["tenant", "names", "version", "as_of", "emitted_at", "due_at"]
    list_select_related = ["tenant"]
    search_fields = ["tenant__slug", "tenant__name"]
    ordering = ["tenant__name"]

    @admin.display(description="Metrics")
    def names(self, latest: LatestMetrics) -> int:
        return len(latest.metrics)
