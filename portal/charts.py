"""A tenant's metrics as a page shows them: figures of now, and charts with their history.

One chart a unit, so that its lines share an axis; `static/js/chart.js` draws what `Charts.data` holds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import QueryDict
from django.utils import timezone

from monitoring.models import COUNTER, SERIES_LENGTH, LatestMetrics
from monitoring.series import RANGES, Series, per_second, recent, standing
from portal import figures
from portal.times import wire
from tenants.models import Tenant

DEFAULT_RANGE = "1h"
#: How a range is said in a caption: "the last hour".
SPANS = {
    "15m": "15 minutes",
    "1h": "hour",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "1y": "year",
}
#: A chart with more lines can't be read; what is beyond has its figure only.
LINES_SHOWN = 4
CHARTS_SHOWN = 3
FIGURES_SHOWN = 12
#: How far apart the rows of the table are that stands for a chart: whole steps of its series, about sixty rows.
ROW_SECONDS = {
    "15m": 15,
    "1h": 60,
    "24h": 1800,
    "7d": 3 * 3600,
    "30d": 12 * 3600,
    "90d": 86_400,
    "1y": 7 * 86_400,
}
UNIT_WORDS = {
    "%": "percent",
    "B/s": "bytes a second",
    "B": "bytes",
    "ms": "milliseconds",
    "s": "seconds",
    "/s": "a second",
    "s/s": "seconds a second",
}
#: Without a sample for so long, a page says since when.
SILENT_AFTER_SECONDS = 60
#: What a machine's metrics are called comes first, in this order.
ORDER = {name: place for place, name in enumerate(figures.WORDS)}


def first_known(name: str) -> tuple[int, str]:
    return ORDER.get(name, len(ORDER)), name


@dataclass(frozen=True, slots=True)
class Figure:
    """The newest value of a metric."""

    name: str
    number: float
    unit: str
    at: datetime
    is_counter: bool = False

    @property
    def chart_unit(self) -> str:
        """A counter's chart shows how fast it rises."""
        return per_second(self.unit) if self.is_counter else self.unit

    @property
    def word(self) -> str:
        return figures.word(self.name)

    @property
    def value(self) -> str:
        return figures.value(self.number, self.unit)


@dataclass(frozen=True, slots=True)
class Now:
    """All a tenant's metrics, as they are now."""

    figures: Sequence[Figure]
    version: int
    as_of: datetime | None

    @property
    def shown(self) -> Sequence[Figure]:
        return self.figures[:FIGURES_SHOWN]

    @property
    def is_silent(self) -> bool:
        """Whether samples came and have stopped."""
        return self.as_of is not None and timezone.now() - self.as_of >= timedelta(seconds=SILENT_AFTER_SECONDS)

    @property
    def samples_state(self) -> str:
        """The mark beside it: see `samplesState` in chart.js."""
        return "idle" if self.as_of is None else "warn" if self.is_silent else "ok"

    @property
    def samples_word(self) -> str:
        if self.as_of is None:
            return "No samples yet"
        return f"No samples since {self.as_of.astimezone(UTC):%H:%M:%S} UTC" if self.is_silent else "Samples arrive"


def metrics_now(tenant: Tenant) -> Now:
    latest = LatestMetrics.objects.filter(pk=tenant.pk).first()
    if latest is None:
        return Now([], 0, None)
    found = [
        Figure(name, one["value"], one["unit"], datetime.fromisoformat(one["at"]), one.get("kind") == COUNTER)
        for name, one in sorted(latest.metrics.items(), key=lambda item: first_known(item[0]))
    ]
    return Now(found, latest.version, latest.as_of)


