"""One event to many open pages: the whole way of the product, from commit to browser, beside Channels' group_send.

The product's clients hold connection and subscription tokens and came in through the gate; its events are emitted,
numbered, kept and pushed by the relay. Channels' clients are in one group, and a message is one POST to its server.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import orjson

from benchmarks.fanout import Server
from benchmarks.loading import Count, Crowd, accepts, crowd, until
from benchmarks.stage import Stage
from neostack.processes import child_options

#: For so long events come at the steady pace.
SECONDS = 10.0
#: When nothing more has come for so long, the rest is undelivered.
QUIET_SECONDS = 5.0
PUBLISHERS = 8
#: Makes a message as large as an event of ours.
PADDING = "x" * 400


@dataclass(frozen=True)
class Pace:
    """So many subscribers, events a second, and events at once to find the highest speed."""

    people: int
    rate: float
    burst: int


THOUSAND = Pace(1_000, 20, 300)
TEN_THOUSAND = Pace(10_000, 2, 60)


@dataclass(frozen=True)
class Heard:
    """Latencies at the steady pace, in ms from the event's own timestamp. What never came, in parts of what should."""

    p50: float
    p95: float
    undelivered: float
    burst_delivered_per_second: float
    burst_undelivered: float


def product(stage: Stage, pace: Pace) -> Heard:
    """The people of one tenant, all with its home page open."""
    file = stage.platform.home / f"audience-{pace.people}.jsonl"
    (tenant,) = stage.settle(1, pace.people, file)
    with crowd(stage.client_url, origin=stage.platform.url, clients=file) as listeners:
        opened = listeners.open()
        assert opened.ready == pace.people, opened
        return _heard(
            listeners,
            pace,
            steadily=lambda: stage.emit(tenant, "at", pace.rate, SECONDS),
            at_once=lambda: stage.emit(tenant, "all", pace.burst),
        )


def channels(server: Server, pace: Pace) -> Heard:
    url = f"127.0.0.1:{server.port}/"
    with (
        _running(server),
        httpx.Client(base_url=f"http://{url}", timeout=60) as http,
        _many() as publishers,
        crowd(f"ws://{url}", plain=True, count=pace.people) as listeners,
    ):
        opened = listeners.open()
        assert opened.ready == pace.people, opened

        def steadily() -> None:
            began = time.monotonic()
            for number in range(int(pace.rate * SECONDS)):
                time.sleep(max(0.0, began + number / pace.rate - time.monotonic()))
                publishers.submit(_say, http)

        def at_once() -> None:
            for _ in range(pace.burst):
                publishers.submit(_say, http)

        return _heard(listeners, pace, steadily, at_once)


def _heard(listeners: Crowd, pace: Pace, steadily: Callable[[], None], at_once: Callable[[], None]) -> Heard:
    expected = int(pace.people * pace.rate * SECONDS)
    steady = _spoken(listeners, expected, steadily)
    burst = _spoken(listeners, pace.people * pace.burst, at_once)
    return Heard(
        p50=steady.p50,
        p95=steady.p95,
        undelivered=1 - steady.received / expected,
        burst_delivered_per_second=burst.received / max(burst.last_at - burst.first_at, 1e-9),
        burst_undelivered=1 - burst.received / (pace.people * pace.burst),
    )


def _spoken(listeners: Crowd, expected: int, speak: Callable[[], None]) -> Count:
    """What was heard of it, until all is there or nothing more comes."""
    listeners.zero()
    speak()

    def is_over() -> bool:
        now = listeners.count()
        return now.received >= expected or time.time() - max(now.last_at, spoken) > QUIET_SECONDS

    spoken = time.time()
    until(is_over, seconds=120)
    return listeners.count()


def _say(http: httpx.Client) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with suppress(httpx.TransportError):  # what the server did not take is undelivered
        http.post("/", content=orjson.dumps({"timestamp": now, "summary": PADDING}))


@contextmanager
def _many() -> Iterator[ThreadPoolExecutor]:
    """Publishers at once. What they have not said when all is over, they don't say."""
    publishers = ThreadPoolExecutor(PUBLISHERS)
    try:
        yield publishers
    finally:
        publishers.shutdown(cancel_futures=True)


@contextmanager
def _running(server: Server) -> Iterator[None]:
    process = subprocess.Popen(server.command, **child_options(os.environ | server.environ))
    try:
        assert until(lambda: accepts(server.port), seconds=30), f"{server.name} does not answer"
        yield
    finally:
        process.kill()
        process.wait()
