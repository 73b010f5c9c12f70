"""The log, for those who read it: numbered events, in order."""

from events.models import Entry, Event, LogState


def entries_after(seq: int, limit: int) -> list[tuple[int, Event]]:
    """Up to `limit` entries that follow `seq`, oldest first, each with its event. Of every tenant: filter them."""
    entries = Entry.objects.filter(seq__gt=seq).select_related("event").order_by("seq")[:limit]
    return [(entry.seq, entry.event) for entry in entries]


def newest_seq() -> int:
    """The last sequence number given; 0 in an empty log."""
    return LogState.objects.values_list("last_seq", flat=True).first() or 0


def oldest_seq() -> int:
    """The first sequence number from which nothing has been pruned: who has read less has missed something."""
    return (LogState.objects.values_list("pruned_seq", flat=True).first() or 0) + 1