@dataclass(frozen=True, slots=True)
class View:
    """What the address asks of the charts. An unknown value counts as not given: an old link still opens.

    `series` names the one that is shown alone; without it there are as many as can be read.
    """

    span: str
    is_utc: bool
    is_table: bool
    series: str = ""

    @classmethod
    def of(cls, given: QueryDict) -> "View":
        span = given.get("range", DEFAULT_RANGE)
        return cls(
            span=span if span in RANGES else DEFAULT_RANGE,
            is_utc=given.get("zone") == "utc",
            is_table=given.get("view") == "table",
            series=given.get("series", "")[:SERIES_LENGTH],
        )

    def address(self, **changed: Any) -> str:
        """The query string of this view with something changed."""
        return f"?{urlencode(replace(self, **changed).values)}"

    @property
    def values(self) -> dict[str, str]:
        """As an address has them; what is the default is left out."""
        found = {
            "series": self.series,
            "range": self.span if self.span != DEFAULT_RANGE else "",
            "zone": "utc" if self.is_utc else "",
            "view": "table" if self.is_table else "",
        }
        return {name: value for name, value in found.items() if value}

    @property
    def besides_series(self) -> dict[str, str]:
        """For the form that chooses another series."""
        return replace(self, series="").values

    @property
    def of_all(self) -> str:
        return self.address(series="")

    @property
    def in_utc(self) -> str:
        return self.address(is_utc=True)

    @property
    def in_own_zone(self) -> str:
        return self.address(is_utc=False)

    @property
    def other_form(self) -> str:
        """As a table, or as charts again."""
        return self.address(is_table=not self.is_table)

    @property
    def ranges(self) -> list[tuple[str, str]]:
        """Each range with its address."""
        return [(span, self.address(span=span)) for span in RANGES]

    @property
    def span_words(self) -> str:
        return f"the last {SPANS[self.span]}"


