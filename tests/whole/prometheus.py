"""Debian's Prometheus, with the file that production has, pointed at the processes of a running topology."""

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.services import ROOT, free_port
from tests.whole.platform import STOP_WITHIN_SECONDS, wait_until
from tests.whole.topology import Topology

CONFIG = ROOT / "deploy/prometheus/prometheus.yml"
#: What a rate is taken over: some scrapes.
RATE_INTERVAL = "10s"


class Prometheus:
    """Scrapes every second. `ask` answers as Grafana and the rules would be answered."""

    def __init__(self, topology: Topology, home: Path) -> None:
        self.topology, self.home = topology, home
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def is_here() -> bool:
        return bool(shutil.which("prometheus"))

    def open(self) -> "Prometheus":
        (self.home / "prometheus.yml").write_text(yaml.safe_dump(self._config()))
        with (self.home / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("prometheus", f"--config.file={self.home / 'prometheus.yml'}", "--log.level=warn"),
                    *(f"--storage.tsdb.path={self.home / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: self.topology.answers(f"http://127.0.0.1:{self.port}/-/ready"), "Prometheus answers", 30)
        return self

    def close(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(STOP_WITHIN_SECONDS)

    def ask(self, query: str) -> list[dict[str, Any]]:
        """What the query finds now. Raises AssertionError for one that Prometheus can't read."""
        told = {"query": query.replace("$__rate_interval", RATE_INTERVAL), "time": time.time()}
        answer = httpx.post(f"http://127.0.0.1:{self.port}/api/v1/query", data=told, timeout=30).json()
        assert answer["status"] == "success", f"{query}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def names(self) -> set[str]:
        """Every metric there is."""
        return {one["metric"]["__name__"] for one in self.ask('group by (__name__) ({__name__=~".+"})')}

    def _config(self) -> dict[str, Any]:
        """Production's, with the topology's addresses for its service names, and its key."""
        config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        del config["alerting"]  # nobody is to be called
        config["rule_files"] = [str(CONFIG.parent / name) for name in config["rule_files"]]
        for job in config["scrape_configs"]:
            ports = self._ports(job["job_name"])
            job.pop("dns_sd_configs", None)
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
            if "authorization" in job:
                job["authorization"] = {"credentials_file": self.topology.environ["METRICS_KEY_FILE"]}
        return config

    def _ports(self, job: str) -> list[int]:
        """Where every copy of a service answers."""
        if job == "prometheus":
            return [self.port]
        known = self.topology.ports | self.topology.metrics_ports
        first = "api" if job == "centrifugo" else job
        return [port for name, port in known.items() if name.rstrip("0123456789") == first]
