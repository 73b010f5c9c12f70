"""Who did what: the log itself, a page at a time. The tenant's page is here, the platform's in `portal.ops.activity`.

What arrives is counted by `static/js/feed.js`, by the same filters: `Feed` tells it which.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from deployments.views import PageRequest
from events import channels, log
from events.channels import Channel, Topic
from events.emit import NOBODY
from events.log import PAGE_SIZE, Asked, Whose
from events.models import Event
from portal.kinds import Kind, address, kind_of, shown_kinds
from portal.times import day_words
from tenants.access import tenant_page
from tenants.models import ApiKey, Membership, Role, Tenant

#: In an address: `by` everybody, the platform itself included; and by the platform alone.
ALL, ITSELF = "all", "neo_stack"
#: Keys of a tenant that its filter offers, newest first.
KEYS_OFFERED = 50
_SEQ_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for. What it says wrongly is left out, and told in `problems`."""

    zone: str
    by: UUID | str = ""
    kind: str = ""
    day: date | None = None
    tenant: UUID | None = None
    before: int | None = None
    after: int | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def is_set(self) -> bool:
        return bool(self.by or self.kind or self.day or self.tenant)

    @property
    def is_paged(self) -> bool:
        return self.before is not None or self.after is not None

    @property
    def period(self) -> tuple[datetime, datetime] | tuple[None, None]:
        """The day from its first moment in the zone to the next one's: 23 or 25 hours, now and then."""
        if self.day is None:
            return None, None
        return _midnight(self.day, self.zone), _midnight(self.day + timedelta(days=1), self.zone)

    def actor(self) -> UUID | Literal[Whose.ANYBODY, Whose.NOBODY] | None:
        if isinstance(self.by, UUID):
            return self.by
        return {"": Whose.ANYBODY, ITSELF: Whose.NOBODY}.get(self.by)  # type: ignore[return-value]

    def address(self, **changed: object) -> str:
        """The query string of these filters with some changed. It leads to their newest page, unless told otherwise."""
        values = {"by": self.by, "kind": self.kind, "day": self.day, "tenant": self.tenant} | changed
        return f"?{urlencode({name: str(value) for name, value in values.items() if value}, safe='{}')}"


def read_filters(given: QueryDict, zone: str, *, named: tuple[str, ...] = (), tenant: Tenant | None = None) -> Filters:
    """The filters of an address. `named`: values of `by` that are no ids; `tenant`: the one it asks for."""
    problems: list[str] = []

    def read(name: str, parse: Any, what: str) -> Any:
        text = given.get(name, "").strip()
        if not text:
            return None
        try:
            return parse(text)
        except (ValueError, OverflowError):
            problems.append(f"“{text[:60]}” is {what} That filter was left out.")
            return None

    return Filters(
        zone=zone,
        by=read("by", lambda text: text if text in named else UUID(text), "nobody's id.") or "",
        kind=read("kind", _known_kind, "no kind of event.") or "",
        day=read("day", lambda text: _day(text, zone), "not a day: write it like 2026-11-23."),
        tenant=tenant.id if tenant else None,
        before=read("before", _seq, "no place in the log."),
        after=read("after", _seq, "no place in the log."),
        problems=problems,
    )


def _known_kind(text: str) -> str:
    if text not in {kind.type for kind in shown_kinds()}:
        raise ValueError
    return text


def _day(text: str, zone: str) -> date:
    day = date.fromisoformat(text)
    _midnight(day, zone), _midnight(day + timedelta(days=1), zone)  # the calendar's ends have none
    return day


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time.min, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _seq(text: str) -> int:
    if not text.isdecimal() or len(text) > _SEQ_DIGITS:
        raise ValueError
    return int(text)


