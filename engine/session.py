"""One client's side of the protocol: its commands, its subscriptions, its time."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from engine import codes
from engine.channels import is_limited_to, is_private
from engine.codes import Closed, Disconnect, Refused, Unsubscribe
from engine.config import ChannelOptions
from engine.core import VERSION, Engine, position_of, push
from engine.history import Position, Publication, fragments
from engine.outbox import Full, Outbox
from engine.schema import COMMANDS, Malformed, check, uint32
from engine.tokens import ConnectionClaims, ExpiredToken, InvalidToken, SubscriptionClaims, overrides

log = logging.getLogger("engine")

REJECT_UNRECOVERED = 2  # bit of a subscribe command's `flag`: answer error 112 where recovery is impossible
STREAM_SUBSCRIPTION = 0
SHARED_POLL_SUBSCRIPTION = 4
NOT_TOLD_BY_SERVER = ("was_recovering", "recovered", "publications")
"""Parts of a subscribe reply that the push has not, by which a server subscribes a client."""
NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a subscriber is seen in its channel, whether others are told of it, and whether it is told of others."""

    is_present: bool = False
    emits_join_leave: bool = False
    hears_join_leave: bool = False


NOT_PRESENT = Presence()


@dataclass(slots=True)
class Subscription:
    """One channel of a session. `expires_at` is Unix seconds, 0 for never; `info` is JSON, for others to read."""

    server_side: bool
    by_token: bool = False  # made by the connection's token
    expires_at: int = 0
    info: bytes | None = None
    presence: Presence = NOT_PRESENT


@dataclass(frozen=True, slots=True)
class Following:
    """Whether a subscription is told its position in the stream, and whether it may recover from one."""

    positioned: bool
    recoverable: bool


