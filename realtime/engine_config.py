"""The engine's configuration file, in Centrifugo's format, from our settings. Both engines read the same one."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from django.conf import settings

from events.pushing import DISCONNECT_AGAIN
from realtime.tokens import SUBSCRIPTION

#: What a reconnecting browser may have missed in one channel and still be told; more makes it reload. (The proposal
#: said 10: a page that was away for a minute of a busy deployment has missed hundreds.)
TENANT_HISTORY = 1000
OTHER_HISTORY = 100
HISTORY_TTL = "1h"
#: The gate gives up first, with an answer; so much longer the engine waits for it.
GATE_ANSWER_SECONDS = 0.5
#: A connection let in by an older answer would come after the second disconnect, and nothing would end it.
GATE_ANSWER_MAX_SECONDS = DISCONNECT_AGAIN.total_seconds() - 0.2
LOOPBACK = ("localhost", "127.0.0.1", "::1")
REDIS_PORT = 6379
#: The longest frame from a browser, in bytes.
MESSAGE_SIZE_LIMIT = 64 * 1024


def build() -> dict[str, Any]:
    """The configuration as a JSON object. It holds secrets: see `without_secrets`.

    Every `allow_*` option stays off, as it is by default: what a client may do comes from its tokens alone. There is no
    key for connection tokens, so that the only way in is through the gate, and a JWT sent as `token` is refused.
    """
    return {
        "http_server": _address(),
        "http_api": {"key": settings.ENGINE_API_KEY, "handler_prefix": _api().path},
        "client": {
            "allowed_origins": settings.ALLOWED_ORIGINS,
            "subscription_token": {
                "enabled": True,
                "jwks_public_endpoint": settings.JWKS_URL,
                "audience": SUBSCRIPTION,
            },
            "proxy": {"connect": _gate()},
            "channel_limit": settings.CHANNELS_PER_CONNECTION,
            # A page whose network is gone without a word is ended after 40 s at most; it notices by itself after 35.
            "ping_interval": "25s",
            "pong_timeout": "15s",
            "queue_max_size": 1024 * 1024,
            "recovery_max_publication_limit": TENANT_HISTORY,
        },
        "websocket": {
            "message_size_limit": MESSAGE_SIZE_LIMIT,
            # A page that listens says little: what waits for it to speak or to be spoken to is kept small, and what
            # writing needs is shared. With GOGC=50 (`processes`) 1,000 connections take about 40 MB instead of 53.
            "read_buffer_size": 512,
            "write_buffer_size": 1024,
            "use_write_buffer_pool": True,
        },
        "channel": {
            "namespaces": [
                _namespace("tenant", TENANT_HISTORY),
                *(_namespace(name, OTHER_HISTORY) for name in ("user", "admin", "system", "certification")),
            ]
        },
        **_inside(),
        **_redis(),
    }


def without_secrets(config: dict[str, Any]) -> dict[str, Any]:
    """The same, for where secrets don't belong. Centrifugo takes them from its environment: see docs/access.md."""
    bare = deepcopy(config)
    del bare["http_api"]["key"]
    del bare["client"]["proxy"]["connect"]["http"]
    redis = bare.get("engine", {}).get("redis", {})
    redis.pop("password", None)
    if "address" in redis:
        redis["address"] = [_without_password(address) for address in redis["address"]]
    return bare


def _api() -> SplitResult:
    url: str = settings.ENGINE_API_URL
    return urlsplit(url)


def _address() -> dict[str, Any]:
    """Where the engine listens: the port of ENGINE_API_URL, on loopback only if that is where we look for it.

    Browsers come there too, unless ENGINE_PORT gives them a port of their own.
    """
    url = _api()
    port = url.port or (443 if url.scheme == "https" else 80)
    address = "127.0.0.1" if url.hostname in LOOPBACK else ""
    if not has_internal_port():
        return {"address": address, "port": port}
    internal = {"internal_address": address, "internal_port": str(port)}
    return {"address": address, "port": settings.ENGINE_PORT, **internal}


def has_internal_port() -> bool:
    """Whether browsers are kept away from the server API by a port of its own."""
    return settings.ENGINE_PORT not in (0, _api().port)


def _inside() -> dict[str, Any]:
    """What only our own network may see: without an internal port it would stand beside the browsers' path."""
    if not has_internal_port():
        return {}
    # The admin page would be a second way to publish and to disconnect, past the log and its policies.
    return {"prometheus": {"enabled": True}, "health": {"enabled": True}, "admin": {"enabled": False}}


def _redis() -> dict[str, Any]:
    addresses = [*settings.ENGINE_REDIS_URL, *settings.ENGINE_REDIS_CLUSTER]
    if not addresses:
        return {}
    redis: dict[str, Any] = {"prefix": settings.ENGINE_REDIS_PREFIX}
    if settings.ENGINE_REDIS_URL:
        redis["address"] = settings.ENGINE_REDIS_URL
    if settings.ENGINE_REDIS_CLUSTER:
        redis |= _cluster([urlsplit(address) for address in settings.ENGINE_REDIS_CLUSTER])
    if _is_encrypted(addresses):
        authority = settings.ENGINE_REDIS_CA_FILE
        redis["tls"] = {"enabled": True, **({"server_ca_pem": authority} if authority else {})}
    return {"engine": {"type": "redis", "redis": redis}}


def _cluster(nodes: Sequence[SplitResult]) -> dict[str, Any]:
    """Centrifugo takes host and port of a cluster's nodes, and who it is there apart: one password for all of them."""
    who = {"user": nodes[0].username, "password": nodes[0].password}
    found = [f"{node.hostname}:{node.port or REDIS_PORT}" for node in nodes]
    return {"cluster_address": found, **{name: unquote(value) for name, value in who.items() if value}}


def _is_encrypted(addresses: Sequence[str]) -> bool:
    return all(address.startswith("rediss://") for address in addresses)


def _without_password(address: str) -> str:
    url = urlsplit(address)
    return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()


def _gate() -> dict[str, Any]:
    timeout = min(settings.GATE_TIMEOUT_SECONDS + GATE_ANSWER_SECONDS, GATE_ANSWER_MAX_SECONDS)
    return {
        "enabled": True,
        "endpoint": settings.GATE_URL,
        "timeout": f"{timeout:g}s",
        "http": {"static_headers": {"X-Gate-Key": settings.GATE_KEY, **_node()}},
    }


def _node() -> dict[str, str]:
    """By which name the gate notes who came in here, for the day on which this node goes: see `realtime.nodes`."""
    return {"X-Node-Name": settings.ENGINE_NODE_NAME} if settings.ENGINE_NODE_NAME else {}


def _namespace(name: str, history_size: int) -> dict[str, Any]:
    return {
        "name": name,
        "history_size": history_size,
        "history_ttl": HISTORY_TTL,
        "force_positioning": True,
        "force_recovery": True,
    }
