"""The one module that talks to the engine's server API.

Single calls go through `cent`, which is imported where it is used: it brings two HTTP clients, a sixth of the time that
a process takes to start. The batch, which carries everything the relay pushes, is encoded here with orjson (cent
builds a model for each command and takes a core to do 10,000 a second); it is never sent with `parallel`, which
reorders within a channel.
"""

import http.client
import ssl
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from django.conf import settings
from urllib3.util.wait import wait_for_read

from events.channels import TRIAL_CHANNEL, Channel

if TYPE_CHECKING:
    import cent

#: Replies that say "not now": 100 is the engine's own trouble, 111 too many requests.
TRANSIENT_CODES = frozenset({100, 111})
#: The client drops its tokens and positions, asks for new ones and reloads its state.
ACCESS_CHANGED = 3014
#: What a node says to everybody when it ends: the client comes back with its tokens and positions, after its jitter.
SHUTDOWN = 3001

Command = dict[str, Any]
Reply = dict[str, Any]


class EngineAway(Exception):
    """The engine can't be reached or can't work now: nothing is known about what it took."""


class EngineTimeout(EngineAway):
    """The engine did not answer in time."""


class EngineRefused(Exception):
    """The engine will not take this, now or later."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a channel's stream stands."""

    offset: int
    epoch: str

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> "Position":
        """As the result of a publish or a history tells it; what is zero or empty is left out there."""
        return cls(result.get("offset", 0), result.get("epoch", ""))


def publish_command(channel: str, data: bytes, seq: int, log_id: UUID) -> Command:
    """Publish an event's JSON. The engine drops it if it has had this sequence number, or a later one, of this log."""
    return {
        "publish": {
            "channel": channel,
            "data": orjson.Fragment(data),
            "version": seq,
            "version_epoch": str(log_id),
        }
    }


def trial_command() -> Command:
    """Publish nothing of interest where nobody may listen: no channel of ours has this name."""
    return {"publish": {"channel": TRIAL_CHANNEL, "data": {}}}


def position_command(channel: str) -> Command:
    return {"history": {"channel": channel, "limit": 0}}


def disconnect_command(user: str) -> Command:
    return {"disconnect": {"user": user, "disconnect": {"code": ACCESS_CHANGED, "reason": "access changed"}}}


def send_elsewhere_command(user: str, client: str) -> Command:
    """End one connection, so that it comes back to another node. One that has left already is no error."""
    return {"disconnect": {"user": user, "client": client, "disconnect": {"code": SHUTDOWN, "reason": "shutdown"}}}


def push(commands: Sequence[Command], timeout: float | None = None) -> list[Reply]:
    """Do the commands one after the other; one reply each, in order: `{"publish": {...}}` or `{"error": {...}}`.

    Raises EngineAway, when some of them may have been done, and EngineRefused when the request as a whole was refused.
    """
    if not commands:
        return []
    body = orjson.dumps({"commands": commands})
    status, content = _post(body, settings.ENGINE_TIMEOUT_SECONDS if timeout is None else timeout)
    return _replies(status, content, len(commands))


def _post(body: bytes, timeout: float) -> tuple[int, bytes]:
    """Status and content of the answer, within `timeout` seconds. Nothing is tried again unasked. Raises EngineAway."""
    deadline = time.monotonic() + timeout
    url = settings.ENGINE_API_URL
    connection = _connected(url, timeout)
    headers = {"X-API-Key": settings.ENGINE_API_KEY, "Content-Type": "application/json"}
    try:
        connection.sock.settimeout(max(0.001, deadline - time.monotonic()))
        connection.request("POST", f"{urlsplit(url).path}/batch", body, headers)
        response = connection.getresponse()
        answer = response.status, response.read()
    except _TROUBLE as error:
        connection.close()
        if isinstance(error, TimeoutError):
            raise EngineTimeout("The engine did not answer in time.") from error
        raise _away(url) from error
    _kept.append((url, connection))
    return answer


