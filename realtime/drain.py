"""Draining a node of the engine: its preStop hook asks here once a second (deploy/kubernetes/centrifugo.yaml).

The hook keeps the time and Redis the state, so whichever gate is asked takes the next part: a drain goes on while gates
are exchanged too.
"""

import asyncio
import hmac
import logging
from urllib.parse import parse_qsl

from django.conf import settings
from redis import RedisError

from events.engine_client import EngineAway, EngineRefused
from realtime import nodes
from realtime.gate import Receive, Scope, Send, read_body, respond

PATH = "/api/realtime/drain"

logger = logging.getLogger("realtime.drain")


class Drain:
    """Answers `POST ?node=NAME&parts=N` with the number of connections that are still to be ended at that node.

    The body is GATE_KEY, because the hook could send a header only as an argument of its `wget`, for everybody to
    read who lists processes.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await respond(send, 405)
        elif (body := await read_body(receive)) is None:
            await respond(send, 413)
        elif not hmac.compare_digest(body.strip(), settings.GATE_KEY.encode()):
            await respond(send, 403)
        elif (asked := _asked(scope["query_string"])) is None:
            await respond(send, 400)
        else:
            try:
                left = await asyncio.to_thread(nodes.disconnect_part, *asked)
            except (RedisError, EngineAway, EngineRefused) as problem:
                logger.warning("Node %s is not drained now: %s", asked[0], problem)
                await respond(send, 503)
            else:
                await respond(send, 200, left)


def _asked(query: bytes) -> tuple[str, int] | None:
    """The node's name and in how many parts its connections are to leave; None where that is not said."""
    given = dict(parse_qsl(query.decode("latin-1")))
    node, parts = given.get("node", ""), given.get("parts", "")
    return (node, int(parts)) if node and parts.isdecimal() and int(parts) else None
