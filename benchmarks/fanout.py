"""One publication to a thousand subscribers: the embedded engine beside Django Channels and the real Centrifugo."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import psutil
import redis

from benchmarks.crowd import Crowd
from neostack.processes import BASE_DIR, CENTRIFUGO
from tests.services import free_port

SUBSCRIBERS = 1_000
#: One after the other: the next is published when everybody has the last.
ONE_BY_ONE = 40
#: At once, as fast as the publisher can, to see whether anything is lost.
BURST = 300
QUIET_SECONDS = 5.0
MARK = b"benchmark-mark"
CHANNEL = "tenant:benchmark"
#: As large as an event of ours.
MESSAGE = json.dumps({"type": MARK.decode(), "summary": "x" * 480})


@dataclass(frozen=True)
class FanOut:
    """`everybody_ms`: until the last of the thousand has it. `cpu_us`: of the server, for each delivery."""

    everybody_ms: float
    cpu_us: float
    burst_delivered: float


@dataclass(frozen=True)
class Server:
    name: str
    command: list[str]
    port: int
    environ: dict[str, str]
    publish_path: str
    #: What its broker costs belongs to it.
    redis_pid: int | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it speaks Centrifugo's protocol."""
        return bool(self.publish_path)


def engines(home: Path) -> list[Server]:
    """The embedded engine and, where it is built, Centrifugo, with the same configuration."""
    found = []
    for name, command in (("embedded engine", [sys.executable, "-m", "engine"]), ("Centrifugo", [str(CENTRIFUGO)])):
        if command[0] == str(CENTRIFUGO) and not CENTRIFUGO.exists():
            continue
        port = free_port()
        config = home / f"{port}.json"
        config.write_text(json.dumps(_configuration(port)))
        found.append(Server(name, [*command, "-c", str(config)], port, {}, "/engine/api/publish"))
    return found


def layers(redis_url: str) -> list[Server]:
    """Django Channels with its layer in memory and, where there is a Redis, with channels_redis."""
    memory = _channels("Channels, in-memory layer", {})
    if not redis_url:
        return [memory]
    pid = redis.Redis.from_url(redis_url).info()["process_id"]
    return [memory, _channels("Channels, channels_redis", {"LAYER_REDIS_URL": redis_url}, pid)]


def _channels(name: str, environ: dict[str, str], redis_pid: int | None = None) -> Server:
    port = free_port()
    uvicorn = [sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level", "warning", "--port", str(port)]
    options = ["--ws-per-message-deflate", "false"]  # as for the product itself
    return Server(name, [*uvicorn, *options, "benchmarks.channels_server:application"], port, environ, "", redis_pid)


def _configuration(port: int) -> dict[str, object]:
    """Open to anyone: what is compared is delivering. With history, as in the product."""
    return {
        "http_server": {"address": "127.0.0.1", "port": port},
        "http_api": {"insecure": True, "handler_prefix": "/engine/api"},
        "client": {"insecure": True, "allowed_origins": ["*"], "queue_max_size": 4 * 1024 * 1024},
        "channel": {
            "namespaces": [
                {"name": "tenant", "history_size": 1000, "history_ttl": "1h", "allow_subscribe_for_client": True}
            ]
        },
    }


async def fan_out(server: Server) -> FanOut:
    async with _running(server) as pids, httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
        crowd = Crowd(MARK)
        if server.is_ours:
            subscribe = json.dumps({"id": 2, "subscribe": {"channel": CHANNEL}})
            await crowd.join(SUBSCRIBERS, server.port, "/connection/websocket", '{"id":1,"connect":{}}', subscribe)
        else:
            await crowd.join(SUBSCRIBERS, server.port, "/")
        await _publish(http, server)
        assert await crowd.wait_for(SUBSCRIBERS, QUIET_SECONDS), "the first publication reached everybody"
        before, moments = _cpu_seconds(pids), []
        for number in range(ONE_BY_ONE):
            began = time.perf_counter()
            await _publish(http, server)
            await crowd.wait_for(SUBSCRIBERS * (number + 2), QUIET_SECONDS)
            moments.append(time.perf_counter() - began)
        cpu = (_cpu_seconds(pids) - before) / (ONE_BY_ONE * SUBSCRIBERS)
        crowd.received = 0
        await asyncio.gather(*(_publish(http, server) for _ in range(BURST)))
        await crowd.wait_for(BURST * SUBSCRIBERS, QUIET_SECONDS)
        crowd.leave()
        return FanOut(median(moments) * 1_000, cpu * 1e6, crowd.received / (BURST * SUBSCRIBERS))


async def _publish(http: httpx.AsyncClient, server: Server) -> None:
    if server.is_ours:
        body = {"channel": CHANNEL, "data": json.loads(MESSAGE)}
        answer = await http.post(server.publish_path, json=body, timeout=60)
        assert "error" not in answer.json(), answer.text
    else:
        (await http.post("/", content=MESSAGE, timeout=60)).raise_for_status()


def _cpu_seconds(pids: list[int]) -> float:
    return sum(times.user + times.system for times in (psutil.Process(pid).cpu_times() for pid in pids))


@asynccontextmanager
async def _running(server: Server) -> AsyncIterator[list[int]]:
    """The server's processes, its broker's included."""
    process = await asyncio.create_subprocess_exec(
        *server.command,
        cwd=BASE_DIR,
        env=os.environ | server.environ,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            if await _answers(server.port):
                break
            await asyncio.sleep(0.1)
        yield [process.pid, *([server.redis_pid] if server.redis_pid else [])]
    finally:
        process.terminate()
        await process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
