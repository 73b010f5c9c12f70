"""How much counters rose: what each sample adds to the one before it. A counter that fell has begun anew, at 0.

Each sample keeps what it adds, and roll-ups sum that: however long a period is, no restart within it is lost. A sample
that comes late takes its part of what the one after it had added.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from monitoring.models import COUNTER, LatestMetrics, Measured, Sample


@dataclass(slots=True)
class Risen:
    """`amounts`: what each new sample adds. `later`: samples stored before that add something else now, and how much
    more than they did."""

    amounts: dict[tuple[str, datetime, float], float] = field(default_factory=dict)
    later: list[tuple[Sample, float]] = field(default_factory=list)

    def changes(self) -> Iterable[tuple[str, datetime, float]]:
        """Of each series: when its roll-ups rise, and by how much."""
        yield from ((name, at, amount) for (name, at, _), amount in self.amounts.items())
        yield from ((row.name, row.at, change) for row, change in self.later)


def rise(before: float | None, value: float) -> float:
    """What a sample adds. Of the first there is nothing to tell."""
    if before is None:
        return 0.0
    return value - before if value >= before else value


def risen(latest: LatestMetrics, samples: Iterable[Measured]) -> Risen:
    """What samples add that are not stored yet; `latest`, which is locked, does not know them either."""
    of_series: dict[str, list[Measured]] = defaultdict(list)
    for one in samples:
        if one.kind == COUNTER:
            of_series[one.name].append(one)
    found = Risen()
    for name, new in of_series.items():
        new.sort(key=_place)
        known = latest.metrics.get(name)
        if known is None:
            _add(found, None, new)
        elif _place(new[0]) > (datetime.fromisoformat(known["at"]), known["value"]):
            _add(found, known["value"], new)
        else:
            _add(found, *_among_stored(latest, new))
    return found


def _place(one: Measured | Sample) -> tuple[datetime, float]:
    """Of two values of one moment the greater is the later, as in `LatestMetrics`."""
    return (one.at, one.value)


def _add(found: Risen, before: float | None, ordered: Sequence[Measured | Sample]) -> None:
    for one in ordered:
        amount = rise(before, one.value)
        if isinstance(one, Measured):
            found.amounts[one.identity] = amount
        elif one.increase != amount:
            found.later.append((one, amount - (one.increase or 0.0)))
            one.increase = amount
        before = one.value


def _among_stored(latest: LatestMetrics, new: Sequence[Measured]) -> tuple[float | None, list[Measured | Sample]]:
    """The value before them, and late samples with those that are stored between them and the next one after."""
    rows = Sample.objects.filter(tenant=latest.pk, name=new[0].name).order_by("at", "value")
    before = rows.filter(at__lt=new[0].at).last()
    stored = [*rows.filter(at__range=(new[0].at, new[-1].at)), *rows.filter(at__gt=new[-1].at)[:1]]
    ordered: list[Measured | Sample] = sorted([*new, *stored], key=_place)
    return before.value if before else _no_longer_stored(new[0], stored), ordered


def _no_longer_stored(first: Measured, stored: Sequence[Sample]) -> float | None:
    """What the next one was compared with, where that is known: samples are kept for a day only."""
    after = next((one for one in stored if _place(one) > _place(first)), None)
    if after is None or not after.increase or first.value > after.value:
        return None
    return after.value - after.increase
