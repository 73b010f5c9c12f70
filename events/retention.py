"""Retention: how long the log is kept. Never ahead of a cursor, and never what a dead letter still waits with."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min, Q, QuerySet
from django.utils import timezone
from django_scopes import scopes_disabled

from events import catalogue, handling
from events.cursors import PUSH
from events.models import Cursor, Entry, Event, LogState, Push

CHUNK = 1000


@scopes_disabled()
def prune() -> int:
    """Delete events past their retention, a chunk a transaction. Returns how many."""
    high_volume = catalogue.high_volume_types()
    now = timezone.now()
    deleted = _prune(Q(type__in=high_volume), now - timedelta(days=settings.HIGH_VOLUME_EVENTS_KEPT_DAYS))
    deleted += _prune(~Q(type__in=high_volume), now - timedelta(days=settings.EVENTS_KEPT_DAYS))
    _prune_pushes()
    return deleted


def _prune(which: Q, before: datetime) -> int:
    old = Event.objects.filter(which, occurred_at__lt=before, entry__seq__lte=_slowest_cursor())
    kept = old.exclude(dead_letters__resolution="", dead_letters__isnull=False).order_by("id")
    deleted = 0
    while chunk := _delete_chunk(kept):
        deleted += chunk
    return deleted


def _delete_chunk(old: QuerySet[Event]) -> int:
    with transaction.atomic():
        ids = list(old.values_list("id", flat=True)[:CHUNK])
        if not ids:
            return 0
        newest = Entry.objects.filter(event_id__in=ids).aggregate(seq=Max("seq"))["seq"]
        LogState.objects.filter(pruned_seq__lt=newest).update(pruned_seq=newest)
        Event.objects.filter(id__in=ids).delete()
        return len(ids)


def _slowest_cursor() -> int:
    """The position that every consumer has passed. Cursors of handlers that are no more hold nothing back."""
    consumers = [PUSH, *[handler.cursor for handler in handling.all_handlers()]]
    return Cursor.objects.filter(name__in=consumers).aggregate(position=Min("position"))["position"] or 0


def _prune_pushes() -> None:
    """Delete the outcomes of batches of which no entry is left."""
    oldest = Entry.objects.aggregate(seq=Min("seq"))["seq"]
    if oldest is None:
        return
    while chunk := list(Push.objects.filter(last_seq__lt=oldest).values_list("pk", flat=True)[:CHUNK]):
        Push.objects.filter(pk__in=chunk).delete()
