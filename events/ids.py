from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A UUIDv7: a public id that sorts roughly by time. Never the order of anything: that is `Entry.seq`."""
    return UUID(int=uuid7().int)
