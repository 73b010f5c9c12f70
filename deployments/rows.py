"""Deployments as pages list them: which, in what order, and what a row says.

`static/js/rows.js` says the same words from events; `deployments/tests/words.json` holds the two to each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import CharField, F, QuerySet, Value
from django.db.models.functions import Cast, Concat
from django.http import QueryDict
from django.urls import reverse

from deployments.models import ACTIVE, QUEUE_PLACES_SHOWN, Deployment, Status, StepStatus
from tenants.models import Tenant

PAGE_SIZE = 50
#: What the list's tabs hold; "all" is everything.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": (),
    "active": (Status.QUEUED, *ACTIVE),
    "failed": (Status.FAILED, Status.LOST),
    "completed": (Status.COMPLETED,),
    "cancelled": (Status.CANCELLED,),
}


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for. An unknown value counts as not given: an old link still opens."""

    group: str = "all"
    stack: str = ""
    query: str = ""

    @classmethod
    def of(cls, given: QueryDict) -> "Filters":
        group = given.get("status", "all")
        stack, query = (given.get(name, "").replace("\x00", "") for name in ("stack", "q"))
        return cls(group if group in GROUPS else "all", stack[:50], query.strip()[:100])

    @property
    def statuses(self) -> tuple[str, ...]:
        return GROUPS[self.group]

    @property
    def is_set(self) -> bool:
        return self != Filters()

    def apply(self, deployments: QuerySet[Deployment]) -> QuerySet[Deployment]:
        if self.statuses:
            deployments = deployments.filter(status__in=self.statuses)
        if self.stack:
            deployments = deployments.filter(release__stack__slug=self.stack)
        if self.query:
            title = Concat(F("name"), Value(" #"), Cast("number", CharField()), output_field=CharField())
            deployments = deployments.alias(shown_title=title).filter(shown_title__icontains=self.query)
        return deployments

    def address(self, **changed: str | int) -> str:
        """The query string of these filters with some of them changed; empty values are left out."""
        values = {"status": self.group, "stack": self.stack, "q": self.query} | changed
        kept = {name: value for name, value in values.items() if value and value != "all"}
        return f"?{urlencode(kept)}" if kept else "?"


@dataclass(frozen=True, slots=True)
class Row:
    """What a page shows of a deployment. With no deployment: the blank that a page's script fills."""

    id: str = ""
    url: str = ""
    number: int = 0
    version: int = 0
    status: str = Status.QUEUED
    title: str = ""
    stack: str = ""
    stack_version: int = 0
    requested_by: str = ""
    digest: str = ""
    progress: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def status_word(self) -> str:
        return Status(self.status).label


def row(deployment: Deployment, place: int | None, slug: str) -> Row:
    return Row(
        id=str(deployment.id),
        url=reverse("deployment", args=[slug, deployment.number]),
        number=deployment.number,
        version=deployment.version,
        status=deployment.status,
        title=deployment.title,
        stack=deployment.release.stack.slug,
        stack_version=deployment.release.stack_version,
        requested_by=deployment.requester_name,
        digest=deployment.release.short_digest,
        progress=progress(deployment, place),
        created_at=deployment.created_at,
        started_at=deployment.started_at,
        ended_at=deployment.ended_at,
    )


def rows(deployments: Iterable[Deployment], tenant: Tenant) -> list[Row]:
    """One row each; the queue is read once, however many wait in it."""
    found = list(deployments)
    places = queue_places(tenant) if any(deployment.status == Status.QUEUED for deployment in found) else {}
    return [row(deployment, places.get(deployment.number), tenant.slug) for deployment in found]


def queue_places(tenant: Tenant) -> dict[int, int]:
    """Place in the queue by number, 1 for the next; only the first QUEUE_PLACES_SHOWN have one."""
    waiting = Deployment.objects.filter(tenant=tenant, status=Status.QUEUED).order_by("number")
    numbers = waiting.values_list("number", flat=True)[:QUEUE_PLACES_SHOWN]
    return {number: place for place, number in enumerate(numbers, start=1)}


def progress(deployment: Deployment, place: int | None) -> str:
    """One line on where it stands: its place in the queue, its step, or why it ended."""
    if deployment.status == Status.QUEUED:
        return f"{ordinal(place) if place else f'After the {QUEUE_PLACES_SHOWN}th'} in the queue"
    if deployment.status in ACTIVE:
        asked = "Cancel asked · " if deployment.cancel_requested_at else ""
        return asked + _step_words(deployment.steps)
    if deployment.status == Status.COMPLETED:
        return f"{_count(deployment.steps)} done"
    return deployment.reason


def _step_words(steps: list[dict[str, Any]]) -> str:
    for number, step in enumerate(steps, start=1):
        if step["status"] == StepStatus.RUNNING:
            return f"{step['name']} · {number} of {len(steps)}"
    return f"{sum(step['status'] == StepStatus.COMPLETED for step in steps)} of {len(steps)} steps"


def _count(steps: list[dict[str, Any]]) -> str:
    return f"{len(steps)} step" if len(steps) == 1 else f"{len(steps)} steps"


def ordinal(number: int) -> str:
    if 10 <= number % 100 <= 20:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


@dataclass(frozen=True, slots=True)
class Page:
    """Up to PAGE_SIZE rows, newest first. A page holds the numbers from `low` to `high`; None is without end."""

    rows: list[Row]
    low: int | None
    high: int | None
    older: int | None
    newer: int | None


def page(deployments: QuerySet[Deployment], tenant: Tenant, given: QueryDict) -> Page:
    """The page that the address asks for: `before` or `after` a number, else the newest."""
    before, after = number_in(given.get("before")), number_in(given.get("after"))
    if after is not None:
        found = list(deployments.filter(number__gt=after).order_by("number")[: PAGE_SIZE + 1])
        more_newer, more_older = len(found) > PAGE_SIZE, True
        found = found[:PAGE_SIZE][::-1]
    else:
        within = deployments if before is None else deployments.filter(number__lt=before)
        found = list(within.order_by("-number")[: PAGE_SIZE + 1])
        more_newer, more_older = before is not None, len(found) > PAGE_SIZE
        found = found[:PAGE_SIZE]
    first, last = (found[0].number, found[-1].number) if found else (None, None)
    return Page(
        rows=rows(found, tenant),
        low=last if more_older else None,
        high=first if more_newer else None,
        older=last if more_older else None,
        newer=first if more_newer else None,
    )


def number_in(text: str | None) -> int | None:
    """The whole number that somebody gave; None for anything else, and for one longer than any of ours."""
    return int(text) if text and text.isdecimal() and len(text) < 10 else None
