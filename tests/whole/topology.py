"""Production as plain processes: PostgreSQL, Redis, two Centrifugo nodes, two web, two gates, two relays, one of
everything else, and nginx before them, with TLS. What compose and Kubernetes start as containers (see
neostack/production.py).

A second process of a part has a 2 after its name: topology.kill("relay2"). "engine" is production's `centrifugo`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from neostack import processes, production
from tests import services
from tests.services import free_port
from tests.whole.platform import Platform, wait_until
from tests.whole.proxy import nginx_config, write_certificate

#: What others need to be there; they start first and end last.
SERVERS = ("postgres", "redis")
#: Those of Centrifugo.
NODES = ("engine", "engine2")
#: "inside" is the proxy's inner door, "api" is where a node of Centrifugo takes what is published.
LISTENERS = (*SERVERS, "web", "web2", "gate", "gate2", "engine", "engine2", "api", "api2", "inside")
#: What has no web pages and shows its metrics at a port of its own.
SCRAPED = ("gate", "gate2", "relay", "relay2", "worker", "beat", "runner", "pulse")


class Topology(Platform):
    """The platform as production runs it. Everything, PostgreSQL's data too, is gone when it is closed."""

    def __init__(self, home: Path) -> None:
        self.data = services.directory_for_postgres()
        self.ports = {name: free_port() for name in LISTENERS}
        self.metrics_ports = {name: free_port() for name in SCRAPED}
        super().__init__(home, "centrifugo")
        self.url = f"https://localhost:{self.port}"
        self.environ |= self._production()
        self.commands = self._commands()
        self._trusted_before = os.environ.get("SSL_CERT_FILE")

    @staticmethod
    def secrets() -> dict[str, str]:
        """They stand in files, see `prepare`."""
        return {}

    def _production(self) -> dict[str, str]:
        inside = f"http://127.0.0.1:{self.ports['inside']}"
        told = production.environment(
            site_url=f"https://localhost:{self.port}",
            keys=inside,
            gate=inside,
            engine=inside,
            proxies="127.0.0.1",
            local_dir=self.home,
        )
        files = {f"{name}_FILE": str(self.home / "secrets" / name.lower()) for name in production.SECRET_FILES}
        # Tests pay; a company would have Stripe collect.
        gateway = {"PAYMENT_GATEWAY": "local", "LOCAL_GATEWAY_SECRET": token_urlsafe(32)}
        return {**told, **files, **gateway, "DEBUG": "0", "STATIC_ROOT": str(self.home / "static")}

    def _commands(self) -> dict[str, list[str]]:
        def ours(port: int) -> dict[str, list[str]]:
            return processes.commands(engine="", host="127.0.0.1", port=port, local_dir=self.home)

        first, second = ours(self.ports["web"]), ours(self.ports["web2"])
        return {
            "postgres": [*services.postgres_command(self.data, self.ports["postgres"]), *services.CAREFREE],
            "redis": services.redis_command(self.home, self.ports["redis"]),
            **{name: [str(processes.CENTRIFUGO), "-c", str(self._config_of(name))] for name in NODES},
            "proxy": [services.nginx(), "-p", str(self.home), "-e", "stderr", "-c", str(self.home / "nginx.conf")],
            **first,
            "web2": second["web"],
            **{name: processes.gate(host="127.0.0.1", port=self.ports[name]) for name in ("gate", "gate2")},
            "relay2": second["relay"],
        }

    # --- All of it ------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        self._write_secrets()
        write_certificate(self.home)
        (self.home / "nginx.conf").write_text(nginx_config(self.home, self.port, self.ports))
        os.environ["SSL_CERT_FILE"] = str(self.home / "certificate.pem")  # what httpx and ssl here trust
        services.new_postgres(self.data)
        for name in SERVERS:
            self.start(name)
        collecting = subprocess.Popen(
            [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity=0"],
            **processes.child_options(self.environ),
        )
        wait_until(lambda: services.made_database(self.ports["postgres"]), "PostgreSQL answers", 30, every=0.05)
        self.manage("prepare")
        for node in NODES:  # as the init container of each pod does
            self._config_of(node).write_text(self.manage("centrifugo_config", ENGINE_NODE_NAME=node))
        assert collecting.wait(30) == 0

    def _config_of(self, node: str) -> Path:
        return self.home / f"{node}.json"

    def _write_secrets(self) -> None:
        values = processes.new_secrets() | {
            "METRICS_KEY": processes.new_secrets()["GATE_KEY"],
            "DATABASE_URL": f"postgres://neostack@127.0.0.1:{self.ports['postgres']}/neostack",
            "REDIS_URL": f"redis://127.0.0.1:{self.ports['redis']}/0",
            "EMAIL_HOST_PASSWORD": "",
            "STRIPE_SECRET_KEY": "",
            "STRIPE_WEBHOOK_SECRET": "",
            "ENGINE_REDIS_URL": f"redis://127.0.0.1:{self.ports['redis']}",
        }
        (self.home / "secrets").mkdir()
        for name, value in values.items():
            (self.home / "secrets" / name.lower()).write_text(f"{value}\n")

    def close(self) -> None:
        for hands in (self.inside, self.meanwhile):
            if hands:
                hands.close()
        self.end(name for name in self.processes if name not in SERVERS)
        self.end(name for name in self.processes if name in SERVERS)
        shutil.rmtree(self.data, ignore_errors=True)
        restore("SSL_CERT_FILE", self._trusted_before)

    def must_answer(self) -> list[str]:
        """Each copy for itself, and both ways through the proxy."""
        return [
            f"{self.url}/accounts/login/",
            f"{self.url}/connection/websocket",
            *(f"http://127.0.0.1:{self.ports[name]}/healthz" for name in ("web", "web2")),
            *(f"http://127.0.0.1:{self.ports[name]}/connection/websocket" for name in NODES),
        ]

    def options_of(self, name: str) -> dict[str, Any]:
        if name == "postgres":
            return processes.child_options(self.environ) | services.not_root() | {"cwd": "/"}
        own = self._of_node(name) if name in NODES else self._metrics_of(name)
        return processes.child_options(self.environ | own)

    def _metrics_of(self, name: str) -> dict[str, str]:
        return {"METRICS_PORT": str(self.metrics_ports.get(name, 0))}

    def _of_node(self, name: str) -> dict[str, str]:
        """What is each node's own beside its name in its configuration."""
        return {
            "CENTRIFUGO_NODE_NAME": name,
            "CENTRIFUGO_HTTP_SERVER_ADDRESS": "127.0.0.1",
            "CENTRIFUGO_HTTP_SERVER_PORT": str(self.ports[name]),
            "CENTRIFUGO_HTTP_SERVER_INTERNAL_ADDRESS": "127.0.0.1",
            "CENTRIFUGO_HTTP_SERVER_INTERNAL_PORT": str(self.ports[name.replace("engine", "api")]),
        }


def restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