class Session:
    """The protocol of one connection, without its transport: `handle()` takes frames, `outbox` holds what to write."""

    def __init__(self, engine: Engine, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.client = str(uuid.uuid4())
        self.user = ""
        self.outbox = Outbox(engine.config.client.queue_max_size)
        self.disconnect: Disconnect | None = None
        self.on_close: Callable[[], object] = lambda: None
        self._engine = engine
        self._options = engine.config.client
        self._headers = headers
        self._connected = False
        self._info: bytes | None = None
        self._expires_at = 0
        self._next_expiry = NEVER
        self._subscriptions: dict[str, Subscription] = {}
        self._joined: list[str] = []  # channels to be told of this client once it has its answer
        self._awaits_pong = False
        self._timer: asyncio.TimerHandle | None = None
        self._commands = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "publish": self._publish,
            "presence": self._presence,
            "presence_stats": self._presence_stats,
            "history": self._history,
            "rpc": self._rpc,
            "refresh": self._refresh,
            "sub_refresh": self._sub_refresh,
        }

    # -- from the transport

    def opened(self) -> None:
        """The transport is open: a connect command has to come soon."""
        self._after(self._options.stale_close_delay, lambda: self.close(codes.CLOSE_STALE))

    async def handle(self, frame: str | bytes) -> None:
        """One frame: one or more commands, one on each line. Errors end the session, they are not raised."""
        try:
            encoded = frame.encode() if isinstance(frame, str) else frame
            if len(encoded) > self._engine.config.websocket.message_size_limit:
                raise Closed(codes.CLOSE_MESSAGE_TOO_BIG)
            for line in encoded.removesuffix(b"\n").split(b"\n"):
                await self._handle_line(line)
                if self.disconnect is not None:
                    return
        except Closed as end:
            self.close(end.disconnect)
        except (Malformed, orjson.JSONDecodeError):
            self.close(codes.CLOSE_BAD_REQUEST)
        except Exception:
            log.exception("a command failed")
            self.close(codes.CLOSE_SERVER_ERROR)

    def closed(self) -> None:
        """The transport is gone: forget the session."""
        if self._timer is not None:
            self._timer.cancel()
        self.outbox.finish(drop=True)
        self._leave()

    # -- from the engine

    def push(self, message: str, size: int) -> None:
        """Queue an encoded message of `size` bytes, or end the session if its client reads too slowly."""
        try:
            self.outbox.put(message, size)
        except Full:
            self.close(codes.CLOSE_SLOW)

    def close(self, disconnect: Disconnect) -> None:
        """End the session. What was queued before is still written, unless the client is slow."""
        if self.disconnect is not None:
            return
        self.disconnect = disconnect
        self._leave()
        self.outbox.finish(drop=disconnect is codes.CLOSE_SLOW)
        self.on_close()

    def check_expiry(self, now: float) -> None:
        """End what has expired, the configured delay after it did (clients refresh in between)."""
        if now < self._next_expiry:
            return
        if self._expires_at and now >= self._expires_at + self._options.expired_close_delay:
            self.close(codes.CLOSE_EXPIRED)
            return
        delay = self._options.expired_sub_close_delay
        for channel, subscription in list(self._subscriptions.items()):
            if subscription.expires_at and now >= subscription.expires_at + delay:
                self._subscription_expired(channel, subscription)
        self._plan_expiry()

    def is_present(self, channel: str) -> bool:
        subscription = self._subscriptions.get(channel)
        return subscription is not None and subscription.presence.is_present

    def hears_join_leave(self, channel: str) -> bool:
        subscription = self._subscriptions.get(channel)
        return subscription is not None and subscription.presence.hears_join_leave

    def client_info(self, channel: str) -> dict[str, Any]:
        """What others are told of this client in a channel."""
        info: dict[str, Any] = {"user": self.user, "client": self.client}
        if self._info is not None:
            info["conn_info"] = orjson.Fragment(self._info)
        subscription = self._subscriptions.get(channel)
        if subscription and subscription.info is not None:
            info["chan_info"] = orjson.Fragment(subscription.info)
        return info

    def server_subscribe(self, channel: str, options: ChannelOptions, request: dict[str, Any]) -> None:
        """Subscribe this client without its asking, and tell it. `info` and `data` of the request are encoded."""
        if self._options.channel_limit and len(self._subscriptions) >= self._options.channel_limit:
            self.close(codes.CLOSE_CHANNEL_LIMIT)
            return
        since = position_of(request.get("recover_since"))
        override = overrides(request.get("override"))
        presence = self._presence_options(options, override)
        subscription = Subscription(
            server_side=True, expires_at=request.get("expire_at", 0), info=request["info"], presence=presence
        )
        body = self._follow(channel, subscription, options, self._following(options, override), since)
        for name in NOT_TOLD_BY_SERVER:
            body.pop(name, None)
        if request["data"] is not None:
            body["data"] = orjson.Fragment(request["data"])
        self._send(push(channel, "subscribe", orjson.dumps(body)))
        self._announce_joins()

    def server_unsubscribe(self, channel: str, reason: Unsubscribe = codes.SERVER_UNSUBSCRIBE) -> None:
        """Take a subscription away, if there is one, and say that there is none."""
        self._forget(channel)
        self._send(push(channel, "unsubscribe", orjson.dumps({"code": reason.code, "reason": reason.reason})))

    def server_refresh(self, expires_at: int, info: bytes | None) -> None:
        """Set when the connection expires (Unix seconds, 0 for never), and what others are told, and say so."""
        if expires_at and expires_at <= self._engine.clock():
            self.close(codes.CLOSE_EXPIRED)
            return
        if expires_at and info is not None:
            self._info = info
        self._expires_at = expires_at
        self._plan_expiry()
        self._send('{"push":{"refresh":' + orjson.dumps(self._lifetime(expires_at)).decode() + "}}")

    def _leave(self) -> None:
        self._engine.hub.remove(self)
        for channel in list(self._subscriptions):
            self._forget(channel)

    def _forget(self, channel: str) -> bool:
        """End a subscription, if there is one, and tell the channel."""
        if channel not in self._subscriptions:
            return False
        self._engine.hub.unsubscribe(channel, self)
        leave = self._join_or_leave(channel, "leave")
        if self._subscriptions.pop(channel).presence.emits_join_leave and channel not in self._joined:
            self._engine.hub.announce(channel, leave)
        return True

    def _announce_joins(self) -> None:
        """Tell channels of new subscriptions: after this client's own answer, for it is told of itself too."""
        joined, self._joined = self._joined, []
        for channel in joined:
            if channel in self._subscriptions:
                self._engine.hub.announce(channel, self._join_or_leave(channel, "join"))

    def _join_or_leave(self, channel: str, kind: str) -> str:
        return push(channel, kind, orjson.dumps({"info": self.client_info(channel)}))

    # -- commands

    async def _handle_line(self, line: bytes) -> None:
        command = orjson.loads(line)
        if not isinstance(command, dict):
            raise Malformed
        if not command:
            self._pong()
            return
        method, request = self._method(command)
        if method == "send":
            raise Closed(codes.CLOSE_NOT_AVAILABLE)
        if method != "connect" and not self._connected:
            raise Malformed
        if token := request.get("token"):
            await self._prepare(method, token)
            if self.disconnect is not None:
                return
        try:
            result = await self._connect(request) if method == "connect" else self._commands[method](request)
        except Refused as refusal:
            self._answer(command["id"], "error", refusal.error.as_json())
        else:
            self._answer(command["id"], method, result)
            self._announce_joins()
            if method == "connect":
                self._greeted()

    async def _prepare(self, method: str, token: str) -> None:
        """Let the key of a token be read, so that the command itself need not wait: nothing is published in between."""
        is_connections = method in ("connect", "refresh")
        verifier = self._engine.connection_tokens if is_connections else self._engine.subscription_tokens
        await verifier.prepare(token)

    @staticmethod
    def _method(command: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        for method, fields in COMMANDS.items():
            if command.get(method) is not None:
                request = check(command[method], fields)
                if method != "send" and not (uint32(command.get("id")) and command["id"] > 0):
                    raise Malformed
                if "channel" in fields and not request.get("channel"):
                    raise Malformed
                return method, request
        raise Malformed

    async def _connect(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._connected:
            raise Malformed
        identity = await self._identify(request)
        if self.disconnect is not None:
            raise Closed(self.disconnect)
        user = identity.get("user", "")
        limit = self._options.user_connection_limit
        if limit and user and len(self._engine.hub.of_user(user)) >= limit:
            raise Closed(codes.CLOSE_CONNECTION_LIMIT)
        expires_at = identity.get("expire_at", 0)
        if expires_at and expires_at <= self._engine.clock():
            raise Refused(codes.EXPIRED)
        by_token = bool(request.get("token"))
        subscriptions = {channel: {} for channel in identity.get("channels", ())} | identity.get("subs", {})
        options = {channel: self._engine.channels.options(channel) for channel in subscriptions}
        if self._options.channel_limit and len(subscriptions) > self._options.channel_limit:
            raise Closed(codes.CLOSE_CHANNEL_LIMIT)
        self.user, self._info, self._expires_at = user, identity.get("info"), expires_at
        reply: dict[str, Any] = {"client": self.client, "version": VERSION, **self._lifetime(expires_at)}
        if identity.get("data") is not None:
            reply["data"] = orjson.Fragment(identity["data"])
        self._connected = True
        self._engine.hub.add(self)
        subs = {
            channel: self._connect_subscription(
                channel, options[channel], granted, request.get("subs", {}).get(channel, {}), by_token
            )
            for channel, granted in subscriptions.items()
        }
        if subs:
            reply["subs"] = subs
        if self._options.ping_interval:
            reply["ping"] = int(self._options.ping_interval)
            reply["pong"] = bool(self._options.pong_timeout)
        return reply

    async def _identify(self, request: dict[str, Any]) -> dict[str, Any]:
        """Who connects: by its token, by the connect proxy, or nobody where that is allowed. In the proxy's form."""
        if request.get("token"):
            return self._identify_by_token(request["token"])
        if self._engine.gate.enabled:
            return await self._engine.gate.ask(self._proxy_request(request), self._headers)
        if self._options.insecure or self._options.allow_anonymous_connect_without_token:
            return {}
        raise Closed(codes.CLOSE_BAD_REQUEST)

    def _identify_by_token(self, token: str) -> dict[str, Any]:
        try:
            claims = self._engine.connection_tokens.connection(token)
        except ExpiredToken:
            raise Refused(codes.TOKEN_EXPIRED) from None
        except InvalidToken:
            raise Closed(codes.CLOSE_INVALID_TOKEN) from None
        return {
            "user": claims.user,
            "expire_at": claims.expires_at,
            "info": claims.info,
            "subs": claims.subscriptions,
        }

    def _proxy_request(self, request: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"client": self.client, "transport": "websocket", "protocol": "json", "encoding": "json"}
        body |= {name: request[name] for name in ("data", "name", "version") if name in request}
        if request.get("subs"):
            body["channels"] = sorted(request["subs"])
        return body

    def _connect_subscription(
        self, channel: str, options: ChannelOptions, granted: dict[str, Any], asked: dict[str, Any], by_token: bool
    ) -> dict[str, Any]:
        since = position_of(asked) if asked.get("recover") else None
        override = overrides(granted.get("override"))
        presence = self._presence_options(options, override)
        subscription = Subscription(
            server_side=True,
            by_token=by_token,
            expires_at=granted.get("expire_at") or 0,
            info=granted.get("info"),
            presence=presence,
        )
        body = self._follow(channel, subscription, options, self._following(options, override), since)
        if granted.get("data") is not None:
            body["data"] = orjson.Fragment(granted["data"])
        return body

    def _greeted(self) -> None:
        """Connected: no longer stale, pinged from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._plan_expiry()
        if self._options.ping_interval:
            self._after(self._options.ping_interval, self._ping)

    def _subscribe(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = request["channel"]
        self._engine.channels.check_length(channel)
        if channel in self._subscriptions:
            raise Refused(codes.ALREADY_SUBSCRIBED)
        limit = self._options.channel_limit
        if limit and len(self._subscriptions) >= limit:
            raise Refused(codes.LIMIT_EXCEEDED)
        options = self._engine.channels.options_for_client(channel)
        claims = self._permit_subscribing(channel, options, request.get("token", ""))
        self._check_kind(request)
        override = claims.override if claims else {}
        following = self._following(options, override, request)
        since = position_of(request) if request.get("recover") else None
        presence = self._presence_options(options, override, request)
        subscription = Subscription(
            server_side=False,
            expires_at=claims.expires_at if claims else 0,
            info=claims.info if claims else None,
            presence=presence,
        )
        reject = bool(request.get("flag", 0) & REJECT_UNRECOVERED)
        body = self._follow(channel, subscription, options, following, since, reject)
        return self._lifetime(subscription.expires_at) | body

    @staticmethod
    def _check_kind(request: dict[str, Any]) -> None:
        kind = request.get("type", STREAM_SUBSCRIPTION)
        if kind == SHARED_POLL_SUBSCRIPTION:
            raise Refused(codes.NOT_AVAILABLE)
        if kind != STREAM_SUBSCRIPTION:
            raise Refused(codes.PERMISSION_DENIED)
        if "tf" in request:
            raise Refused(codes.BAD_REQUEST)

    def _permit_subscribing(self, channel: str, options: ChannelOptions, token: str) -> SubscriptionClaims | None:
        if token:
            return self._subscription_claims(channel, token)
        if self._options.insecure:
            return None
        if not is_private(channel):
            if options.allow_subscribe_for_client and (self.user or options.allow_subscribe_for_anonymous):
                return None
            if options.allow_user_limited_channels and self.user and is_limited_to(channel, self.user):
                return None
        raise Refused(codes.PERMISSION_DENIED)

    def _subscription_claims(self, channel: str, token: str) -> SubscriptionClaims:
        """What a token allows. That of another person, channel or client is no mistake: it ends the session."""
        try:
            claims = self._engine.subscription_tokens.subscription(token)
        except ExpiredToken:
            raise Refused(codes.TOKEN_EXPIRED) from None
        except InvalidToken:
            raise Refused(codes.PERMISSION_DENIED) from None
        self._check_owner(claims, channel)
        if claims.expires_at and claims.expires_at <= self._engine.clock():
            raise Refused(codes.EXPIRED)
        return claims

    def _check_owner(self, claims: SubscriptionClaims, channel: str) -> None:
        if claims.user != self.user or claims.channel != channel or claims.client not in ("", self.client):
            raise Closed(codes.CLOSE_INVALID_TOKEN)

    def _following(
        self, options: ChannelOptions, override: dict[str, bool], request: dict[str, Any] | None = None
    ) -> Following:
        """What the channel's options force, and what the client asked for as far as it may."""
        asked = request or {}
        may_read = options.has_history and self._may_read_history(options, subscribed=True)
        recoverable = override.get("force_recovery", options.force_recovery)
        recoverable |= bool(asked.get("recoverable")) and (options.allow_recovery or may_read)
        positioned = override.get("force_positioning", options.force_positioning)
        positioned |= bool(asked.get("positioned")) and (options.allow_positioning or may_read)
        return Following(positioned or recoverable, recoverable)

    def _presence_options(
        self, options: ChannelOptions, override: dict[str, bool], request: dict[str, Any] | None = None
    ) -> Presence:
        """The same for presence: who may read it may also ask to be told who joins and leaves."""
        asked = bool((request or {}).get("join_leave")) and self._may_read_presence(options, subscribed=True)
        emitted = override.get("join_leave", options.join_leave)
        forced = override.get("force_push_join_leave", options.force_push_join_leave)
        return Presence(override.get("presence", options.presence), emitted, emitted and (asked or forced))

    def _follow(
        self,
        channel: str,
        subscription: Subscription,
        options: ChannelOptions,
        following: Following,
        since: Position | None,
        reject_unrecovered: bool = False,
    ) -> dict[str, Any]:
        """Subscribe; what the client is told of its place in the stream. No await: nothing is published in between."""
        body: dict[str, Any] = {"was_recovering": True} if since else {}
        missed: list[Publication] = []
        if following.positioned:
            retention = self._engine.retention(options)
            position = self._engine.history.position(channel, retention)
            if since and following.recoverable:
                limit = self._options.recovery_max_publication_limit
                recovery = self._engine.history.recover(channel, retention, since, limit)
                if not recovery.recovered and reject_unrecovered:
                    raise Refused(codes.UNRECOVERABLE_POSITION)
                if recovery.recovered:
                    missed = recovery.publications
                    position = Position(since.offset, position.epoch)
                    body["recovered"] = True
            body |= {"positioned": True, "epoch": position.epoch}
            if position.offset:
                body["offset"] = position.offset
        if following.recoverable:
            body["recoverable"] = True
        if missed:
            body["publications"] = fragments(missed)
        self._subscriptions[channel] = subscription
        self._engine.hub.subscribe(channel, self)
        if subscription.presence.emits_join_leave:
            self._joined.append(channel)
        self._plan_expiry()
        return body

    def _unsubscribe(self, request: dict[str, Any]) -> dict[str, Any]:
        self._forget(request["channel"])
        return {}

    def _publish(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = request["channel"]
        if "data" not in request:
            raise Refused(codes.BAD_REQUEST)
        options = self._engine.channels.options_for_client(channel)
        if not self._may_publish(channel, options):
            raise Refused(codes.PERMISSION_DENIED)
        publication = Publication(orjson.dumps(request["data"]), info=orjson.dumps(self.client_info(channel)))
        self._engine.publish(channel, options, publication)
        return {}

    def _may_publish(self, channel: str, options: ChannelOptions) -> bool:
        if self._options.insecure:
            return True
        if not self.user and not options.allow_publish_for_anonymous:
            return False
        subscribed = channel in self._subscriptions
        return options.allow_publish_for_client or (options.allow_publish_for_subscriber and subscribed)

    def _history(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = request["channel"]
        options = self._engine.channels.options_for_client(channel)
        if not options.has_history:
            raise Refused(codes.NOT_AVAILABLE)
        if not self._may_read_history(options, channel in self._subscriptions):
            raise Refused(codes.PERMISSION_DENIED)
        most = self._options.history_max_publication_limit or -1
        publications, position = self._engine.read_history(channel, options, request, most)
        return {"publications": fragments(publications), "epoch": position.epoch, "offset": position.offset}

    def _may_read_history(self, options: ChannelOptions, subscribed: bool) -> bool:
        if self._options.insecure:
            return True
        if not self.user and not options.allow_history_for_anonymous:
            return False
        return options.allow_history_for_client or (options.allow_history_for_subscriber and subscribed)

    def _presence(self, request: dict[str, Any]) -> dict[str, Any]:
        channel, options = self._channel_of_presence(request)
        return {"presence": self._engine.presence(channel, options)}

    def _presence_stats(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._engine.presence_stats(*self._channel_of_presence(request))

    def _channel_of_presence(self, request: dict[str, Any]) -> tuple[str, ChannelOptions]:
        """The channel whose presence the client asks for. Raises Refused where it may not."""
        channel = request["channel"]
        options = self._engine.channels.options_for_client(channel)
        if not options.presence:
            raise Refused(codes.NOT_AVAILABLE)
        if not self._may_read_presence(options, channel in self._subscriptions):
            raise Refused(codes.PERMISSION_DENIED)
        return channel, options

    def _may_read_presence(self, options: ChannelOptions, subscribed: bool) -> bool:
        if self._options.insecure:
            return True
        if not self.user and not options.allow_presence_for_anonymous:
            return False
        return options.allow_presence_for_client or (options.allow_presence_for_subscriber and subscribed)

    def _rpc(self, request: dict[str, Any]) -> dict[str, Any]:
        raise Refused(codes.NOT_AVAILABLE)

    def _refresh(self, request: dict[str, Any]) -> dict[str, Any]:
        if not request.get("token"):
            raise Malformed
        try:
            claims = self._engine.connection_tokens.connection(request["token"])
        except ExpiredToken:
            raise Closed(codes.CLOSE_EXPIRED) from None
        except InvalidToken:
            raise Closed(codes.CLOSE_INVALID_TOKEN) from None
        for channel in claims.subscriptions:
            self._engine.channels.options(channel)
        if claims.user != self.user:
            raise Closed(codes.CLOSE_INVALID_TOKEN)
        if self._needs_other_subscriptions(claims.subscriptions):
            raise Closed(codes.CLOSE_INSUFFICIENT_STATE)
        if claims.expires_at:
            self._extend(claims)
        return self._lifetime(claims.expires_at)

    def _needs_other_subscriptions(self, granted: Mapping[str, Any]) -> bool:
        """Whether a new token would have made others than those that the connection has by its first one."""
        by_token = {channel for channel, subscription in self._subscriptions.items() if subscription.by_token}
        return not (by_token <= granted.keys() <= self._subscriptions.keys())

    def _extend(self, claims: ConnectionClaims) -> None:
        """A token without an end changes nothing, as in Centrifugo: the connection goes on to the end it had."""
        if claims.expires_at <= self._engine.clock():
            raise Refused(codes.EXPIRED)
        self._expires_at = claims.expires_at
        if claims.info is not None:
            self._info = claims.info
        self._plan_expiry()

    def _sub_refresh(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = request["channel"]
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            raise Refused(codes.PERMISSION_DENIED)
        if subscription.server_side:
            raise Malformed
        if not request.get("token"):
            raise Refused(codes.BAD_REQUEST)
        try:
            claims = self._engine.subscription_tokens.subscription(request["token"])
        except ExpiredToken:
            return {}  # as Centrifugo answers, where the subscription then has no end; here it keeps the one it had
        except InvalidToken:
            raise Closed(codes.CLOSE_INVALID_TOKEN) from None
        self._check_owner(claims, channel)
        if claims.expires_at and claims.expires_at < int(self._engine.clock()):
            raise Refused(codes.EXPIRED)
        subscription.expires_at = claims.expires_at
        subscription.info = claims.info
        self._plan_expiry()
        return self._lifetime(claims.expires_at)

    # -- time

    def _lifetime(self, expires_at: int) -> dict[str, Any]:
        if not expires_at:
            return {}
        return {"expires": True, "ttl": max(0, expires_at - int(self._engine.clock()))}

    def _plan_expiry(self) -> None:
        """When check_expiry() next has something to do, so that asking costs nothing until then."""
        ends = [self._expires_at + self._options.expired_close_delay] if self._expires_at else []
        delay = self._options.expired_sub_close_delay
        ends += [sub.expires_at + delay for sub in self._subscriptions.values() if sub.expires_at]
        self._next_expiry = min(ends, default=NEVER)

    def _subscription_expired(self, channel: str, subscription: Subscription) -> None:
        if subscription.server_side:
            self.close(codes.CLOSE_SUBSCRIPTION_EXPIRED)
        else:
            self.server_unsubscribe(channel, codes.SUBSCRIPTION_EXPIRED)

    def _ping(self) -> None:
        self._send("{}")
        if self._options.pong_timeout:
            self._awaits_pong = True
            self._after(self._options.pong_timeout, self._check_pong)
        else:
            self._after(self._options.ping_interval, self._ping)

    def _check_pong(self) -> None:
        if self._awaits_pong:
            self.close(codes.CLOSE_NO_PONG)
        else:
            self._after(self._options.ping_interval - self._options.pong_timeout, self._ping)

    def _pong(self) -> None:
        if not self._awaits_pong:
            raise Malformed
        self._awaits_pong = False

    def _after(self, delay: float, act: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, act)

    # -- out

    def _answer(self, command: int, method: str, result: dict[str, Any]) -> None:
        self._send(orjson.dumps({"id": command, method: result}).decode())

    def _send(self, message: str) -> None:
        self.push(message, len(message.encode()))
