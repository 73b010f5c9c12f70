"""The engine's configuration file, in Centrifugo's format, from our settings. Both engines read the same one."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from events.pushing import DISCONNECT_AGAIN
from realtime.tokens import SUBSCRIPTION

#: What a reconnecting browser may have missed in one channel and still be told; more makes it reload.
TENANT_HISTORY = 1000
OTHER_HISTORY = 100
HISTORY_TTL = "1h"
#: The gate gives up first, with an answer; so much longer the engine waits for it.
GATE_ANSWER_SECONDS = 0.5
#: A connection let in by an older answer would come after the second disconnect, and nothing would end it.
GATE_ANSWER_MAX_SECONDS = DISCONNECT_AGAIN.total_seconds() - 0.2
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def build() -> dict[str, Any]:
    """The configuration as a JSON object.

    Every `allow_*` option stays off, as it is by default: what a client may do comes from its tokens alone. There is no
    key for connection tokens, so that the only way in is through the gate, and a JWT sent as `token` is refused.
    """
    return {
        "http_server": _address(),
        "http_api": {"key": settings.ENGINE_API_KEY, "handler_prefix": urlsplit(settings.ENGINE_API_URL).path},
        "client": {
            "allowed_origins": settings.ALLOWED_ORIGINS,
            "subscription_token": {
                "enabled": True,
                "hmac_secret_key": settings.ENGINE_TOKEN_SECRET,
                "audience": SUBSCRIPTION,
            },
            "proxy": {"connect": _gate()},
            "channel_limit": settings.CHANNELS_PER_CONNECTION,
            "ping_interval": "25s",
            "pong_timeout": "8s",
            "queue_max_size": 1024 * 1024,
            "recovery_max_publication_limit": TENANT_HISTORY,
        },
        "websocket": {"message_size_limit": 64 * 1024},
        "channel": {
            "namespaces": [
                _namespace("tenant", TENANT_HISTORY),
                *(_namespace(name, OTHER_HISTORY) for name in ("user", "admin", "system", "certification")),
            ]
        },
    }


def _address() -> dict[str, Any]:
    """Where the engine listens: the port of ENGINE_API_URL, on loopback only if that is where we look for it."""
    url = urlsplit(settings.ENGINE_API_URL)
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"address": "127.0.0.1" if url.hostname in LOOPBACK else "", "port": port}


def _gate() -> dict[str, Any]:
    timeout = min(settings.GATE_TIMEOUT_SECONDS + GATE_ANSWER_SECONDS, GATE_ANSWER_MAX_SECONDS)
    return {
        "enabled": True,
        "endpoint": settings.GATE_URL,
        "timeout": f"{timeout:g}s",
        "http": {"static_headers": {"X-Gate-Key": settings.GATE_KEY}},
    }


def _namespace(name: str, history_size: int) -> dict[str, Any]:
    return {
        "name": name,
        "history_size": history_size,
        "history_ttl": HISTORY_TTL,
        "force_positioning": True,
        "force_recovery": True,
    }
