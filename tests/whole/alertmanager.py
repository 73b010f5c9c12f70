"""Debian's Prometheus and Alertmanager, watching this product and telling it what they find."""

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.services import free_port
from tests.whole.platform import STOP_WITHIN_SECONDS, Platform, wait_until


class Watcher:
    """Prometheus scrapes the product's web process every second and evaluates one rule; Alertmanager posts to a tenant.

    `rule` as a file of rules has it.
    """

    def __init__(self, platform: Platform, home: Path, rule: dict[str, Any]) -> None:
        self.platform, self.home, self.rule = platform, home, rule
        self.ports = {"prometheus": free_port(), "prometheus-alertmanager": free_port()}
        self._processes: list[subprocess.Popen[bytes]] = []

    @staticmethod
    def is_here() -> bool:
        return all(shutil.which(command) for command in ("prometheus", "prometheus-alertmanager"))

    def open(self, key: str) -> "Watcher":
        """`key` is the secret of an API key with the scope alerts:write."""
        self._write("prometheus.yml", self._scraping())
        self._write("rules.yml", {"groups": [{"name": "product", "rules": [self.rule]}]})
        self._write("alertmanager.yml", self._telling(key))
        self._start("prometheus-alertmanager", "--cluster.listen-address=", f"--storage.path={self.home / 'am'}")
        self._start("prometheus", f"--storage.tsdb.path={self.home / 'tsdb'}")
        for command, port in self.ports.items():
            ready = f"http://127.0.0.1:{port}/-/ready"
            wait_until(lambda at=ready: self.platform.answers(at), f"{command} answers", 60)
        return self

    def close(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(STOP_WITHIN_SECONDS)

    def _write(self, name: str, config: dict[str, Any]) -> None:
        (self.home / name).write_text(yaml.safe_dump(config))

    def _start(self, command: str, *options: str) -> None:
        config = {"prometheus": "prometheus.yml", "prometheus-alertmanager": "alertmanager.yml"}[command]
        listening = f"--web.listen-address=127.0.0.1:{self.ports[command]}"
        with (self.home / f"{command}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [command, f"--config.file={self.home / config}", listening, *options],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.home,
                )
            )

    def _scraping(self) -> dict[str, Any]:
        web = urlsplit(self.platform.url)
        return {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(self.home / "rules.yml")],
            "alerting": {"alertmanagers": [_static(f"127.0.0.1:{self.ports['prometheus-alertmanager']}")]},
            "scrape_configs": [{"job_name": "web", "metrics_path": "/metrics", **_static(f"127.0.0.1:{web.port}")}],
        }

    def _telling(self, key: str) -> dict[str, Any]:
        to = {
            "url": f"{self.platform.url}/api/monitoring/alertmanager",
            "send_resolved": True,
            "http_config": {"authorization": {"type": "Api-Key", "credentials": key}},
        }
        at_once = {"group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
        return {
            "route": {"receiver": "product", **at_once},
            "receivers": [{"name": "product", "webhook_configs": [to]}],
        }

    def last_words(self) -> str:
        return "\n".join((self.home / f"{command}.log").read_text()[-2000:] for command in self.ports)


def _static(address: str) -> dict[str, Any]:
    return {"static_configs": [{"targets": [address]}]}
