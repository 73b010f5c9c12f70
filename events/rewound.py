"""Channels that the engine's Redis has rewound: back with older data, after a failover or from a disk that lags.

A rewound channel has its old epoch and a lower offset, and the cursor has long passed what is gone. Left alone, the
next events would get offsets that others had: whoever is connected drops them as seen, whoever comes back is told that
nothing is missing. So the channel is filled up to where it stood, with an event of its own again and again (who is
connected has passed these offsets), and its history is removed: then nobody recovers from a position of before the
last one, and after that one nothing is missing.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from events import engine_client
from events.engine_client import Command, EngineAway, EngineRefused, Position, Reply

logger = logging.getLogger("events.relay")

#: Channels whose last position is remembered; beyond it that of the one that was silent for longest is forgotten.
CHANNELS_REMEMBERED = 100_000
#: Commands in one request to the engine, each of them an event.
TOGETHER = 50


@dataclass
class Late:
    """What was published into a channel before it was seen to be rewound, where it stood, and where it stands now."""

    stood: int
    stands: int
    commands: list[Command]


class RewoundChannels:
    """What one pusher remembers of each channel: where it stood when the engine last took something for it."""

    def __init__(self) -> None:
        self._tops: dict[str, Position] = {}
        self._late: dict[str, Late] = {}

    def mend(self, tops: dict[str, Position], next_of: Mapping[str, Command]) -> None:
        """Before these commands are published: put those of the channels that are rewound back to where they stood.

        `tops` is where the channels stand, and is put right too. Raises EngineAway.
        """
        for channel, top in tops.items():
            stood = self._tops.get(channel)
            if stood and stood.epoch == top.epoch and top.offset < stood.offset:
                try:
                    tops[channel] = _restored(channel, [next_of[channel]] * (stood.offset - top.offset))
                except EngineRefused as error:
                    logger.error("%s is rewound, and can't be mended: %s", channel, error)
                else:
                    _say(channel, top.offset, stood.offset)

    def accepted(self, channel: str, reply: Reply, command: Command) -> None:
        """The engine has taken this command, as what is new to the channel."""
        position = Position.of(reply["publish"])
        if not position.epoch:
            return  # it keeps no history, from which nobody recovers
        # Taken out first, so that the one that was silent for longest stands first.
        stood = self._tops.pop(channel, None)
        self._tops[channel] = position
        if len(self._tops) > CHANNELS_REMEMBERED:
            del self._tops[next(iter(self._tops))]
        late = self._late.pop(channel, None)
        if stood is None or stood.epoch != position.epoch:
            return
        if late is None and position.offset <= stood.offset:
            late = Late(stood.offset, position.offset, [])
        if late:
            late.stands = position.offset
            late.commands.append(command)
            self._late[channel] = late

    def mend_late(self) -> None:
        """It happened without any trouble before: what has gone out below where its channel stood goes out again."""
        for channel, late in list(self._late.items()):
            filling = late.commands[-1:] * (late.stood - late.stands)
            try:
                self._tops[channel] = _restored(channel, [*filling, *late.commands])
            except (EngineAway, EngineRefused) as error:
                logger.warning("%s is rewound, and is mended with the next batch: %s", channel, error)
                continue
            del self._late[channel]
            _say(channel, late.stands, late.stood)


def _say(channel: str, now: int, before: int) -> None:
    logger.warning("The engine came back with an older %s: at %s, not %s. Who was away reloads.", channel, now, before)


def _restored(channel: str, commands: list[Command]) -> Position:
    """Where the channel stands after these, which are published without a version, and without its history."""
    again = [{"publish": {"channel": channel, "data": one["publish"]["data"]}} for one in commands]
    for start in range(0, len(again), TOGETHER):
        _do(again[start : start + TOGETHER])
    _, reply = _do([{"history_remove": {"channel": channel}}, engine_client.position_command(channel)])
    return Position.of(reply["history"])


def _do(commands: list[Command]) -> list[Reply]:
    replies = engine_client.push(commands)
    for reply in replies:
        if error := reply.get("error"):
            raise (EngineAway if error.get("code") in engine_client.TRANSIENT_CODES else EngineRefused)(
                error["message"]
            )
    return replies
