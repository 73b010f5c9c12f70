"""The types of the fields in what clients and servers send. A field of another type makes the message malformed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Check = Callable[[Any], bool]
Fields = Mapping[str, Check]

UINT32 = 2**32
UINT64 = 2**64
INT32 = 2**31


class Malformed(ValueError):
    """The message is not of the form its method has."""


def text(value: Any) -> bool:
    return isinstance(value, str)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def anything(value: Any) -> bool:
    return True


def mapping(value: Any) -> bool:
    return isinstance(value, dict)


def number(low: int, high: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value < high


def texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def record(fields: Fields) -> Check:
    return lambda value: isinstance(value, dict) and _fits(value, fields)


def record_map(fields: Fields) -> Check:
    return lambda value: (
        isinstance(value, dict) and all(mapping(item) and _fits(item, fields) for item in value.values())
    )


def _fits(message: Mapping[str, Any], fields: Fields) -> bool:
    """Fields that are not known are ignored; null is as if the field were absent."""
    for name, value in message.items():
        check = fields.get(name)
        if check is not None and value is not None and not check(value):
            return False
    return True


def check(message: Any, fields: Fields) -> dict[str, Any]:
    """The message, without nulls except where anything is allowed. Raises Malformed."""
    if not isinstance(message, dict) or not _fits(message, fields):
        raise Malformed
    return {name: value for name, value in message.items() if value is not None or fields.get(name) is anything}


def encoded(message: Mapping[str, Any], name: str) -> bytes | None:
    """The JSON of a field, or of its twin in base64 ("b64" before its name), which goes first. None: there is neither.

    Raises Malformed where the twin holds no JSON: this engine speaks no binary protocol.
    """
    if twin := message.get(f"b64{name}"):
        try:
            return orjson.dumps(orjson.loads(base64.b64decode(twin, validate=True)))
        except (ValueError, TypeError):
            raise Malformed from None
    return orjson.dumps(message[name]) if name in message else None


def with_encoded(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message, its `info` and `data` encoded or None. Raises Malformed as encoded() does."""
    return {**message, "info": encoded(message, "info"), "data": encoded(message, "data")}


uint32 = number(0, UINT32)
uint64 = number(0, UINT64)
int32 = number(-INT32, INT32)
int64 = number(-(2**63), 2**63)

POSITION: Fields = {"offset": uint64, "epoch": text}
_HISTORY: Fields = {"channel": text, "limit": int32, "since": record(POSITION), "reverse": flag}
_CHANNEL: Fields = {"channel": text}

COMMANDS: dict[str, Fields] = {
    "connect": {
        "token": text,
        "data": anything,
        "name": text,
        "version": text,
        "headers": text_map,
        "subs": record_map({"recover": flag, "offset": uint64, "epoch": text}),
    },
    "subscribe": {
        "channel": text,
        "token": text,
        "recover": flag,
        "epoch": text,
        "offset": uint64,
        "data": anything,
        "positioned": flag,
        "recoverable": flag,
        "join_leave": flag,
        "delta": text,
        "tf": mapping,
        "flag": int64,
        "type": int32,
    },
    "unsubscribe": _CHANNEL,
    "publish": {"channel": text, "data": anything},
    "presence": _CHANNEL,
    "presence_stats": _CHANNEL,
    "history": _HISTORY,
    "rpc": {"data": anything, "method": text},
    "send": {"data": anything},
    "refresh": {"token": text},
    "sub_refresh": {"channel": text, "token": text},
}
"""What a client may send, by method, in the order in which a command is searched for its method."""

_SESSION: Fields = {"user": text, "client": text, "session": text}
_PUBLISH: Fields = {
    "data": anything,
    "b64data": text,
    "skip_history": flag,
    "tags": text_map,
    "idempotency_key": text,
    "delta": flag,
    "version": uint64,
    "version_epoch": text,
}

API: dict[str, Fields] = {
    "publish": {"channel": text, **_PUBLISH},
    "broadcast": {"channels": texts, **_PUBLISH},
    "subscribe": {
        **_SESSION,
        "channel": text,
        "info": anything,
        "b64info": text,
        "data": anything,
        "b64data": text,
        "expire_at": int64,
        "recover_since": record(POSITION),
        "override": record_map({"value": flag}),
    },
    "unsubscribe": {**_SESSION, "channel": text},
    "disconnect": {**_SESSION, "whitelist": texts, "disconnect": record({"code": uint32, "reason": text})},
    "refresh": {**_SESSION, "expired": flag, "expire_at": int64, "info": anything},
    "presence": _CHANNEL,
    "presence_stats": _CHANNEL,
    "history": _HISTORY,
    "history_remove": _CHANNEL,
    "channels": {"pattern": text},
    "info": {},
    "rpc": {"method": text, "params": anything},
}
"""What the application's server may send, by method of the server API."""