def _connected(url: str, timeout: float) -> http.client.HTTPConnection:
    try:
        connection = _kept_connection(url) or _new_connection(url)
        if connection.sock is None:
            connection.timeout = timeout
            connection.connect()
    except _TROUBLE as error:
        raise _away(url) from error
    return connection


def _away(url: str) -> EngineAway:
    return EngineAway(f"The engine can't be reached at {url}.")


#: What http.client raises where there is no engine; ValueError for an address or a key that can be none.
_TROUBLE = (OSError, http.client.HTTPException, ValueError)
#: Connections that nobody uses just now, each with its URL: every lane of a relay, and every page, takes one and gives
#: it back. Through urllib3's pool a request took the relay three times the CPU.
_kept: deque[tuple[str, http.client.HTTPConnection]] = deque(maxlen=16)


def _kept_connection(wanted: str) -> http.client.HTTPConnection | None:
    while _kept:
        try:
            url, connection = _kept.pop()
        except IndexError:  # another thread was faster
            return None
        # Nothing was asked, so what there is to read is its end.
        if url == wanted and connection.sock and not wait_for_read(connection.sock, timeout=0):
            return connection
        connection.close()
    return None


def _new_connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname or "", parts.port or 443, context=_authorities())
    return http.client.HTTPConnection(parts.hostname or "", parts.port or 80)


@cache
def _authorities() -> ssl.SSLContext:
    return ssl.create_default_context()


def _replies(status: int, content: bytes, expected: int) -> list[Reply]:
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        raise EngineRefused(f"The engine refused the request: HTTP {status}.")
    if status == HTTPStatus.UNAUTHORIZED:
        raise EngineAway("The engine does not accept ENGINE_API_KEY.")
    if status != HTTPStatus.OK:
        raise EngineAway(f"The engine answered with HTTP {status}.")
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise EngineAway("What answers at ENGINE_API_URL is not an engine: it does not speak JSON.") from error
    if "error" in body:
        raise EngineRefused(f"The engine refused the request: {body['error']}")
    replies: list[Reply] = body.get("replies", [])
    if len(replies) != expected:
        raise EngineAway(f"The engine gave {len(replies)} replies to {expected} commands.")
    return replies


def positions(channels: Iterable[Channel], timeout: float = 0.2) -> dict[str, Position] | None:
    """Where each channel stands now, by its name; None when the engine is away. `timeout` in seconds.

    A channel that the engine refuses to tell about is left out.
    """
    names = [channel.name for channel in channels]
    try:
        replies = push([position_command(name) for name in names], timeout=timeout)
    except (EngineAway, EngineRefused):
        return None
    return {
        name: Position.of(reply["history"])
        for name, reply in zip(names, replies, strict=True)
        if reply.get("history", {}).get("epoch")
    }


def publish_again(channel: str, data: dict[str, Any]) -> int:
    """Publish without a version, for a dead letter: later events have passed it. Its offset in the channel.

    Raises EngineAway and EngineRefused.
    """
    import cent

    try:
        result = _cent().publish(cent.PublishRequest(channel=channel, data=data))
    except cent.CentApiResponseError as error:
        if error.code in TRANSIENT_CODES:
            raise EngineAway(f"The engine can't do it now: {error.message} ({error.code}).") from error
        raise EngineRefused(f"{error.message} ({error.code})") from error
    except cent.CentError as error:
        raise EngineAway(f"The engine can't be reached at {settings.ENGINE_API_URL}.") from error
    return int(result.offset or 0)


def _cent() -> "cent.Client":
    return _cent_client(settings.ENGINE_API_URL, settings.ENGINE_API_KEY)


@cache
def _cent_client(url: str, key: str) -> "cent.Client":
    import cent

    return cent.Client(url, key, timeout=settings.ENGINE_TIMEOUT_SECONDS)
