"""How the platform is, in three seconds: what needs help and what to do about it, then every part and the figures."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from deployments.models import ACTIVE, Deployment
from events import channels
from events.cursors import PUSH
from portal.jump import ops_targets
from portal.models import PlatformFigures, PlatformHealth
from portal.ops import activity, health
from portal.ops.guides import HANDLER_PREFIX, Guide, guide_to
from portal.ops.health import CursorFacts, Health, Part, State
from portal.ops.watch import late
from tenants.access import PlatformRequest, platform_page

#: The small chart of events a second shows as much time.
SPARK_SECONDS = 120
ACTIVITY_SHOWN = 8
SPARK_WIDTH, SPARK_HEIGHT = 120.0, 28.0


@require_GET
@platform_page
@never_cache
def ops_home(request: PlatformRequest) -> HttpResponse:
    live = request.live.follow(
        channels.SYSTEM_HEALTH, channels.SYSTEM_METRICS, channels.ADMIN_DEPLOYMENTS, channels.ADMIN_EVENTS
    )
    context = {"section": "ops_home", "live": live, "feed": activity.newest(ACTIVITY_SHOWN)}
    return render(request, "portal/ops/home.html", context | state_of_the_platform())


@require_GET
@platform_page
@never_cache
def ops_health(request: PlatformRequest) -> HttpResponse:
    """The parts of the home that the page reads anew while nobody can tell it."""
    return render(request, "portal/ops/state.html", state_of_the_platform())


@require_GET
@platform_page
@never_cache
def ops_jump(request: PlatformRequest) -> HttpResponse:
    """Find a page or a tenant by name, an event by its id or number: what Ctrl K asks here."""
    query = request.GET.get("q", "").replace("\x00", "")[:100]
    return render(request, "portal/jump.html", {"section": "", "query": query, "targets": ops_targets(query)})


@dataclass(frozen=True, slots=True)
class PartRow:
    part: Part
    guide: Guide

    @property
    def word(self) -> str:
        return "OK" if self.part.is_well else self.part.state.capitalize()


@dataclass(frozen=True, slots=True)
class CursorRow:
    """`figure` names its lag in `metrics_update`; `late` is how many events wait for it in earnest."""

    row: PartRow
    cursor: CursorFacts
    late: int

    @property
    def figure(self) -> str:
        return f"{self.cursor.name.removeprefix(HANDLER_PREFIX)}_lag"


def state_of_the_platform() -> dict[str, Any]:
    """What both views show, looked at now."""
    remembered, figures = PlatformHealth.now(), PlatformFigures.now()
    found = health.with_history(health.look(), remembered)
    rows = {part.name: PartRow(part, guide_to(part.name)) for part in found.parts}
    cursors = [CursorRow(rows[cursor.name], cursor, late(cursor, found.at)) for cursor in found.cursors]
    of_cursors = {cursor.name for cursor in found.cursors}
    is_measured = bool(figures.version) and not any(part.name == "pulse" for part in found.problems)
    return {
        "health": found,
        "health_version": remembered.version,
        "worst": worst(found),
        "rows": list(rows.values()),
        "parts": [row for name, row in rows.items() if name not in of_cursors],
        "cursors": cursors,
        "push_late": next((row.late for row in cursors if row.cursor.name == PUSH), 0),
        "figures": figures,
        "is_measured": is_measured,
        "spark": spark(figures.lately, found.at) if is_measured else "",
        "running": list(Deployment.objects.filter(status__in=ACTIVE).order_by("created_at").only("id", "version")),
    }


def worst(found: Health) -> State:
    states = {part.state for part in found.parts}
    return next((state for state in (State.FAILED, State.DEGRADED) if state in states), State.OK)


def spark(lately: list[list[Any]], now: datetime) -> str:
    """The points of the small chart: each value holds until the next. `static/js/ops.js` draws the same."""
    aged = [((now - datetime.fromisoformat(at)).total_seconds(), value) for at, value in lately]
    top = max((value for age, value in aged if age <= SPARK_SECONDS), default=0) or 1
    points: list[str] = []
    height = SPARK_HEIGHT
    for age, value in aged:
        x = max(0.0, SPARK_WIDTH * (1 - age / SPARK_SECONDS))
        before, height = height, SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 2) * min(1, value / top)
        if age <= SPARK_SECONDS:
            points += [f"{x:.1f},{before:.1f}", f"{x:.1f},{height:.1f}"]
    return " ".join([*points, f"{SPARK_WIDTH:.1f},{height:.1f}"])
