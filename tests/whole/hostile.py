"""A client that will not go: it keeps every token it ever had and comes back ten times a second for what it missed.

It speaks the protocol by hand, because the SDK would obey.
"""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.sync.client import ClientConnection, connect

from tests.whole.people import Person
from tests.whole.platform import wait_until

#: Ten attempts begin each second: so many at once, each of which begins anew after so long.
CONNECTIONS_AT_ONCE = 5
ATTEMPT_SECONDS = 0.5
LISTEN_SECONDS = 0.3


class Hostile:
    """Attacks one channel until `close()`. `ids` are the events it got hold of, `answers` how its attempts ended."""

    def __init__(self, person: Person, channel: str) -> None:
        self.person, self.channel = person, channel
        self.ids: set[str] = set()
        self.answers: Counter[str] = Counter()
        self.attempts = 0
        self.connection_tokens: list[str] = []
        self.subscription_tokens: list[str] = []
        self._position: dict[str, Any] = {}
        self._closing = threading.Event()
        self._take_tokens()
        self._threads = [
            threading.Thread(target=self._come_back_for_ever, args=(first,), daemon=True)
            for first in range(CONNECTIONS_AT_ONCE)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join(10)

    def wait_for(self, event: str) -> None:
        wait_until(lambda: event in self.ids, "the client receives what it may still see")

    # --- One attempt after the other --------------------------------------------------------------------------------

    def _come_back_for_ever(self, first: int) -> None:
        for introduce in itertools.islice(itertools.cycle(self._introductions), first, None):
            if self._closing.is_set():
                return
            started = time.monotonic()
            self.attempts += 1
            self.answers[self._attempt(introduce)] += 1
            self._closing.wait(max(0.0, ATTEMPT_SECONDS - (time.monotonic() - started)))

    @property
    def _introductions(self) -> list[str]:
        return ["oldest", "newest", "as_token", "subscription_as_connection", "renewed", "nothing"]

    def _connect_command(self, introduce: str) -> dict[str, Any]:
        match introduce:
            case "oldest":
                return {"data": {"token": self.connection_tokens[0]}}
            case "newest":
                return {"data": {"token": self.connection_tokens[-1]}}
            case "as_token":
                return {"token": self.connection_tokens[-1], "subs": {self.channel: {"recover": True}}}
            case "subscription_as_connection":
                return {"data": {"token": self.subscription_tokens[0]}, "token": self.subscription_tokens[0]}
            case "renewed":
                self._take_tokens()
                return {"data": {"token": self.connection_tokens[-1]}}
            case _:
                return {}

    def _attempt(self, introduce: str) -> str:
        """Connect, subscribe with every token from the last position on, and listen. How it ended, in a word or two."""
        platform = self.person.platform
        try:
            command = self._connect_command(introduce)
            url = platform.socket_url
            with connect(url, origin=platform.url, open_timeout=5, close_timeout=1, compression=None) as socket:  # type: ignore[arg-type]
                socket.send(json.dumps({"id": 1, "connect": command}))
                for number, token in enumerate(self._tokens_to_try(), start=2):
                    subscribe = {"channel": self.channel, "token": token, **self._position}
                    socket.send(json.dumps({"id": number, "subscribe": subscribe}))
                return self._listen(socket)
        except ConnectionClosed as closed:
            return f"{introduce}: closed {closed.rcvd.code if closed.rcvd else ''}"
        except (OSError, InvalidHandshake, InvalidMessage, httpx.HTTPError) as error:
            return f"{introduce}: {type(error).__name__}"

    def _tokens_to_try(self) -> Iterator[str]:
        """One at an attempt: an engine ends a connection at the first one that is not its own."""
        yield self.subscription_tokens[self.attempts % len(self.subscription_tokens)]

    def _listen(self, socket: ClientConnection) -> str:
        until = time.monotonic() + LISTEN_SECONDS
        last = "nothing said"
        while (left := until - time.monotonic()) > 0:
            try:
                lines = str(socket.recv(timeout=left)).splitlines()
            except TimeoutError:
                break
            for line in lines:
                last = self._heard(json.loads(line)) or last
        return last

    def _heard(self, message: dict[str, Any]) -> str:
        if "error" in message:
            return f"error {message['error']['code']}"
        if "subscribe" in message:
            reply = message["subscribe"]
            self._position = self._position or {
                "recover": True,
                "offset": reply.get("offset", 0),
                "epoch": reply["epoch"],
            }
            self._keep(reply.get("publications", []))
            return "subscribed"
        if "pub" in (push := message.get("push", {})):
            self._keep([push["pub"]])
        return ""

    def _keep(self, publications: list[dict[str, Any]]) -> None:
        for publication in publications:
            self.ids.add(publication["data"]["id"])
            self._position["offset"] = max(self._position.get("offset", 0), publication["offset"])

    def _take_tokens(self) -> None:
        """Whatever the platform gives to somebody who is still signed in."""
        answer = self.person.post("/api/realtime/token")
        if answer.is_success:
            self.connection_tokens.append(answer.json()["token"])
        answer = self.person.post("/api/realtime/subscriptions", json={"channels": [self.channel]})
        if token := answer.is_success and answer.json()["tokens"].get(self.channel):
            self.subscription_tokens.append(token)
