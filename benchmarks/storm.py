"""The engine restarts, and ten thousand open pages come back at once: through the gate and, to compare, without one.

Without the gate the engine reads the connection tokens itself, so that nothing can be taken away before they end.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from benchmarks.loading import Crowd, accepts, crowd, until
from benchmarks.stage import GATE_METRICS_PORT, Stage
from neostack import processes
from tests.whole.people import Person

CLIENTS = 10_000
PEOPLE_OF_A_TENANT = 10
PAGE = "/t/acme/"
QUIET_LOADS = 20
#: Between two loads of the page, as long as a person takes to click.
CLICK_SECONDS = 0.2
BACK_WITHIN_SECONDS = 120.0


@dataclass(frozen=True)
class Storm:
    """Seconds from the engine's first answer until the last client has all its subscriptions again.

    `page_slower`: the slowest page meanwhile, of the median before. `gate_calls` are for each client.
    """

    with_gate: float
    without_gate: float
    page_slower: float
    gate_calls: float
    database_reads: float


def measure(stage: Stage, clients: int = CLIENTS) -> Storm:
    file = stage.platform.home / "storm.jsonl"
    stage.settle(clients // PEOPLE_OF_A_TENANT, clients, file)
    with _opened(stage, file, clients) as everybody:
        quiet = median(_load(stage.alice) for _ in range(QUIET_LOADS))
        before = _gate_counters(stage)
        with _visited(stage.alice) as loads:
            with_gate = _restarted(stage, everybody, clients)
        calls, reads = (now - then for now, then in zip(_gate_counters(stage), before, strict=True))
    with _no_gate(stage, file) as signed, _opened(stage, signed, clients) as everybody:
        without_gate = _restarted(stage, everybody, clients)
    return Storm(with_gate, without_gate, max(loads) / quiet, calls / clients, reads)


@contextmanager
def _opened(stage: Stage, file: Path, clients: int) -> Iterator[Crowd]:
    with crowd(stage.client_url, origin=stage.platform.url, clients=file) as everybody:
        opened = everybody.open()
        assert opened.ready == clients, opened
        yield everybody


def _restarted(stage: Stage, everybody: Crowd, clients: int) -> float:
    platform = stage.platform
    platform.kill("engine")
    assert until(lambda: everybody.count().ready == 0, BACK_WITHIN_SECONDS), "everybody noticed"
    platform.start("engine")
    until(lambda: accepts(platform.engine_port), BACK_WITHIN_SECONDS, every=0.005)
    began = time.time()
    is_back = until(lambda: everybody.count().ready == clients, BACK_WITHIN_SECONDS)
    count = everybody.count()
    assert is_back, count
    return count.last_ready_at - began


# --- What the gate and the pages notice -------------------------------------------------------------------------------


def _gate_counters(stage: Stage) -> tuple[float, float]:
    """Connections the gate was asked about, and its queries, since it began."""
    port = stage.platform.environ[GATE_METRICS_PORT]
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).raise_for_status().text
    return _total(text, "neostack_gate_answers_total"), _total(text, "neostack_gate_database_reads_total")


def _total(text: str, name: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


@contextmanager
def _visited(person: Person) -> Iterator[list[float]]:
    """Somebody clicks around meanwhile. The list fills with the seconds each page took."""
    loads: list[float] = []
    over = threading.Event()

    def click() -> None:
        while not over.is_set():
            loads.append(_load(person))
            over.wait(CLICK_SECONDS)

    clicking = threading.Thread(target=click)
    clicking.start()
    try:
        yield loads
    finally:
        over.set()
        clicking.join()


def _load(person: Person) -> float:
    began = time.perf_counter()
    person.get(PAGE).raise_for_status()
    return time.perf_counter() - began


# --- Without the gate -------------------------------------------------------------------------------------------------


@contextmanager
def _no_gate(stage: Stage, file: Path) -> Iterator[Path]:
    """The engine reads connection tokens itself meanwhile. Yields the clients' file that fits."""
    path = processes.engine_config(stage.platform.home)
    before = path.read_text()
    config = json.loads(before)
    del config["client"]["proxy"]
    secret = stage.platform.environ["CONNECTION_TOKEN_SECRET"]
    config["client"]["token"] = {"hmac_secret_key": secret, "audience": "connection"}
    _with_config(stage, config)
    signed = file.with_suffix(".signed.jsonl")
    with signed.open("w") as lines:
        for line in file.open():
            client = json.loads(line)
            lines.write(json.dumps(client | {"connect": client["connect"]["data"]}) + "\n")
    try:
        yield signed
    finally:
        _with_config(stage, json.loads(before))


def _with_config(stage: Stage, config: dict[str, object]) -> None:
    stage.platform.stop("engine")
    processes.engine_config(stage.platform.home).write_text(json.dumps(config))
    stage.platform.start("engine")
    stage.platform.wait_ready()
