"""A client of the engine without the SDK's cleverness: it connects, subscribes, recovers, and keeps every event id.

It does what a page does: it begins with the state, shows its connection token in `data`, has one batch of subscription
tokens, a position for each channel, and, when a channel cannot be recovered, reloads that channel's state.
"""

import json
import socket as socketlib
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.sync.client import ClientConnection, connect

from tests.whole.people import Person
from tests.whole.platform import wait_until

RECONNECT_AFTER_SECONDS = 0.1
#: The close code after which the SDK, too, asks for new tokens.
ACCESS_CHANGED = 3014


class Subscriber:
    """Listens in a thread until `close()`. `ids[channel]` is what it knows of, in the order it came.

    `fresh_state(channel)` gives the ids a fresh page would show: at first, and whenever a channel has to be reloaded.
    `url` is where it connects, now and when it comes back; `closed_at` when the engine ended its connections, by the
    monotonic clock.
    """

    def __init__(
        self,
        person: Person,
        channels: list[str],
        *,
        tenant: str,
        fresh_state: Callable[[str], list[str]],
        url: str = "",
    ) -> None:
        self.person, self.channels, self.tenant = person, channels, tenant
        self.ids: dict[str, list[str]] = {channel: [] for channel in channels}
        self.reloads = dict.fromkeys(channels, 0)
        self.connections = 0
        self.closed_at: list[float] = []
        self.refusals: list[str] = []
        self._fresh_state = fresh_state
        self.url = url or person.platform.socket_url
        self._positions: dict[str, tuple[int, str]] = {}
        self._subscribed: set[str] = set()
        self._shown: dict[str, set[str]] = {channel: set() for channel in channels}
        self._token = ""
        self.tokens: dict[str, str] = {}
        self._commands = 0
        self._closing, self._away = threading.Event(), threading.Event()
        self._socket: ClientConnection | None = None
        self._thread = threading.Thread(target=self._stay_connected, daemon=True)
        self._thread.start()

    def wait_subscribed(self, seconds: float = 15) -> "Subscriber":
        wait_until(
            lambda: self._subscribed == set(self.channels), f"subscribed to {self.channels}: {self.refusals}", seconds
        )
        return self

    def disconnect(self) -> None:
        """Lose the connection, as a train in a tunnel does. It comes back by itself."""
        if self._socket:
            self._socket.socket.shutdown(socketlib.SHUT_RDWR)

    def go_away(self) -> None:
        """Lose the connection and stay away until `come_back`."""
        self._away.set()
        self.disconnect()
        wait_until(lambda: not self._socket, "the connection has ended", 60)

    def come_back(self, seconds: float = 15, tokens: dict[str, Any] | None = None) -> None:
        """Return when it is subscribed again, at first with these tokens instead of those it has."""
        if tokens:
            self._token, self.tokens = tokens["connection"], dict(tokens["subscriptions"])
        self._away.clear()
        self.wait_subscribed(seconds)

    def close(self) -> None:
        self._away.clear()
        self._closing.set()
        if self._socket:
            self._socket.close()
        self._thread.join(10)

    # --- The thread ---------------------------------------------------------------------------------------------------

    def _stay_connected(self) -> None:
        while not self._closing.is_set():
            if self._away.is_set():
                time.sleep(RECONNECT_AFTER_SECONDS)
                continue
            try:
                with connect(self.url, origin=self.person.platform.url, open_timeout=5, compression=None) as socket:  # type: ignore[arg-type]
                    self._socket = socket
                    self._converse(socket)
            except ConnectionClosed as closed:
                self.closed_at.append(time.monotonic())
                self.refusals.append(repr(closed))
                if closed.rcvd and closed.rcvd.code == ACCESS_CHANGED:
                    self._token = ""
                    self.tokens.clear()
            except (OSError, InvalidHandshake, InvalidMessage, TimeoutError) as error:
                self.refusals.append(repr(error))
            self._socket = None
            self._subscribed.clear()
            time.sleep(RECONNECT_AFTER_SECONDS)

    def _converse(self, socket: ClientConnection) -> None:
        if not self._fetch_tokens():
            return
        self._ask(socket, "connect", data={"token": self._token})
        pending: dict[int, str] = {}
        while not self._closing.is_set():
            for line in str(socket.recv()).splitlines():
                message = json.loads(line)
                if not message:
                    socket.send("{}")  # a ping
                elif "connect" in message:
                    self.connections += 1
                    pending = {self._subscribe(socket, channel): channel for channel in self.channels}
                elif "push" in message:
                    self._pushed(message["push"])
                elif "error" in message:
                    self._refused(pending.get(message["id"], "connect"), message["error"])
                elif "subscribe" in message:
                    self._joined(pending[message["id"]], message["subscribe"])

    def _ask(self, socket: ClientConnection, method: str, **body: Any) -> int:
        self._commands += 1
        socket.send(json.dumps({"id": self._commands, method: body}))
        return self._commands

    def _subscribe(self, socket: ClientConnection, channel: str) -> int:
        position: dict[str, Any] = {}
        if channel in self._positions:
            offset, epoch = self._positions[channel]
            position = {"recover": True, "offset": offset, "epoch": epoch}
        return self._ask(socket, "subscribe", channel=channel, token=self.tokens.get(channel, ""), **position)

    def _joined(self, channel: str, reply: dict[str, Any]) -> None:
        is_new = channel not in self._positions
        if is_new or not reply.get("recovered"):
            # The state is read after the position, so nothing lies between them; what lies in both is passed over.
            self.ids[channel] = self._fresh_state(channel)
            self._shown[channel] = set(self.ids[channel])
            self.reloads[channel] += not is_new
        # After a recovery the answer's offset is the one that was asked for: its publications move it on.
        self._positions[channel] = (reply.get("offset", 0), reply["epoch"])
        for publication in reply.get("publications", []):
            self._received(channel, publication)
        self._subscribed.add(channel)

    def _pushed(self, push: dict[str, Any]) -> None:
        channel = push.get("channel", "")
        if "pub" in push:
            self._received(channel, push["pub"])
        elif "unsubscribe" in push or "disconnect" in push:
            self.refusals.append(json.dumps(push))
            self.tokens.clear()
            raise OSError(f"asked to leave: {push}")

    def _received(self, channel: str, publication: dict[str, Any]) -> None:
        event = publication["data"]["id"]
        if event not in self._shown[channel]:
            self.ids[channel].append(event)
        _, epoch = self._positions.get(channel, (0, ""))
        self._positions[channel] = (publication["offset"], epoch)

    def _refused(self, what: str, error: dict[str, Any]) -> None:
        self.refusals.append(f"{what}: {error}")
        self._token = ""
        self.tokens.clear()
        raise OSError(f"{what} refused: {error}")

    def _fetch_tokens(self) -> bool:
        """Whether there are tokens to come with. Those that still hold are used again, as the SDK does."""
        try:
            if not self._token:
                self._token = self.person.post("/api/realtime/token", tenant=self.tenant).json()["token"]
            if not self.tokens:
                path, body = "/api/realtime/subscriptions", {"channels": self.channels}
                self.tokens = self.person.post(path, tenant=self.tenant, json=body).json()["tokens"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            self.refusals.append(f"tokens: {error!r}")
            return False
        return True
