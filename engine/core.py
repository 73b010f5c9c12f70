"""One engine: its configuration, its streams, who is connected, and what publishing does."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import Any

import orjson

from engine.channels import Channels
from engine.clock import Clock
from engine.codes import CLOSE_SHUTDOWN, NOT_AVAILABLE, Refused
from engine.config import ChannelOptions, Config
from engine.history import History, Position, Publication, Retention
from engine.hub import Hub
from engine.idempotency import Results
from engine.proxy import Gate
from engine.tokens import Verifier

log = logging.getLogger("engine")

VERSION = "embedded"
EXPIRY_CHECK_SECONDS = 0.2
MEMORY_CHECK_SECONDS = 10.0


class Engine:
    """What all connections and all API requests of one process share."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.id = str(uuid.uuid4())
        self.channels = Channels(config.channel)
        self.hub = Hub()
        self.history = History(clock, self.hub.has_subscribers)
        self.results = Results(clock)
        self.gate = Gate(config.client.proxy.connect)
        self.connection_tokens = Verifier(config.client.token, clock)
        subscription_token = config.client.subscription_token
        self.subscription_tokens = Verifier(
            subscription_token if subscription_token.enabled else config.client.token, clock
        )
        self._started_at = time.monotonic()
        self._housekeeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the background work, once; called by what reaches the engine first: lifespan events may never come."""
        loop = asyncio.get_running_loop()
        running = self._housekeeping
        if running is None or running.done() or running.get_loop() is not loop:
            self._housekeeping = loop.create_task(self._keep_house())

    async def stop(self) -> None:
        """Tell every client that the engine goes away, and end the background work."""
        for session in self.hub.sessions():
            session.close(CLOSE_SHUTDOWN)
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            self._housekeeping = None
        await self.gate.aclose()

    @property
    def uptime(self) -> int:
        return int(time.monotonic() - self._started_at)

    def publish(
        self,
        channel: str,
        options: ChannelOptions,
        publication: Publication,
        version_epoch: str = "",
        idempotency_key: str = "",
        skip_history: bool = False,
    ) -> Position | None:
        """Deliver a publication to a channel's subscribers; its position, or None in a channel without history."""
        if idempotency_key and self.results.seen(channel, idempotency_key):
            return self.results.result(channel, idempotency_key)
        position, delivered = None, publication if skip_history or not options.has_history else None
        if delivered is None:
            position, delivered = self.history.publish(channel, publication, self.retention(options), version_epoch)
        if delivered is not None:
            self._deliver(channel, delivered)
        if idempotency_key:
            self.results.remember(channel, idempotency_key, position)
        return position

    def read_history(
        self, channel: str, options: ChannelOptions, request: dict[str, Any], most: int = -1
    ) -> tuple[list[Publication], Position]:
        """What a history request asks for, `most` publications at the utmost (-1: no limit). Raises Refused."""
        if not options.has_history:
            raise Refused(NOT_AVAILABLE)
        limit = request.get("limit", 0)
        if most >= 0 and (limit < 0 or limit > most):
            limit = most
        return self.history.read(
            channel, self.retention(options), limit, position_of(request.get("since")), request.get("reverse", False)
        )

    def presence(self, channel: str, options: ChannelOptions) -> dict[str, dict[str, Any]]:
        """Who is in a channel: what is known of each client, by client id. Raises Refused (108)."""
        if not options.presence:
            raise Refused(NOT_AVAILABLE)
        present = (session for session in self.hub.of_channel(channel) if session.is_present(channel))
        return {session.client: session.client_info(channel) for session in present}

    def presence_stats(self, channel: str, options: ChannelOptions) -> dict[str, int]:
        present = self.presence(channel, options).values()
        return {"num_clients": len(present), "num_users": len({client["user"] for client in present})}

    def retention(self, options: ChannelOptions) -> Retention:
        return Retention(options.history_size, options.history_ttl, self.channels.meta_ttl(options))

    def _deliver(self, channel: str, publication: Publication) -> None:
        if self.hub.has_subscribers(channel):
            self.hub.broadcast(channel, push(channel, "pub", publication.for_client()))

    async def _keep_house(self) -> None:
        memory_checked_at = time.monotonic()
        while True:
            await asyncio.sleep(EXPIRY_CHECK_SECONDS)
            try:
                self._end_what_expired()
                if time.monotonic() - memory_checked_at >= MEMORY_CHECK_SECONDS:
                    self._free_memory()
                    memory_checked_at = time.monotonic()
            except Exception:
                log.exception("housekeeping failed, and will be tried again")

    def _end_what_expired(self) -> None:
        now = self.clock()
        for session in self.hub.sessions():
            session.check_expiry(now)

    def _free_memory(self) -> None:
        self.history.forget_expired()
        self.results.forget_expired()


def push(channel: str, kind: str, body: bytes) -> str:
    """An asynchronous message to a client, encoded. Without a channel it speaks of none."""
    where = b'"channel":' + orjson.dumps(channel) + b"," if channel else b""
    return (b'{"push":{' + where + b'"' + kind.encode() + b'":' + body + b"}}").decode()


def position_of(value: dict[str, Any] | None) -> Position | None:
    if value is None:
        return None
    return Position(value.get("offset", 0), value.get("epoch", ""))
