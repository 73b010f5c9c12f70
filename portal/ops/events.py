"""The log as a list, and one event: how far it got, what it says, and what of it nobody has got."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from deployments.rows import PAGE_SIZE, Key, cut, id_in, number_in
from events import catalogue, channels, ids
from events.models import DeadLetter, Entry, Event
from portal.ops.deployments import NO_ID
from portal.ops.journeys import journey_of
from portal.ops.tenant_filter import TenantFilter
from tenants.access import PlatformRequest, platform_page
from tenants.models import Tenant

SEQ_DIGITS = 18


@dataclass(frozen=True, slots=True)
class EventFilters:
    """What the address asks for. An unknown value counts as not given: an old link still opens."""

    type: str = ""
    tenant: Tenant | None = None
    id: str = ""
    dead: bool = False

    @classmethod
    def of(cls, given: QueryDict, tenant: Tenant | None) -> "EventFilters":
        kind, wanted = (given.get(name, "").replace("\x00", "") for name in ("type", "id"))
        kind = kind if kind in {known.type for known in catalogue.all_types()} else ""
        return cls(kind, tenant, wanted.strip()[:100], given.get("dead") == "1")

    @property
    def is_set(self) -> bool:
        return self != EventFilters()

    @property
    def takes(self) -> str:
        """Of what is told live, the types that belong in this list; empty if its page has to be asked for anew."""
        if self.id or self.dead or self.type in high_volume():
            return ""
        return self.type or "*"

    def apply(self, entries: QuerySet[Entry]) -> QuerySet[Entry]:
        if self.id:
            return self._with_id(entries)
        # What comes a hundred times a second would hide everything else; it is here when asked for.
        if self.type not in high_volume():
            entries = entries.filter(is_activity=True)
        if self.type:
            entries = entries.filter(type=self.type)
        if self.tenant:
            entries = entries.filter(tenant_id=self.tenant.id)
        return entries.filter(Exists(_letters(waiting=True))) if self.dead else entries

    def _with_id(self, entries: QuerySet[Entry]) -> QuerySet[Entry]:
        if (seq := number_in(self.id, SEQ_DIGITS)) is not None:
            return entries.filter(seq=seq)
        uuid = id_in(self.id)
        return entries.filter(event__uuid=uuid) if uuid else entries.none()

    def address(self, **changed: str | Key) -> str:
        tenant = self.tenant.slug if self.tenant else ""
        values = {"type": self.type, "tenant": tenant, "id": self.id, "dead": "1" if self.dead else ""} | changed
        return f"?{urlencode({name: value for name, value in values.items() if value})}"


def high_volume() -> list[str]:
    """The types that have a page of their own elsewhere, and aren't told on the platform's channel."""
    return [known.type for known in catalogue.all_types() if known.high_volume]


def _letters(**more: bool) -> QuerySet[DeadLetter]:
    letters = DeadLetter.objects.filter(event=OuterRef("event_id"))
    return letters.filter(resolution="") if more.get("waiting") else letters


# --- The list ---------------------------------------------------------------------------------------------------------


@require_GET
@platform_page
@never_cache
def ops_events(request: PlatformRequest) -> HttpResponse:
    live = request.live.follow(channels.ADMIN_EVENTS)
    tenants = TenantFilter.of(request.GET)
    if tenants.moved_to:
        return HttpResponseRedirect(tenants.moved_to)
    filters = EventFilters.of(request.GET, tenants.chosen)
    before, after = (number_in(request.GET.get(name), SEQ_DIGITS) for name in ("before", "after"))
    entries = Entry.objects.select_related("event__tenant").defer("event__payload", "event__channels", "event__revokes")
    shown = cut(filters.apply(entries.annotate(is_dead=Exists(_letters(waiting=True)))), "seq", before, after)
    tenants.saw(entry.event.tenant for entry in shown.rows)
    context = {
        "section": "ops_events",
        "live": live,
        "updates": channels.ADMIN_EVENTS,
        "filters": filters,
        "takes": filters.takes,
        "where": json.dumps({"tenantId": str(filters.tenant.id)} if filters.tenant else {}),
        "event_address": reverse("ops_event", args=[NO_ID]).replace(str(NO_ID), "{id}"),
        "types": sorted(known.type for known in catalogue.all_types()),
        "tenants": tenants,
        "page": shown,
        "older": filters.address(before=shown.older) if shown.older else None,
        "newer": filters.address(after=shown.newer) if shown.newer else None,
        "page_size": PAGE_SIZE,
        "waiting": DeadLetter.objects.filter(resolution="").count(),
    }
    return render(request, "portal/ops/events.html", context)


# --- One event --------------------------------------------------------------------------------------------------------


@require_GET
@platform_page
@never_cache
def ops_event(request: PlatformRequest, event_id: UUID) -> HttpResponse:
    live = request.live.follow()
    event = Event.objects.select_related("tenant", "entry").filter(uuid=event_id).first()
    if event is None:
        context = {"section": "ops_events", "event_id": event_id, **_fate(event_id)}
        return render(request, "portal/ops/event_gone.html", context, status=404)
    context = {
        "section": "ops_events",
        "live": live,
        "event": event,
        "seq": event.entry.seq if hasattr(event, "entry") else None,
        "payload": json.dumps(event.payload, indent=2, ensure_ascii=False, sort_keys=True),
        "letters": event.dead_letters.order_by("id"),
        **journey_of(event),
    }
    return render(request, "portal/ops/event.html", context)


def _fate(event_id: UUID) -> dict[str, Any]:
    """What an id tells of an event that is not there: when it was made, and since when such events are gone."""
    made = ids.made_at(event_id)
    now = timezone.now()
    if made is None or made > now:
        return {"made": None}
    short, long = timedelta(days=settings.HIGH_VOLUME_EVENTS_KEPT_DAYS), timedelta(days=settings.EVENTS_KEPT_DAYS)
    return {
        "made": made,
        "pruned": made + long if made + long < now else None,
        "pruned_if_high_volume": made + short if made + short < now else None,
        "high_volume": high_volume(),
        "kept_days": settings.EVENTS_KEPT_DAYS,
        "high_volume_kept_days": settings.HIGH_VOLUME_EVENTS_KEPT_DAYS,
    }
