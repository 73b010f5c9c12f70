"""Channels for which the engine takes nothing, while it takes everything else.

A refusal is a dead letter at once; trouble ("not now") is waited for, since most of it is the whole engine's and will
pass. Trouble of a single channel (its stream in Redis is broken, or on a shard that is away) would hold the push up for
ever: after settings.PUSH_STUCK_SECONDS and ATTEMPTS the channel is given up, until the engine takes something for it.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from django.conf import settings

logger = logging.getLogger("events.relay")

#: A long pause between two attempts, as when another part was away, is no proof.
ATTEMPTS = 5


@dataclass
class Trouble:
    """Since when (on time.monotonic()'s clock) and how often the engine could not take what goes to a channel."""

    since: float = field(default_factory=time.monotonic)
    attempts: int = 0

    @property
    def is_long(self) -> bool:
        return self.attempts >= ATTEMPTS and time.monotonic() - self.since >= settings.PUSH_STUCK_SECONDS


class StuckChannels:
    """What one pusher remembers of them. `given_up`: what goes to these is not waited for."""

    def __init__(self, engine_takes_others: Callable[[], bool]) -> None:
        self.given_up: set[str] = set()
        self._engine_takes_others = engine_takes_others
        self._troubles: dict[str, Trouble] = {}

    def held_up_by(self, channels: Iterable[str]) -> None:
        """An attempt failed because of these channels, and of no others."""
        self._troubles = {channel: self._troubles.get(channel) or Trouble() for channel in channels}
        for trouble in self._troubles.values():
            trouble.attempts += 1
        stuck = {channel for channel, trouble in self._troubles.items() if trouble.is_long}
        if stuck and self._engine_takes_others():
            logger.error("The engine takes other things, but nothing for %s: given up.", ", ".join(sorted(stuck)))
            self.given_up |= stuck

    def forget(self) -> None:
        """An attempt failed for another reason: nothing is known of single channels."""
        self._troubles = {}

    def taken(self, channels: Iterable[str]) -> None:
        """The engine took something for these."""
        if self.given_up or self._troubles:
            self.given_up.difference_update(channels)
            self._troubles = {}
