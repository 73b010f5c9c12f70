"""The gate as a process of its own, which is how production runs it; beside it only what drains a node of the engine.

Within web it shares a core with the pages: while everybody comes back after a restart, nobody gets a page. It loads
the models and no addresses, and shows what it counts at METRICS_PORT.
"""

import os
from collections.abc import Awaitable, Callable

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neostack.settings")
django.setup()

# What follows needs the apps to be ready.
from events import scraping  # noqa: E402
from neostack import lifespan  # noqa: E402
from neostack.checks import refuse_unsafe_production  # noqa: E402
from realtime import drain  # noqa: E402
from realtime.gate import Gate, Receive, Scope, Send, respond  # noqa: E402

refuse_unsafe_production()
scraping.serve()

gate = Gate()


async def is_well(scope: Scope, receive: Receive, send: Send) -> None:
    """For probes: whether the loop turns in which the gate answers."""
    await respond(send, 200, {"status": "ok"})


#: What this process answers beside the gate.
BESIDE_THE_GATE: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
    "/healthz": is_well,
    drain.PATH: drain.Drain(),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The gate. Without the database it lets in those whom Redis knows, and tells others to try again."""
    if scope["type"] == "lifespan":
        lifespan.say_what_is_waited_for("neostack.gate")
        await lifespan.answer(receive, send)
    else:
        await BESIDE_THE_GATE.get(scope["path"], gate)(scope, receive, send)
