"""The agent: measures this machine and sends it to a platform, with an API key that may write metrics.

    AGENT_API_KEY=... python -m monitoring.agent --url https://app.example.com     needs psutil and urllib3, no Django
    AGENT_API_KEY=... manage.py agent --url https://app.example.com                the same

While the platform is away samples are kept, up to a limit; it says when that begins and what became of them.
"""

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import urllib3

logger = logging.getLogger("monitoring.agent")

KEY_VARIABLE = "AGENT_API_KEY"
#: So many samples are kept while the platform is away: an hour and more of the six metrics every 2 s.
BUFFER_SAMPLES = 12_000
BATCH_SAMPLES = 500
#: Of what was kept, so much is sent at a time, so that one machine's return is no burst.
BATCHES_AT_ONCE = 5
TIMEOUT_SECONDS = 5.0
#: A key that is not accepted will not be so a moment later.
NOT_ACCEPTED_WAIT_SECONDS = 10.0

Sample = dict[str, Any]


class CannotStart(Exception):
    """The agent was started in a way that can't work. The message says what to do."""


# --- Measuring --------------------------------------------------------------------------------------------------------


class Machine:
    """This machine's figures. Rates and CPU time are those since the call before."""

    def __init__(self) -> None:
        psutil.cpu_percent()  # the first answer means nothing
        self._network = psutil.net_io_counters()
        self._at = time.monotonic()

    def measure(self) -> list[Sample]:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        values = {
            ("cpu_percent", "%"): psutil.cpu_percent(),
            ("memory_percent", "%"): psutil.virtual_memory().percent,
            ("disk_percent", "%"): psutil.disk_usage("/").percent,
            ("load_1m", ""): psutil.getloadavg()[0],
            **self._network_rates(),
        }
        return [
            {"name": name, "value": round(value, 3), "unit": unit, "at": at} for (name, unit), value in values.items()
        ]

    def _network_rates(self) -> dict[tuple[str, str], float]:
        """Empty on a machine without network."""
        before, self._network = self._network, psutil.net_io_counters()
        seconds, self._at = time.monotonic() - self._at, time.monotonic()
        if before is None or self._network is None or seconds <= 0:
            return {}
        received, sent = self._network.bytes_recv - before.bytes_recv, self._network.bytes_sent - before.bytes_sent
        return {  # counters begin again when an interface does
            ("network_in_bytes_per_second", "B/s"): max(0, received) / seconds,
            ("network_out_bytes_per_second", "B/s"): max(0, sent) / seconds,
        }


# --- Sending ----------------------------------------------------------------------------------------------------------


class Away(Exception):
    """The platform can't take samples now; the message says why. For `wait` seconds it need not be asked again."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Refused(Exception):
    """The platform will never take this batch."""


class Platform:
    """Where samples go."""

    def __init__(self, url: str, key: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise CannotStart(f"--url {url} is no address. It looks like https://app.example.com.")
        self.url = f"{url.rstrip('/')}/api/monitoring/metrics"
        self._headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=TIMEOUT_SECONDS))

    def send(self, samples: list[Sample]) -> None:
        """Sending twice does no harm. Raises Away and Refused."""
        body = json.dumps({"samples": samples}).encode()
        try:
            # A redirect would take the key to another address.
            response = self._pool.request("POST", self.url, body=body, headers=self._headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise Away(f"{type(error).__name__} at {self.url}") from None
        if response.status == HTTPStatus.OK:
            return
        said = f"{self.url} answered {response.status}: {_words(response.data)}"
        match response.status:
            case HTTPStatus.BAD_REQUEST | HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                raise Refused(said)
            case HTTPStatus.TOO_MANY_REQUESTS:
                raise Away(said, _seconds(response.headers.get("Retry-After")))
            case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise Away(said, NOT_ACCEPTED_WAIT_SECONDS)
        raise Away(said)


def _words(body: bytes) -> str:
    """What an error's answer says, in one line."""
    try:
        return "; ".join(f"{one['attr'] or ''} {one['detail']}".strip() for one in json.loads(body)["errors"][:3])
    except (ValueError, KeyError, TypeError):
        return body[:100].decode("utf-8", "replace").replace("\n", " ")


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdecimal() else 1.0


class Outbox:
    """Samples that wait to be sent, oldest first; beyond the limit the oldest go."""

    def __init__(self, platform: Platform, limit: int = BUFFER_SAMPLES) -> None:
        self._platform = platform
        self._waiting: deque[Sample] = deque(maxlen=limit)
        self._dropped = 0
        self._away = ""
        self._reached = False
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, samples: list[Sample]) -> None:
        self._dropped += max(0, len(self._waiting) + len(samples) - (self._waiting.maxlen or 0))
        self._waiting.extend(samples)

    def send(self) -> None:
        """Send what waits, a few batches at a time. What can't be sent now is kept."""
        if time.monotonic() < self._not_before:
            return
        try:
            for _ in range(BATCHES_AT_ONCE):
                if self._waiting:
                    self._send_batch()
        except Away as away:
            self._not_before = time.monotonic() + away.wait
            self._say_away(str(away))

    def _send_batch(self) -> None:
        batch = list(islice(self._waiting, BATCH_SAMPLES))
        try:
            self._platform.send(batch)
            self._say_reached()
        except Refused as refused:
            logger.error("%d samples are lost, the platform refuses them: %s", len(batch), refused)
        for _ in batch:
            self._waiting.popleft()

    def _say_away(self, reason: str) -> None:
        if reason != self._away:
            logger.warning("Keeping up to %d samples until they can be sent. %s", self._waiting.maxlen, reason)
        self._away = reason

    def _say_reached(self) -> None:
        if not self._reached:
            logger.info("Sending to %s.", self._platform.url)
        elif self._away:
            logger.info("Sending again; %d samples had been kept, %d were dropped.", len(self), self._dropped)
        self._reached, self._away, self._dropped = True, "", 0


# --- The process ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    url: str
    every: float
    key_file: Path | None = None

    @property
    def key(self) -> str:
        """From a file or from the environment: what stands on a command line, everybody on the machine can read."""
        if self.key_file:
            try:
                return self.key_file.read_text().strip()
            except OSError as error:
                raise CannotStart(f"The key can't be read from {self.key_file}: {error.strerror}.") from None
        if key := os.environ.get(KEY_VARIABLE, "").strip():
            return key
        raise CannotStart(f"Put an API key with the scope metrics:write into {KEY_VARIABLE}, or name a --key-file.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="the platform's address")
    parser.add_argument("--every", type=_interval, default=5.0, metavar="SECONDS", help="between two measurements (5)")
    parser.add_argument("--key-file", type=Path, help=f"where the API key is, if not in {KEY_VARIABLE}")


def _interval(text: str) -> float:
    seconds = float(text)
    if not 0.2 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("use 0.2 to 3600 seconds")
    return seconds


def run(options: Options) -> None:
    """Measure and send until SIGTERM or Ctrl-C, which end it wherever it is. Raises CannotStart."""
    outbox, machine = Outbox(Platform(options.url, options.key)), Machine()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not by a flag: a request that hangs would go on hanging. There is nothing to tidy up.
        signal.signal(number, lambda *_: os._exit(0))
    logger.info("Measuring this machine every %g s.", options.every)
    while True:
        time.sleep(options.every)
        outbox.add(machine.measure())
        outbox.send()


def main(url: str, every: float, key_file: Path | None) -> None:
    # Does nothing where the settings have configured logging.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s agent: %(message)s")
    try:
        run(Options(url=url, every=every, key_file=key_file))
    except CannotStart as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(arguments)
    main(**vars(arguments.parse_args()))
