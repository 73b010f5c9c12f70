"""The numbered facts of the protocol: what an error, a disconnect or an unsubscribe is called on the wire.

The numbers are Centrifugo's (its documentation, "Client protocol codes"); clients decide by them whether to try again.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Error:
    """The answer to one command. `temporary` tells the client that trying again makes sense."""

    code: int
    message: str
    temporary: bool = False

    def as_json(self) -> dict[str, object]:
        body: dict[str, object] = {"code": self.code, "message": self.message}
        if self.temporary:
            body["temporary"] = True
        return body


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The end of a connection, sent as the WebSocket close code. 3500-3999 and 4500-4999 tell clients not to return."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """The end of a subscription. Clients subscribe again after a code of 2500 or more."""

    code: int
    reason: str


INTERNAL = Error(100, "internal server error")
INTERNAL_TEMPORARY = Error(100, "internal server error", temporary=True)
UNKNOWN_CHANNEL = Error(102, "unknown channel")
PERMISSION_DENIED = Error(103, "permission denied")
METHOD_NOT_FOUND = Error(104, "not found")
ALREADY_SUBSCRIBED = Error(105, "already subscribed")
LIMIT_EXCEEDED = Error(106, "limit exceeded")
BAD_REQUEST = Error(107, "bad request")
NOT_AVAILABLE = Error(108, "not available")
TOKEN_EXPIRED = Error(109, "token expired")
EXPIRED = Error(110, "expired")
UNRECOVERABLE_POSITION = Error(112, "unrecoverable position")

SERVER_UNSUBSCRIBE = Unsubscribe(2000, "server unsubscribe")
SUBSCRIPTION_EXPIRED = Unsubscribe(2501, "subscription expired")

CLOSE_MESSAGE_TOO_BIG = Disconnect(1009, "")  # WebSocket's own code, not Centrifugo's
CLOSE_SHUTDOWN = Disconnect(3001, "shutdown")
CLOSE_SERVER_ERROR = Disconnect(3004, "internal server error")
CLOSE_EXPIRED = Disconnect(3005, "connection expired")
CLOSE_SUBSCRIPTION_EXPIRED = Disconnect(3006, "subscription expired")
CLOSE_SLOW = Disconnect(3008, "slow")
CLOSE_INSUFFICIENT_STATE = Disconnect(3010, "insufficient state")
CLOSE_NO_PONG = Disconnect(3012, "no pong")
CLOSE_INVALID_TOKEN = Disconnect(3500, "invalid token")
CLOSE_BAD_REQUEST = Disconnect(3501, "bad request")
CLOSE_STALE = Disconnect(3502, "stale")
CLOSE_FORCED = Disconnect(3503, "force disconnect")
CLOSE_CONNECTION_LIMIT = Disconnect(3504, "connection limit")
CLOSE_CHANNEL_LIMIT = Disconnect(3505, "channel limit")
CLOSE_NOT_AVAILABLE = Disconnect(3508, "not available")


class Refused(Exception):
    """One command is answered with an error; the connection goes on."""

    def __init__(self, error: Error) -> None:
        super().__init__(f"{error.code} {error.message}")
        self.error = error


class Closed(Exception):
    """The connection has to end, with this code."""

    def __init__(self, disconnect: Disconnect) -> None:
        super().__init__(f"{disconnect.code} {disconnect.reason}")
        self.disconnect = disconnect
