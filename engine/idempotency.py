"""Results of publishing that are remembered by the publisher's key, so that a repeated request changes nothing."""

from __future__ import annotations

from collections import OrderedDict

from engine.clock import Clock
from engine.history import Position

KEPT_SECONDS = 300.0


class Results:
    """Positions by (channel, key), each for five minutes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._results: OrderedDict[tuple[str, str], tuple[float, Position | None]] = OrderedDict()

    def seen(self, channel: str, key: str) -> bool:
        self.forget_expired()
        return (channel, key) in self._results

    def result(self, channel: str, key: str) -> Position | None:
        return self._results[channel, key][1]

    def remember(self, channel: str, key: str, result: Position | None) -> None:
        self._results[channel, key] = (self._clock() + KEPT_SECONDS, result)

    def forget_expired(self) -> None:
        """Oldest first: all are kept equally long, so the order of adding is the order of expiry."""
        now = self._clock()
        while self._results:
            expires_at, _ = next(iter(self._results.values()))
            if expires_at > now:
                return
            self._results.popitem(last=False)

    def __len__(self) -> int:
        return len(self._results)
