"""What answers on our port: Django; beside it, bare, the gate and the public keys; with ENGINE=embedded, the engine."""

import os
import re
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neostack.settings")

django_application = get_asgi_application()

# What follows needs the apps to be ready.
from django.conf import settings  # noqa: E402
from django.urls import URLPattern, re_path  # noqa: E402

from engine import asgi as engine  # noqa: E402
from neostack import lifespan  # noqa: E402
from neostack.checks import refuse_unsafe_production  # noqa: E402
from realtime import engine_config, jwks  # noqa: E402
from realtime.gate import Gate, Receive, Scope, Send  # noqa: E402

refuse_unsafe_production()


async def no_such_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket at an address where nothing listens."""
    await receive()
    await send({"type": "websocket.close"})


class WithStart:
    """An ASGI application that, when its server starts, says in the log what it waits for.

    It answers meanwhile: /healthz and /readyz, and pages as far as they can be.
    """

    def __init__(self, application: ProtocolTypeRouter) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            lifespan.say_what_is_waited_for("neostack.asgi")
            if "lifespan" not in self._application.application_mapping:
                await lifespan.answer(receive, send)
                return
        await self._application(scope, receive, send)


def at(pattern: str, asgi_application: Any) -> URLPattern:
    """A route of URLRouter: Django's, but what it leads to speaks ASGI."""
    return re_path(pattern, asgi_application)


def ours() -> list[URLPattern]:
    """What the engine asks of us, which must answer while pages are slow; and Django, everywhere else."""
    return [
        at("^api/realtime/connect$", Gate()),
        at(f"^{re.escape(jwks.PATH)}$", jwks.PublicKeys()),
        at("", django_application),
    ]


def without_engine() -> ProtocolTypeRouter:
    """The engine is a process of its own."""
    return ProtocolTypeRouter({"http": URLRouter(ours()), "websocket": no_such_socket})


def with_engine() -> ProtocolTypeRouter:
    """The same, and the engine: its client path for WebSockets, and its server API, which asks for its key."""
    config = engine_config.build()
    embedded = engine.build(config)
    api = config["http_api"]["handler_prefix"].strip("/")
    routes = [at(f"^{api}/", embedded), *ours()]
    sockets = [at("^connection/websocket$", embedded), at("", no_such_socket)]
    return ProtocolTypeRouter({"http": URLRouter(routes), "websocket": URLRouter(sockets), "lifespan": embedded})


application = WithStart(with_engine() if settings.ENGINE == "embedded" else without_engine())
