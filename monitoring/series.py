"""Metrics over time, for charts: one grid of moments for all of them, gaps left open."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median_low
from typing import Any

from django.db.models import Avg, Count, F, Max, Min, Sum
from django.db.models.functions import ExtractSecond, TruncMinute
from django.utils import timezone
from django_scopes import scope

from monitoring.models import COUNTER, DayRollup, HourRollup, LatestMetrics, MinuteRollup, Rollup, Sample
from tenants.models import Tenant

#: What a chart may show, by its name.
RANGES = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
    "1y": timedelta(days=365),
}
#: Up to this length, points are so many seconds apart: 90 to 365 points, and 60 for an hour.
_STEPS = (
    (RANGES["15m"], 5),
    (RANGES["1h"], 60),
    (RANGES["24h"], 300),
    (RANGES["7d"], 3600),
    (RANGES["30d"], 7200),
)
_LONGEST_STEP_SECONDS = 86_400
#: A sample is still to come for so many times as long as two of its series usually are apart.
_LATE = 1.5

#: t (seconds since 1970, where the step begins), average, least, greatest; all three None where there was no sample.
Point = tuple[int, float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """`points` of every name stand at the same moments, `step` seconds apart; the last step may still go on.

    A counter's are how much it rose a second, in `unit`; `rises` has how much it rose in each step, and in the one
    before the first: what they were made of. It is None where there was no sample. `lasts`: for how many steps a value
    stands, see `standing`.
    """

    names: list[str]
    unit: dict[str, str]
    step: int
    points: dict[str, list[Point]]
    rises: dict[str, list[float | None]]
    lasts: dict[str, int]


def recent(tenant: Tenant, names: Sequence[str] | None, span: str) -> Series:
    """The series of one of RANGES that ends now. Without names: of every metric the tenant has."""
    now = timezone.now()
    return series(tenant, names, now - RANGES[span], now)


def series(tenant: Tenant, names: Sequence[str] | None, since: datetime, until: datetime) -> Series:
    """How metrics went from `since` to `until`, in steps that suit the length.

    Up to a quarter of an hour from the samples themselves, which are kept a day; from minutes up to a day, from hours
    up to a month, which in minutes would be 43,200 rows a metric; from days beyond.
    """
    step = next((seconds for length, seconds in _STEPS if until - since <= length), _LONGEST_STEP_SECONDS)
    first, last = (int(moment.timestamp()) // step * step for moment in (since, until))
    with scope(tenant=tenant):
        latest = LatestMetrics.objects.filter(pk=tenant.pk).first()
        known = latest.metrics if latest else {}
        wanted = sorted(known) if names is None else list(dict.fromkeys(names))
        # One step more at the front: a counter's first rise needs to know that something was before it.
        if step < MinuteRollup.SECONDS:
            found = _of_samples(wanted, first - step, last, step)
        else:
            found = _of_rollups(_longest_within(step), wanted, first - step, last, step)
    grid = range(first, last + step, step)
    counters = [name for name in wanted if known.get(name, {}).get("kind") == COUNTER]
    rises = {name: [found[name].get(t, _nothing(t))[4] for t in (first - step, *grid)] for name in counters}
    points: dict[str, list[Point]] = {
        name: [found[name].get(t, _nothing(t))[:4] for t in grid] for name in wanted if name not in rises
    }
    for name, risen in rises.items():
        points[name] = [(t, rate, rate, rate) for t, rate in zip(grid, rates(risen, step), strict=True)]
    return Series(
        names=wanted,
        unit={name: per_second(unit) if name in rises else unit for name, unit in _units(known, wanted)},
        step=step,
        points=points,
        rises=rises,
        lasts={name: lasting(found[name].values(), step) for name in wanted},
    )


def _units(known: dict[str, dict[str, Any]], names: Iterable[str]) -> Iterable[tuple[str, str]]:
    return ((name, known.get(name, {}).get("unit", "")) for name in names)


def per_second(unit: str) -> str:
    return f"{unit}/s"


def rates(rises: Sequence[float | None], step: int) -> list[float | None]:
    """How fast a counter rose in each step but the first, per second.

    Of the last step, which may still go on, nothing can be said; after a gap the rise is that of the whole gap.
    `static/js/chart.js` says the same: monitoring/tests/rates.json holds the two to each other.
    """
    found: list[float | None] = []
    steps = 0 if rises[0] is None else 1  # since the last sample; 0 while none is known
    for rise in rises[1:]:
        if rise is None:
            found.append(None)
            steps += steps > 0
        else:
            found.append(rise / (steps * step) if steps else None)
            steps = 1
    return [*found[:-1], None]


#: A point, how much a counter rose in it, and how many samples it is made of.
Step = tuple[int, float | None, float | None, float | None, float | None, int]
Found = dict[str, dict[int, Step]]


def _nothing(t: int) -> Step:
    return (t, None, None, None, None, 0)


def lasting(sampled: Iterable[Step], step: int) -> int:
    """For how many steps a value stands: half as long again as two samples of its series usually are apart.

    The middle of all intervals tells that, so that neither a stop nor a burst does. One step where there is none.
    """
    counts = sorted((t, samples) for t, *_, samples in sampled)
    apart = [(t - before) / samples for (before, _), (t, samples) in pairwise(counts)]
    return max(1, math.ceil(_LATE * median_low(apart) / step)) if apart else 1


def standing(points: Sequence[float | None], lasts: int) -> list[float | None]:
    """The points of a chart, where each stands until the next, for `lasts` steps at most. What is None then is a gap.

    A series that is sampled less often than there are steps has not stopped in between. Before the first sample that
    one stands, where it is no further away. `static/js/chart.js` says the same: monitoring/tests/standing.json holds
    the two to each other.
    """
    first = next((place for place, point in enumerate(points) if point is not None), lasts)
    known = points[first] if first < lasts else None
    found: list[float | None] = []
    age = 0  # steps since the sample that stands
    for point in points:
        if point is not None:
            known, age = point, 0
        found.append(known if age < lasts else None)
        age += 1
    return found


def _longest_within(step: int) -> type[Rollup]:
    """The longest roll-up that `step` is made of whole ones of."""
    return next(model for model in (DayRollup, HourRollup, MinuteRollup) if step % model.SECONDS == 0)


def _of_samples(names: Iterable[str], first: int, last: int, step: int) -> Found:
    """`step` divides a minute."""
    begins, ends = (datetime.fromtimestamp(t, UTC) for t in (first, last + step))
    rows = (
        Sample.objects.filter(name__in=names, at__gte=begins, at__lt=ends)
        .values("name", start=TruncMinute("at", tzinfo=UTC), second=ExtractSecond("at") - ExtractSecond("at") % step)
        .annotate(
            average=Avg("value"),
            least=Min("value"),
            greatest=Max("value"),
            risen=Sum("increase"),
            samples=Count("value"),
        )
        .values_list("name", "start", "second", "average", "least", "greatest", "risen", "samples")
    )
    found: Found = defaultdict(dict)
    for name, start, second, average, least, greatest, risen, samples in rows.order_by():
        t = int(start.timestamp()) + int(second)
        found[name][t] = (t, average, least, greatest, risen or 0.0, samples)
    return found


def _of_rollups(model: type[Rollup], names: Iterable[str], first: int, last: int, step: int) -> Found:
    """`step` is whole periods."""
    begins, ends = (model.period_of(datetime.fromtimestamp(t, UTC)) for t in (first, last + step))
    within = {f"{model.PERIOD}__gte": begins, f"{model.PERIOD}__lt": ends}
    rows = (
        model._default_manager.filter(name__in=names, **within)
        .values("name", start=F(model.PERIOD) - F(model.PERIOD) % (step // model.SECONDS))
        .annotate(total=Sum("sum"), samples=Sum("count"), least=Min("min"), greatest=Max("max"), risen=Sum("increase"))
        .values_list("name", "start", "total", "samples", "least", "greatest", "risen")
    )
    found: Found = defaultdict(dict)
    for name, start, total, samples, least, greatest, risen in rows.order_by():
        t = start * model.SECONDS
        found[name][t] = (t, total / samples, least, greatest, risen or 0.0, samples)
    return found
