"""The gate as a process of its own, which is how production runs it: nothing else answers at its port.

Within web it shares a core with the pages: while everybody comes back after a restart, nobody gets a page. It loads
the models and no addresses, and shows what it counts at METRICS_PORT.
"""

import logging
import os
import threading

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neostack.settings")
django.setup()

# What follows needs the apps to be ready.
from events import scraping, waiting  # noqa: E402
from neostack.checks import refuse_unsafe_production  # noqa: E402
from realtime.gate import Gate, Receive, Scope, Send, respond  # noqa: E402

refuse_unsafe_production()
scraping.serve()
# It answers meanwhile: those whom Redis knows, and to others that they should try again.
threading.Thread(target=waiting.for_database, args=[logging.getLogger("neostack.gate")], daemon=True).start()

gate = Gate()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The gate; and, for probes, whether the loop turns in which it answers."""
    if scope["path"] == "/healthz":
        await respond(send, 200, {"status": "ok"})
    else:
        await gate(scope, receive, send)
