"""The server API: what the application's server may ask of the engine, method by method, as JSON over HTTP POST."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from engine import codes
from engine.codes import Disconnect, Refused
from engine.core import VERSION, Engine
from engine.history import Publication
from engine.schema import API, Malformed, check, encoded, with_encoded
from engine.session import Session

NODE_NAME = "embedded"


class Api:
    """Answers requests of the server API; `methods` are the last parts of the paths they are reached by."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._methods: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "publish": self._publish,
            "broadcast": self._broadcast,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "disconnect": self._disconnect,
            "refresh": self._refresh,
            "presence": self._presence,
            "presence_stats": self._presence_stats,
            "history": self._history,
            "history_remove": self._history_remove,
            "channels": self._channels,
            "info": self._info,
            "rpc": self._rpc,
        }

    @property
    def methods(self) -> set[str]:
        return {"batch", *self._methods}

    def answer(self, method: str, body: bytes) -> bytes:
        """The JSON answer to a request. Raises Malformed where its body is not of the method's form."""
        try:
            request = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise Malformed from None
        if method == "batch":
            return orjson.dumps(self._batch(request))
        return orjson.dumps(self._reply(method, check(request, API[method])))

    def _reply(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"result": self._methods[method](request)}
        except Refused as refusal:
            return {"error": refusal.error.as_json()}

    def _batch(self, request: Any) -> dict[str, Any]:
        """All commands in order (`parallel` or not: one process gains nothing by it), once all have the right form."""
        if not isinstance(request, dict) or not isinstance(request.get("commands") or [], list):
            raise Malformed
        commands = [_command(command) for command in request.get("commands") or []]
        replies = [self._batch_reply(method, command) for method, command in commands]
        return {"replies": replies} if replies else {}

    def _batch_reply(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        if not method:
            return {"error": codes.METHOD_NOT_FOUND.as_json()}
        reply = self._reply(method, request)
        return {method: reply["result"]} if "result" in reply else reply

    def _publish(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._publish_to(_channel(request), request)

    def _publish_to(self, channel: str, request: dict[str, Any]) -> dict[str, Any]:
        if not channel:
            raise Refused(codes.BAD_REQUEST)
        options = self._engine.channels.options(channel)
        tags = request.get("tags")
        position = self._engine.publish(
            channel,
            options,
            Publication(_data(request), orjson.dumps(tags) if tags else None, version=request.get("version", 0)),
            request.get("version_epoch", ""),
            request.get("idempotency_key", ""),
            request.get("skip_history", False),
        )
        return {"offset": position.offset, "epoch": position.epoch} if position else {}

    def _broadcast(self, request: dict[str, Any]) -> dict[str, Any]:
        channels = request.get("channels")
        if not channels:
            raise Refused(codes.BAD_REQUEST)
        return {"responses": [self._broadcast_reply(channel, request) for channel in channels]}

    def _broadcast_reply(self, channel: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"result": self._publish_to(channel, request)}
        except Refused as refusal:
            return {"error": refusal.error.as_json()}

    def _history(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = _channel(request)
        options = self._engine.channels.options(channel)
        publications, position = self._engine.read_history(channel, options, request)
        return {
            "publications": [orjson.Fragment(publication.for_api()) for publication in publications],
            "epoch": position.epoch,
            "offset": position.offset,
        }

    def _history_remove(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = _channel(request)
        if not self._engine.channels.options(channel).has_history:
            raise Refused(codes.NOT_AVAILABLE)
        self._engine.history.remove(channel)
        return {}

    def _subscribe(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = _channel(request)
        options = self._engine.channels.options(channel)
        try:
            granted = with_encoded(request)
        except Malformed:
            raise Refused(codes.BAD_REQUEST) from None
        for session in self._sessions(request):
            session.server_subscribe(channel, options, granted)
        return {}

    def _unsubscribe(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = request.get("channel", "")
        self._engine.channels.options(channel)
        for session in self._sessions(request):
            session.server_unsubscribe(channel)
        return {}

    def _disconnect(self, request: dict[str, Any]) -> dict[str, Any]:
        asked = request.get("disconnect") or {}
        disconnect = Disconnect(asked["code"], asked.get("reason", "")) if asked.get("code") else codes.CLOSE_FORCED
        spared = set(request.get("whitelist", ()))
        for session in self._sessions(request):
            if session.client not in spared:
                session.close(disconnect)
        return {}

    def _refresh(self, request: dict[str, Any]) -> dict[str, Any]:
        for session in self._sessions(request):
            if request.get("expired"):
                session.close(codes.CLOSE_EXPIRED)
            else:
                session.server_refresh(request.get("expire_at", 0), encoded(request, "info"))
        return {}

    def _sessions(self, request: dict[str, Any]) -> Iterable[Session]:
        """The sessions a request speaks of. WebSocket connections have no `session` id, so naming one matches none."""
        if request.get("session"):
            return ()
        return self._engine.hub.of_user(request.get("user", ""), request.get("client", ""))

    def _presence(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = _channel(request)
        return {"presence": self._engine.presence(channel, self._engine.channels.options(channel))}

    def _presence_stats(self, request: dict[str, Any]) -> dict[str, Any]:
        channel = _channel(request)
        return self._engine.presence_stats(channel, self._engine.channels.options(channel))

    def _channels(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = glob(request["pattern"]) if request.get("pattern") else re.compile("")
        found = {name: {"num_clients": n} for name, n in self._engine.hub.subscribers() if wanted.match(name)}
        return {"channels": found}

    def _info(self, request: dict[str, Any]) -> dict[str, Any]:
        node = {"uid": self._engine.id, "name": NODE_NAME, "version": VERSION, "uptime": self._engine.uptime}
        return {"nodes": [node | self._engine.hub.counts]}

    def _rpc(self, request: dict[str, Any]) -> dict[str, Any]:
        raise Refused(codes.METHOD_NOT_FOUND)


def glob(pattern: str) -> re.Pattern[str]:
    """A channel pattern ("*", "?", "[a-z]", "[!a-z]", "{one,other}") as a regular expression. Raises Refused (107)."""
    parts: list[str] = []
    for token in re.findall(r"\\.|\[[^\]]*\]|.", pattern, re.DOTALL):
        if token.startswith("[") and len(token) > 2:
            parts.append("[^" + token[2:] if token.startswith("[!") else token)
        else:
            parts.append(_GLOB.get(token) or re.escape(token[-1]))
    try:
        return re.compile("".join(parts) + r"\Z", re.DOTALL)
    except re.error:
        raise Refused(codes.BAD_REQUEST) from None


_GLOB = {"*": ".*", "?": ".", "{": "(?:", "}": ")", ",": "|"}


def _channel(request: dict[str, Any]) -> str:
    channel: str = request.get("channel", "")
    if not channel:
        raise Refused(codes.BAD_REQUEST)
    return channel


def _data(request: dict[str, Any]) -> bytes:
    try:
        data = encoded(request, "data")
    except Malformed:
        raise Refused(codes.BAD_REQUEST) from None
    if data is None:
        raise Refused(codes.BAD_REQUEST)
    return data


def _command(command: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(command, dict):
        raise Malformed
    for method, fields in API.items():
        if command.get(method) is not None:
            return method, check(command[method], fields)
    return "", {}
