"""Who is connected, and who listens to what."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.session import Session


class Hub:
    """Sessions by client id, by user and by channel. A session is in it from its connect reply until it is closed."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._users: dict[str, dict[str, Session]] = {}
        self._channels: dict[str, dict[str, Session]] = {}
        self._announcements: deque[tuple[str, str]] = deque()
        self._announcing = False

    def add(self, session: Session) -> None:
        self._sessions[session.client] = session
        self._users.setdefault(session.user, {})[session.client] = session

    def remove(self, session: Session) -> None:
        self._sessions.pop(session.client, None)
        self._discard(self._users, session.user, session)

    def subscribe(self, channel: str, session: Session) -> None:
        self._channels.setdefault(channel, {})[session.client] = session

    def unsubscribe(self, channel: str, session: Session) -> None:
        self._discard(self._channels, channel, session)

    def broadcast(self, channel: str, message: str) -> None:
        """Give all subscribers one message, encoded once."""
        subscribers = self._channels.get(channel)
        if not subscribers:
            return
        size = len(message.encode())
        for session in list(subscribers.values()):
            session.push(message, size)

    def announce(self, channel: str, message: str) -> None:
        """Give a join or leave to those subscribers who are told of them.

        This may end a slow session, which leaves in turn: that waits here, so that nothing nests deeper.
        """
        self._announcements.append((channel, message))
        if self._announcing:
            return
        self._announcing = True
        try:
            while self._announcements:
                self._announce(*self._announcements.popleft())
        finally:
            self._announcing = False

    def _announce(self, channel: str, message: str) -> None:
        size = len(message.encode())
        for session in self.of_channel(channel):
            if session.hears_join_leave(channel):
                session.push(message, size)

    def has_subscribers(self, channel: str) -> bool:
        return channel in self._channels

    def sessions(self) -> list[Session]:
        return list(self._sessions.values())

    def of_user(self, user: str, client: str = "") -> list[Session]:
        """A user's sessions, or the one with this client id, if it is this user's."""
        sessions = self._users.get(user, {})
        if client:
            return [sessions[client]] if client in sessions else []
        return list(sessions.values())

    def of_channel(self, channel: str) -> list[Session]:
        return list(self._channels.get(channel, {}).values())

    def subscribers(self) -> Iterator[tuple[str, int]]:
        """Every channel that has subscribers, with how many."""
        return ((channel, len(sessions)) for channel, sessions in self._channels.items())

    @property
    def counts(self) -> dict[str, int]:
        return {"num_clients": len(self._sessions), "num_users": len(self._users), "num_channels": len(self._channels)}

    @staticmethod
    def _discard(index: dict[str, dict[str, Session]], key: str, session: Session) -> None:
        sessions = index.get(key)
        if sessions is None:
            return
        sessions.pop(session.client, None)
        if not sessions:
            del index[key]