# --- Rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """What a page shows of an event. Without one: the blank of its kind, which the page's script fills.

    The patterns are addresses with `{fields}` of the event; `day` is the zone's, as "2026-11-23".
    """

    kind: Kind
    pattern: str
    by_pattern: str
    by_url: str
    kind_url: str
    seq: int | None = None
    id: str = ""
    day: str = ""
    day_words: str = ""
    starts_day: bool = False
    at: datetime | None = None
    who: str = NOBODY
    summary: str = ""
    url: str = ""
    tenant: str = ""
    tenant_pattern: str = ""
    tenant_url: str = ""


@dataclass(frozen=True, slots=True)
class Feed:
    """A page of rows, and what its script needs to know which events belong on it."""

    filters: Filters
    channel: str
    rows: list[Row]
    blanks: list[Row]
    types: list[str]
    low: int | None
    high: int | None
    older: str
    newer: str
    size: int = PAGE_SIZE

    @property
    def where(self) -> str:
        """What an event must say, as JSON."""
        by = {Whose.ANYBODY: True, Whose.NOBODY: "", None: None}
        actor = self.filters.actor()
        wanted = {
            "actor.id": str(actor) if isinstance(actor, UUID) else by[actor],
            "tenantId": str(self.filters.tenant) if self.filters.tenant else None,
        }
        return json.dumps({path: value for path, value in wanted.items() if value is not None})

    @property
    def since(self) -> str:
        return _iso(self.filters.period[0])

    @property
    def until(self) -> str:
        return _iso(self.filters.period[1])


def _iso(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


#: The names of the tenants with these ids.
NamesOf = Callable[[set[UUID]], Mapping[UUID, str]]


class Rows:
    """Rows of events, for one page: with `slug` a tenant's, with `names_of` the platform's, each naming its tenant."""

    def __init__(self, filters: Filters, *, slug: str = "", names_of: NamesOf | None = None) -> None:
        self._filters, self._slug, self._names_of = filters, slug, names_of
        self._zone = ZoneInfo(filters.zone)
        self._names: Mapping[UUID, str] = {}

    def blank(self, kind: Kind) -> Row:
        return Row(**self._of(kind))

    def of(self, entries: Sequence[tuple[int, Event]]) -> list[Row]:
        if self._names_of:
            self._names = self._names_of({event.tenant_id for _, event in entries if event.tenant_id})
        found: list[Row] = []
        for seq, event in entries:
            day = event.occurred_at.astimezone(self._zone).date()
            starts_day = not found or found[-1].day != day.isoformat()
            found.append(self._row(seq, event, day, starts_day))
        return found

    def _of(self, kind: Kind) -> dict[str, Any]:
        """What a row of this kind says whatever the event."""
        pattern = kind.tenant_page.replace("{slug}", self._slug) if self._slug else kind.ops_page
        return {
            "kind": kind,
            "pattern": pattern,
            "by_pattern": self._filters.address(by="{actor.id}"),
            "by_url": self._filters.address(by=ITSELF),
            "kind_url": self._filters.address(kind=kind.type),
            "tenant_pattern": self._filters.address(tenant="{tenantId}") if self._names_of else "",
        }

    def _row(self, seq: int, event: Event, day: date, starts_day: bool) -> Row:
        fixed = self._of(kind_of(event.type))
        wire = event.wire(seq)
        if event.actor_id:
            fixed["by_url"] = address(fixed["by_pattern"], wire)
        return Row(
            **fixed,
            seq=seq,
            id=str(event.uuid),
            day=day.isoformat(),
            day_words=day_words(day),
            starts_day=starts_day,
            at=event.occurred_at,
            who=event.actor_name or NOBODY,
            summary=event.summary,
            url=address(fixed["pattern"], wire),
            tenant=self._names.get(event.tenant_id, "") if event.tenant_id else "",
            tenant_url=address(fixed["tenant_pattern"], wire),
        )


def kinds_in(whose: UUID | Whose) -> list[Kind]:
    """The kinds of event that there are: for a tenant those that somebody can be behind."""
    return [kind for kind in shown_kinds() if kind.is_done or whose is Whose.PLATFORM]


def feed(
    asked: Asked, filters: Filters, rows: Rows, channel: Channel, *, may_listen: bool = True, size: int = PAGE_SIZE
) -> Feed:
    """The page of the log that the filters ask for. Nothing of it for who may not listen to what goes on there."""
    if may_listen:
        page = log.activity(asked, before=filters.before, after=filters.after, limit=size)
    else:
        page = log.Page([], has_older=False, has_newer=False)
    first, last = (page.rows[0][0], page.rows[-1][0]) if page.rows else (None, None)
    # An empty page lies just beyond the place that its address names.
    high = first if first is not None or filters.before is None else filters.before - 1
    low = last if last is not None or filters.after is None else filters.after + 1
    kinds = [kind_of(filters.kind)] if filters.kind else kinds_in(asked.whose)
    return Feed(
        filters=filters,
        channel=channel.name,
        rows=rows.of(page.rows),
        blanks=[rows.blank(kind) for kind in kinds],
        types=[kind.type for kind in kinds],
        low=low if page.has_older else None,
        high=high if page.has_newer else None,
        older=filters.address(before=low) if page.has_older and page.rows else "",
        newer=filters.address(after=high) if page.has_newer and page.rows else "",
        size=size,
    )


# --- A tenant's page --------------------------------------------------------------------------------------------------


@require_GET
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def activity(request: PageRequest) -> HttpResponse:
    """Who did what in this tenant, newest first: for those who may listen to its channel of activity."""
    tenant = request.tenant
    channel = channels.tenant(tenant.id, Topic.ACTIVITY)
    live = request.live.follow(channel)
    filters = read_filters(request.GET, tenant.time_zone)
    since, until = filters.period
    actor = filters.by if isinstance(filters.by, UUID) else None
    kinds = [filters.kind] if filters.kind else []
    asked = Asked(tenant.id, actor=actor, kinds=kinds, since=since, until=until)
    may_listen = request.live.may_listen(channel)
    shown = feed(asked, filters, Rows(filters, slug=tenant.slug), channel, may_listen=may_listen)
    context = {
        "section": "activity",
        "live": live,
        "feed": shown,
        "filters": filters,
        "denied": "" if may_listen else live.config["denied"][channel.name]["reason"],
        "people": with_chosen(people_of(tenant), filters, shown.rows),
        "kinds": kinds_in(asked.whose),
    }
    return render(request, "portal/activity.html", context)


def people_of(tenant: Tenant) -> list[tuple[str, str]]:
    """(id, name) of the tenant's members and of its newest keys: who is likely to have done something."""
    members = Membership.objects.filter(tenant=tenant).select_related("user").order_by("user__name")
    keys = ApiKey.objects.filter(tenant=tenant).order_by("-created")[:KEYS_OFFERED]
    return [
        *((str(member.user_id), member.user.actor.name) for member in members),
        *((str(key.id), f"{key.name} (API key)") for key in keys),
    ]


def with_chosen(people: list[tuple[str, str]], filters: Filters, rows: list[Row]) -> list[tuple[str, str]]:
    """With the one the address names, who may have left since: the rows, which are all theirs, know the name."""
    if not isinstance(filters.by, UUID) or str(filters.by) in dict(people):
        return people
    return [(str(filters.by), rows[0].who if rows else "Somebody of whom nothing is kept"), *people]
