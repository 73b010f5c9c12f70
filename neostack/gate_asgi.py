"""The gate as a process of its own, which is how production runs it: nothing else answers at its port.

Within web it shares a core with the pages: while everybody comes back after a restart, nobody gets a page. It loads
the models and no addresses, and shows what it counts at METRICS_PORT.
"""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neostack.settings")
django.setup()

# What follows needs the apps to be ready.
from events import scraping  # noqa: E402
from neostack import lifespan  # noqa: E402
from neostack.checks import refuse_unsafe_production  # noqa: E402
from realtime.gate import Gate, Receive, Scope, Send, respond  # noqa: E402

refuse_unsafe_production()
scraping.serve()

gate = Gate()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The gate; and, for probes, whether the loop turns in which it answers.

    Without the database it lets in those whom Redis knows, and tells others to try again.
    """
    if scope["type"] == "lifespan":
        lifespan.say_what_is_waited_for("neostack.gate")
        await lifespan.answer(receive, send)
    elif scope["path"] == "/healthz":
        await respond(send, 200, {"status": "ok"})
    else:
        await gate(scope, receive, send)
