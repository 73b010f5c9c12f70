"""Which options a channel has: those of the namespace before its first colon."""

from __future__ import annotations

from engine.codes import BAD_REQUEST, UNKNOWN_CHANNEL, Refused
from engine.config import Channel, ChannelOptions

NAMESPACE_BOUNDARY = ":"
PRIVATE_PREFIX = "$"
USER_BOUNDARY = "#"
USER_SEPARATOR = ","


class Channels:
    """Options by channel name, as the configuration's namespaces say."""

    def __init__(self, config: Channel) -> None:
        self._max_length = config.max_length
        self._history_meta_ttl = config.history_meta_ttl
        self._without_namespace = config.without_namespace
        self._namespaces = {namespace.name: namespace for namespace in config.namespaces}

    def options(self, channel: str) -> ChannelOptions:
        """Raises Refused (102) where the name begins with a namespace that is not configured."""
        name, boundary, _ = channel.removeprefix(PRIVATE_PREFIX).partition(NAMESPACE_BOUNDARY)
        if not boundary:
            return self._without_namespace
        namespace = self._namespaces.get(name)
        if namespace is None:
            raise Refused(UNKNOWN_CHANNEL)
        return namespace

    def options_for_client(self, channel: str) -> ChannelOptions:
        """The same for a name a client chose: also refuses (107) one that is not ASCII, or not as configured."""
        if not channel.isascii():
            raise Refused(BAD_REQUEST)
        options = self.options(channel)
        if not options.matches(channel.removeprefix(PRIVATE_PREFIX).partition(NAMESPACE_BOUNDARY)[2] or channel):
            raise Refused(BAD_REQUEST)
        return options

    def check_length(self, channel: str) -> None:
        """Refuses (107) a name too long to subscribe to."""
        if len(channel) > self._max_length:
            raise Refused(BAD_REQUEST)

    def meta_ttl(self, options: ChannelOptions) -> float:
        """Seconds for which a stream's epoch and offset outlive its last use."""
        return options.history_meta_ttl or self._history_meta_ttl


def is_private(channel: str) -> bool:
    return channel.startswith(PRIVATE_PREFIX)


def is_limited_to(channel: str, user: str) -> bool:
    """Whether the channel's name lists this user after a "#", as in "dialog#alice,bob"."""
    _, boundary, users = channel.partition(USER_BOUNDARY)
    return bool(boundary) and user in users.split(USER_SEPARATOR)
