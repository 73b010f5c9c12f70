"""What `manage.py pulse` does for the people who look after the platform: says when a part changes, and its figures.

The figures must not be about themselves: an event that says "one event a second" is not counted, and an event on its
way is no lag, or a platform where nothing happens would have something new to say every second.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from events.emit import emit
from events.heartbeats import Heart
from events.models import Entry
from monitoring.alerting import platform
from monitoring.alerting.models import Severity
from monitoring.events import MetricsUpdate
from portal import times
from portal.models import PlatformFigures, PlatformHealth
from portal.ops import health
from portal.ops.facts import FACTS
from portal.ops.health import CursorFacts, Health, Part, State

EVERY_SECONDS = 1.0
#: So many values of events a second are kept for the small chart.
LATELY_KEPT = 120
#: Without these nothing that is emitted arrives now; to say so every second would only fill the log.
NEEDED_TO_TELL = ("engine", "relay")

#: Rules look at minutes: so often the platform's figures are added to the minute that goes on.
RECORDED_EVERY_SECONDS = 10.0

Figures = dict[str, float]
#: How loud the alert about a part is.
LOUD = {State.DEGRADED: Severity.WARNING, State.FAILED: Severity.CRITICAL}


@dataclass
class Watch:
    """Looks at the platform once a second. Several of them do no harm: what they remember is in the database."""

    heart: Heart = field(default_factory=lambda: Heart("pulse"))
    _before: tuple[float, int] | None = None
    _told: Figures | None = None
    _recorded: float | None = None

    def step(self) -> None:
        """One look: the heartbeat, the parts' states, the figures."""
        try:
            self.heart.beat()
        finally:  # a database that is away is something to be seen, too
            found = health.look()
            FACTS.saw(found)
        if found.database_is_away:
            return
        health.note(found)
        platform.observe(unwell(health.with_history(found, PlatformHealth.now())), found.at)
        figures = self._figures(found)
        self._record(figures, found.at)
        can_tell = all(part.is_well for part in found.parts if part.name in NEEDED_TO_TELL)
        if figures != (self._told if can_tell else PlatformFigures.now().metrics):
            say(figures, found.at, emitting=can_tell)
            self._told = figures if can_tell else None

    def _record(self, figures: Figures, at: datetime) -> None:
        now = time.monotonic()
        if self._recorded is None or now - self._recorded >= RECORDED_EVERY_SECONDS:
            platform.record(figures, at)
            self._recorded = now

    def _figures(self, found: Health) -> Figures:
        lags = {f"{_plain(cursor)}_lag": float(late(cursor, found.at)) for cursor in found.cursors}
        figures = {"events_per_second": self._rate(found.newest_seq), "dead_letters": float(found.dead_letters)} | lags
        if found.engine.connections is not None:
            figures["connections"] = float(found.engine.connections)
        return figures

    def _rate(self, newest: int) -> float:
        """Events a second since the last look, without those that say these figures."""
        now, before = time.monotonic(), self._before
        self._before = (now, newest)
        if before is None or newest <= before[1]:
            return 0.0
        own = Entry.objects.filter(
            seq__gt=before[1], seq__lte=newest, event__type=MetricsUpdate.type, event__tenant=None
        ).count()
        rate = (newest - before[1] - own) / (now - before[0])
        return float(round(rate)) if rate >= 10 else round(rate, 1)


def unwell(found: Health) -> list[platform.Part]:
    """The parts that somebody may have to look after."""
    return [_unwell(part, found) for part in found.problems]


def _unwell(part: Part, found: Health) -> platform.Part:
    """While one that it needs is not well, that is why. Then it has as long as any other to be well: it is unwell by
    itself from then on."""
    needed = found.needed_by(part)
    since = max([part.since or found.at, *(one.since for one in needed if one.since)])
    is_explained = not all(one.is_well for one in needed)
    return platform.Part(part.name, LOUD[part.state], part.reason, since, is_explained)


def late(cursor: CursorFacts, now: datetime) -> int:
    """How many events wait for a cursor; 0 while the first of them is only on its way."""
    return cursor.lag if cursor.is_late(now) else 0


def _plain(cursor: CursorFacts) -> str:
    return cursor.name.removeprefix("handler:")


@transaction.atomic
def say(figures: Figures, at: datetime, *, emitting: bool) -> PlatformFigures:
    """Store the platform's figures and, where it can arrive, emit the event that says them."""
    row = PlatformFigures.locked()
    row.metrics, row.as_of = figures, at
    row.lately = [*row.lately, [times.wire(at), figures["events_per_second"]]][-LATELY_KEPT:]
    row.version += 1
    row.save()
    if emitting:
        emit(MetricsUpdate(metrics=figures, version=row.version))
    return row
