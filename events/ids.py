from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

_MILLISECONDS_SHIFT = 80  # the first 48 of 128 bits are milliseconds since 1970


def new_id() -> UUID:
    """A UUIDv7: a public id that sorts roughly by time. Never the order of anything: that is `Entry.seq`."""
    return UUID(int=uuid7().int)


def made_at(id: UUID) -> datetime | None:
    """When an id of ours was made, to the millisecond; None for an id of another kind."""
    if id.version != 7:
        return None
    return datetime.fromtimestamp((id.int >> _MILLISECONDS_SHIFT) / 1000, UTC)


def first_at(moment: datetime) -> UUID:
    """No id made at this moment or later is smaller: the border of a range of ids."""
    return UUID(int=int(moment.timestamp() * 1000) << _MILLISECONDS_SHIFT)
