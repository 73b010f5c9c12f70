"""Who came in at which node of the engine, so that a node that goes can be drained.

The open Centrifugo neither lists the connections of a node nor closes a few of them: when it ends, it closes all at
once. But it asks the gate about each one, and disconnects one whose id it is told. So the gate notes in Redis who came
in where, and before a node ends its connections are ended in small parts (`realtime.drain`).

Nobody hears who leaves, or whether somebody who was let in really came: to disconnect who is not there does nothing.
Who is not noted, since Redis was away for instance, stays until the node ends.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from redis.client import Pipeline

from events import engine_client, generations

#: Two and a half times what a node carries before Prometheus calls. Older ones have most probably left: where so many
#: come and go, nobody stays for long. About 4 MB of Redis.
NOTED_AT_A_NODE = 20_000
#: Of a node that died without being drained nothing is kept for longer, nor is a connection noted for longer.
NOTED_SECONDS = 86_400
#: The most that one request to the engine disconnects; it waits for Redis once for each.
PART_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Connection:
    """One that the gate was asked about. The engine calls the person `user`, and the connection `client`."""

    node: str
    user: str
    client: str


def key(node: str) -> str:
    return f"neostack:node:{node}"


def note(connections: Iterable[Connection], pipeline: Pipeline) -> None:
    """Add to the pipeline what remembers these, and forgets those that are too old or too many."""
    now = time.time()
    by_node: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for one in connections:
        by_node[one.node][f"{one.user} {one.client}"] = now  # see _parse
    for node, noted in by_node.items():
        pipeline.zadd(key(node), noted)
        pipeline.zremrangebyscore(key(node), "-inf", now - NOTED_SECONDS)
        pipeline.zremrangebyrank(key(node), 0, -NOTED_AT_A_NODE - 1)
        pipeline.expire(key(node), NOTED_SECONDS)


def disconnect_part(node: str, parts: int) -> int:
    """Disconnect one of so many equal parts of those noted at a node. Returns how many are noted still.

    Which of them is left to chance: most that are still there came late, and they are to leave evenly. Those that the
    engine did not take stay noted. Raises RedisError, EngineAway and EngineRefused.
    """
    shared = generations.server()
    if shared is None:
        return 0
    noted: int = shared.zcard(key(node))  # type: ignore[assignment]  # redis-py types both its kinds of client at once
    size = min(math.ceil(noted / parts), PART_LIMIT)
    part: list[bytes] = shared.zrandmember(key(node), size)  # type: ignore[assignment]
    replies = engine_client.push([engine_client.send_elsewhere_command(*_parse(member)) for member in part])
    gone = [member for member, reply in zip(part, replies, strict=True) if "error" not in reply]
    if gone:
        shared.zrem(key(node), *gone)
    return noted - len(gone)


def _parse(member: bytes) -> tuple[str, str]:
    """User and client of a note."""
    user, _, client = member.decode().partition(" ")
    return user, client
