"""Deployments as pages list them: which, in what order, and what a row says.

`static/js/rows.js` says the same words from events; `deployments/tests/words.json` holds the two to each other.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import CharField, F, Model, Q, QuerySet, Value, Window
from django.db.models.functions import Cast, Concat, RowNumber
from django.http import QueryDict
from django.urls import reverse

from deployments.models import ACTIVE, QUEUE_PLACES_SHOWN, Deployment, Status, StepStatus
from tenants.models import Tenant

PAGE_SIZE = 50
#: What a list is ordered and cut by: a tenant's by number, that of all tenants by id, which rises with time.
Key = int | UUID
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
        return self != type(self)()

    def apply(self, deployments: QuerySet[Deployment]) -> QuerySet[Deployment]:
        if self.statuses:
            deployments = deployments.filter(status__in=self.statuses)
        if self.stack:
            deployments = deployments.filter(release__stack__slug=self.stack)
        if self.query:
            title = Concat(F("name"), Value(" #"), Cast("number", CharField()), output_field=CharField())
            deployments = deployments.alias(shown_title=title).filter(shown_title__icontains=self.query)
        return deployments

    def address(self, **changed: str | Key) -> str:
        """The query string of these filters with some of them changed; empty values are left out."""
        kept = {name: value for name, value in (self.values() | changed).items() if value and value != "all"}
        return f"?{urlencode(kept)}" if kept else "?"

    def values(self) -> dict[str, str | Key]:
        """Each filter by its name in the address."""
        return {"status": self.group, "stack": self.stack, "q": self.query}


@dataclass(frozen=True, slots=True)
class Row:
    """What a page shows of a deployment. With no deployment: the blank that a page's script fills."""

    id: str = ""
    url: str = ""
    tenant: str = ""
    number: int = 0
    version: int = 0
    status: str = Status.QUEUED
    name: str = ""
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


def row(deployment: Deployment, place: int | None, url: str, tenant: str = "") -> Row:
    """`tenant` is its name, where a list has those of several."""
    return Row(
        id=str(deployment.id),
        url=url,
        tenant=tenant,
        number=deployment.number,
        version=deployment.version,
        status=deployment.status,
        name=deployment.name,
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
    places = queue_places(each.tenant_id for each in found if each.status == Status.QUEUED)
    return [row(each, places.get(each.id), page_of(each, tenant)) for each in found]


def page_of(deployment: Deployment, tenant: Tenant) -> str:
    """The address of its tenant's page of it."""
    return reverse("deployment", args=[tenant.slug, deployment.number])


def later_than(deployment: Deployment) -> QuerySet[Deployment]:
    """The deployments that ran this one again, to retry it or to roll back to it."""
    return Deployment.objects.filter(Q(retry_of=deployment) | Q(rollback_of=deployment)).order_by("number")


def queue_places(tenants: Iterable[UUID]) -> dict[UUID, int]:
    """Place in its tenant's queue by the deployment's id, 1 for the next; of each only the first QUEUE_PLACES_SHOWN."""
    if not (wanted := set(tenants)):
        return {}
    place = Window(RowNumber(), partition_by="tenant_id", order_by="number")
    waiting = Deployment.objects.filter(tenant__in=wanted, status=Status.QUEUED).order_by()
    first = waiting.annotate(place=place).filter(place__lte=QUEUE_PLACES_SHOWN)
    return dict(first.values_list("id", "place"))


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


M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Page:
    """Up to PAGE_SIZE rows, newest first. A page holds the keys from `low` to `high`; None is without end."""

    rows: list[Any]
    low: Key | None
    high: Key | None
    older: Key | None
    newer: Key | None


def page(deployments: QuerySet[Deployment], tenant: Tenant, given: QueryDict) -> Page:
    """The page of a tenant's list that the address asks for: `before` or `after` a number, else the newest."""
    before, after = number_in(given.get("before")), number_in(given.get("after"))
    return cut(deployments, "number", before, after, lambda found: rows(found, tenant))


def cut(
    listed: QuerySet[M], key: str, before: Key | None, after: Key | None, as_rows: Callable[[list[M]], list[Any]] = list
) -> Page:
    """The page before or after a value of the unique field `key`, else the newest. Of whatever is listed."""
    if after is not None:
        found = list(listed.filter(**{f"{key}__gt": after}).order_by(key)[: PAGE_SIZE + 1])
        more_newer, more_older = len(found) > PAGE_SIZE, True
        found = found[:PAGE_SIZE][::-1]
    else:
        within = listed if before is None else listed.filter(**{f"{key}__lt": before})
        found = list(within.order_by(f"-{key}")[: PAGE_SIZE + 1])
        more_newer, more_older = before is not None, len(found) > PAGE_SIZE
        found = found[:PAGE_SIZE]
    first, last = (getattr(found[0], key), getattr(found[-1], key)) if found else (None, None)
    return Page(
        rows=as_rows(found),
        low=last if more_older else None,
        high=first if more_newer else None,
        older=last if more_older else None,
        newer=first if more_newer else None,
    )


def number_in(text: str | None, digits: int = 9) -> int | None:
    """The whole number that somebody gave; None for anything else, and for one longer than any of ours."""
    return int(text) if text and text.isdecimal() and len(text) <= digits else None


def id_in(text: str | None) -> UUID | None:
    """The id that somebody gave; None for anything else."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