@dataclass(frozen=True, slots=True)
class Line:
    """`place` counts from 1: its colour and dash. `path` is its way over a square of 100 by 100, gaps left open."""

    name: str
    place: int
    newest: str
    path: str

    @property
    def word(self) -> str:
        return figures.word(self.name)


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines of one unit."""

    id: str
    unit: str
    lines: Sequence[Line]

    @property
    def names(self) -> str:
        return ", ".join(line.word for line in self.lines)

    @property
    def unit_words(self) -> str:
        return UNIT_WORDS.get(self.unit, self.unit)

    @property
    def title(self) -> str:
        """Always with the unit, where there is one."""
        if len(self.lines) == 1:
            return f"{self.names} · {self.unit_words}" if self.unit else self.names
        return f"In {self.unit_words}" if self.unit else self.names


@dataclass(frozen=True, slots=True)
class TableRow:
    """`at` is where its steps begin, in the zone of the page."""

    at: datetime
    cells: Sequence[str]
    has_day: bool

    @property
    def when(self) -> str:
        return f"{self.at.day} {self.at:%b, %H:%M}" if self.has_day else f"{self.at:%H:%M:%S}"


class Charts:
    """The charts of a tenant's metrics over a range."""

    def __init__(self, tenant: Tenant, now: Now, view: View) -> None:
        self.now, self.view = now, view
        self.zone_name = "UTC" if view.is_utc else tenant.time_zone
        self.own_zone = tenant.time_zone
        self.own_zone_word = tenant.time_zone.rpartition("/")[2].replace("_", " ")
        chosen = list(self._chosen([one for one in now.figures if view.series in ("", one.name)]))
        self._series: Series = recent(tenant, [figure.name for group in chosen for figure in group], view.span)
        self.charts = [self._chart(number, group) for number, group in enumerate(chosen, start=1)]

    @staticmethod
    def _chosen(found: Sequence[Figure]) -> Iterable[Sequence[Figure]]:
        by_unit: dict[str, list[Figure]] = {}
        for figure in found:
            by_unit.setdefault(figure.chart_unit, []).append(figure)
        return [group[:LINES_SHOWN] for group in by_unit.values()][:CHARTS_SHOWN]

    @property
    def is_unknown(self) -> bool:
        """Whether the series that is asked for is none of the tenant's."""
        return not self.charts

    @property
    def offers_series(self) -> bool:
        return len(self.now.figures) > 1 or self.is_unknown

    def _standing(self, name: str) -> list[float | None]:
        averages = [average for _, average, _, _ in self._series.points[name]]
        return standing(averages, self._series.lasts[name])

    def _chart(self, number: int, group: Sequence[Figure]) -> Chart:
        unit = group[0].chart_unit
        averages = [self._standing(figure.name) for figure in group]
        low, high = bounds([one for line in averages for one in line if one is not None], unit)
        lines = [
            Line(figure.name, place, newest(line, unit), path(line, low, high))
            for place, (figure, line) in enumerate(zip(group, averages, strict=True), start=1)
        ]
        return Chart(f"chart-{number}", unit, lines)

    @property
    def data(self) -> dict[str, Any]:
        """What chart.js reads: means on one grid of time, in seconds since 1970; null where there was no sample."""
        points = self._series.points
        times = next(iter(points.values()), [])
        return {
            "zone": self.zone_name,
            "now": timezone.now().timestamp(),
            "version": self.now.version,
            "sampledAt": {figure.name: wire(figure.at) for figure in self.now.figures if figure.name in points},
            "start": times[0][0] if times else 0,
            "step": self._series.step,
            "size": len(times),
            "values": {name: [_short(average) for _, average, _, _ in found] for name, found in points.items()},
            "rises": self._series.rises,
            "lasts": self._long_lasting,
            "counted": {one.name: one.number for one in self.now.figures if one.name in self._series.rises},
            "charts": [
                {
                    "id": chart.id,
                    "unit": chart.unit,
                    "lines": [{"name": line.name, "word": line.word} for line in chart.lines],
                }
                for chart in self.charts
            ],
        }

    @property
    def _long_lasting(self) -> dict[str, int]:
        return {name: steps for name, steps in self._series.lasts.items() if steps > 1}

    @property
    def has_standing(self) -> bool:
        """Whether values stand for longer than a step."""
        return bool(self._long_lasting)

    @property
    def own_step_words(self) -> str:
        """How far two points of a chart are apart."""
        return length(self._series.step)

    @property
    def step_words(self) -> str:
        """How far two rows of the table are apart."""
        return length(ROW_SECONDS[self.view.span])

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Of the table: name in words, and unit."""
        return [(line.word, chart.unit) for chart in self.charts for line in chart.lines]

    def rows(self) -> list[TableRow]:
        """The charts as a table, newest first: of what was sampled in a row, else what stood."""
        lines = [(line.name, chart.unit) for chart in self.charts for line in chart.lines]
        found: dict[int, list[list[Known]]] = {}
        for place, (name, _) in enumerate(lines):
            for (at, average, _, _), stood in zip(self._series.points[name], self._standing(name), strict=True):
                row = found.setdefault(at - at % ROW_SECONDS[self.view.span], [[] for _ in lines])
                row[place].append((average, stood))
        zone, has_day = ZoneInfo(self.zone_name), self.view.span not in ("15m", "1h")
        return [
            TableRow(
                datetime.fromtimestamp(at, zone),
                [_cell(known, unit) for known, (_, unit) in zip(row, lines, strict=True)],
                has_day,
            )
            for at, row in sorted(found.items(), reverse=True)
        ]


def length(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 86_400:
        return f"{seconds // 60} min" if seconds < 3600 else f"{seconds / 3600:g} h"
    return f"{seconds // 86_400} {'day' if seconds < 2 * 86_400 else 'days'}"


def newest(averages: Sequence[float | None], unit: str) -> str:
    known = next((average for average in reversed(averages) if average is not None), None)
    return "no samples" if known is None else figures.value(known, unit)


def bounds(known: Sequence[float], unit: str) -> tuple[float, float]:
    """Of the axis: percent is of a hundred, what can't be below zero starts there. As in chart.js."""
    low, high = min(known, default=0), max(known, default=0)
    if unit == "%" and high <= 100:
        return min(0, low), 100
    return min(0, low), high * 1.1 if high > 0 else 1 if low >= 0 else 0


def path(averages: Sequence[float | None], low: float, high: float) -> str:
    """As an SVG path: what stands in the chart's place until its script draws, and without JavaScript."""
    width = max(1, len(averages) - 1)
    parts, letter = [], "M"
    for place, average in enumerate(averages):
        if average is None:
            letter = "M"
            continue
        parts.append(f"{letter}{100 * place / width:.1f} {100 * (high - average) / (high - low):.1f}")
        letter = "L"
    return "".join(parts)


#: Of one step: the average of its samples, and what stood in it, see `monitoring.series.standing`.
Known = tuple[float | None, float | None]


def _cell(steps: Sequence[Known], unit: str) -> str:
    sampled = [average for average, _ in steps if average is not None]
    known = sampled or [stood for _, stood in steps if stood is not None]
    return figures.value(sum(known) / len(known), unit) if known else "no samples"


def _short(number: float | None) -> float | None:
    """Six digits: what a chart can show, in fewer bytes."""
    return None if number is None else float(f"{number:.6g}")
