from django.contrib import admin

from accounts.admin_site import ActionAdmin
from events.admin import ReadOnlyAdmin, UncountedPaginator
from monitoring.alerting import admin as _alerting  # noqa: F401  registers what is there
from monitoring.models import DayRollup, HourRollup, LatestMetrics, MinuteRollup, PlatformMinute, Rollup, Sample


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


class RollupAdmin(MeasuredAdmin):
    list_display = ["begins", "tenant", "name", "count", "avg", "min", "max"]
    fields = ["begins", "tenant", "name", "count", "avg", "sum", "min", "max"]
    readonly_fields = ["begins", "avg"]

    @admin.display(description="From (UTC)")
    def begins(self, rollup: Rollup) -> str:
        return f"{rollup.at:%Y-%m-%d %H:%M}"


@admin.register(MinuteRollup)
class MinuteRollupAdmin(RollupAdmin):
    ordering = ["-minute"]


@admin.register(HourRollup)
class HourRollupAdmin(RollupAdmin):
    ordering = ["-hour"]


@admin.register(DayRollup)
class DayRollupAdmin(RollupAdmin):
    ordering = ["-day"]


@admin.register(PlatformMinute)
class PlatformMinuteAdmin(RollupAdmin):
    list_display = ["begins", "name", "count", "avg", "min", "max"]
    fields = ["begins", "name", "count", "avg", "sum", "min", "max"]
    list_select_related = []
    ordering = ["-minute"]
    search_help_text = "A figure's whole name"
    search_fields = ["=name"]


@admin.register(LatestMetrics)
class LatestMetricsAdmin(ReadOnlyAdmin, ActionAdmin):
    list_display = ["tenant", "names", "version", "as_of", "emitted_at", "due_at", "uncounted", "counted_at"]
    list_select_related = ["tenant"]
    search_fields = ["tenant__slug", "tenant__name"]
    ordering = ["tenant__name"]

    @admin.display(description="Metrics")
    def names(self, latest: LatestMetrics) -> int:
        return len(latest.metrics)
