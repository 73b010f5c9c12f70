"""Debian's Prometheus, with the file that production has, pointed at the processes of a running platform."""

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.services import ROOT, free_port
from tests.whole.platform import STOP_WITHIN_SECONDS, Platform, wait_until

CONFIG = ROOT / "deploy/prometheus/prometheus.yml"
OURS = ("relay", "worker", "pulse")
#: What a rate is taken over: some scrapes.
RATE_INTERVAL = "10s"


class Prometheus:
    """Scrapes every second. `ask` and `names` answer as Grafana and the rules would be answered."""

    def __init__(self, platform: Platform, home: Path) -> None:
        self.platform, self.home = platform, home
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def is_here() -> bool:
        return bool(shutil.which("prometheus"))

    def open(self) -> "Prometheus":
        targets = self._let_itself_be_read()
        (self.home / "prometheus.yml").write_text(yaml.safe_dump(self._config(targets)))
        with (self.home / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("prometheus", f"--config.file={self.home / 'prometheus.yml'}", "--log.level=warn"),
                    *(f"--storage.tsdb.path={self.home / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: self.platform.answers(f"http://127.0.0.1:{self.port}/-/ready"), "Prometheus answers", 30)
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

    def _let_itself_be_read(self) -> dict[str, list[str]]:
        """Start what Prometheus reads again, each with a port for that. Returns the addresses, by job."""
        platform = self.platform
        found: dict[str, list[str]] = {part: [] for part in OURS}
        for name in list(platform.processes):
            if (part := name.rstrip("0123456789")) in OURS:
                port = free_port()
                platform.kill(name)
                platform.environ["METRICS_PORT"] = str(port)
                platform.start(name)
                found[part].append(f"127.0.0.1:{port}")
        del platform.environ["METRICS_PORT"]
        ports: dict[str, int] = getattr(platform, "ports", {})
        platform.environ["CENTRIFUGO_PROMETHEUS_ENABLED"] = "true"
        for name in ("engine", "engine2"):
            if name in platform.processes:
                platform.kill(name)
                platform.start(name)
        platform.wait_ready()
        engine = ports.get("api", platform.engine_port)
        web = ports.get("web", platform.port)
        found["centrifugo"] = [f"127.0.0.1:{one}" for one in (engine, ports.get("api2")) if one]
        found["web"] = [f"127.0.0.1:{one}" for one in (web, ports.get("web2")) if one]
        return found

    def _config(self, targets: dict[str, list[str]]) -> dict[str, Any]:
        """Production's, with these addresses for its service names."""
        config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(CONFIG.parent / name) for name in config["rule_files"]]
        key = self._key()
        for job in config["scrape_configs"]:
            if job.pop("dns_sd_configs", None):
                job["static_configs"] = [{"targets": targets[job["job_name"]]}]
            else:
                job["static_configs"] = [{"targets": [f"127.0.0.1:{self.port}"]}]
            if job.pop("authorization", None) and key:
                job["authorization"] = {"credentials": key}
        return config

    def _key(self) -> str:
        told = self.platform.environ
        if file := told.get("METRICS_KEY_FILE"):
            return Path(file).read_text().strip()
        return told.get("METRICS_KEY", "")
