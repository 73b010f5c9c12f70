"""The log as one caller may see it: `GET /api/events`, for services that follow the platform without a connection."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from events import channels, log
from events.channels import InvalidChannel
from events.models import Event
from realtime.models import Action
from realtime.policies import Standing, authorize
from tenants.access import Principal

#: One call looks at no more entries than this, whoever's they are.
LOOKED_AT_MAX = 2000
READ_TOGETHER = 200


class Gone(Exception):
    """Some of what follows the given position is no longer kept."""

    def __init__(self, oldest: int) -> None:
        super().__init__(
            f"Events before number {oldest} are not all kept any more. "
            f"Read the resources you follow afresh, then go on with after={oldest - 1}."
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order, as they go on the wire, and the last sequence number that was looked at."""

    events: list[dict[str, Any]]
    next: int


class Reader:
    """Decides about each channel once."""

    def __init__(self, principal: Principal) -> None:
        self._standing = Standing(principal)
        self._decided: dict[str, bool] = {}

    def may_see(self, event: Event) -> bool:
        """Whether the event goes to a channel that the caller may subscribe to."""
        return any(self._may_listen(name) for name in event.channels)

    def _may_listen(self, name: str) -> bool:
        if name not in self._decided:
            self._decided[name] = self._decide(name)
        return self._decided[name]

    def _decide(self, name: str) -> bool:
        try:
            channel = channels.parse(name)
        except InvalidChannel:
            return False  # a name of an earlier version, in an old event
        return authorize(self._standing.principal, Action.SUBSCRIBE, channel, self._standing).allowed


def read(principal: Principal, after: int | None, limit: int, types: Collection[str] = ()) -> Page:
    """Up to `limit` events after a sequence number (None: from where nothing has been pruned on). Raises Gone.

    Of these types only, if any are given.

    An empty page whose `next` has moved on is not the end: there was nothing for this caller among what was looked at.
    """
    reader = Reader(principal)
    position = log.oldest_seq() - 1 if after is None else after
    start = position
    found: list[dict[str, Any]] = []
    while len(found) < limit and position < start + LOOKED_AT_MAX:
        entries = log.entries_after(position, READ_TOGETHER)
        for seq, event in entries:
            position = seq
            if (not types or event.type in types) and reader.may_see(event):
                found.append(event.wire(seq))
                if len(found) == limit:
                    break
        if len(entries) < READ_TOGETHER:
            break
    # Looked at afterwards, so that what was pruned meanwhile is not passed over in silence.
    if start + 1 < (oldest := log.oldest_seq()):
        raise Gone(oldest)
    return Page(found, position)
