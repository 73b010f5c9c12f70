"""The product with one database and one engine, set up as production is, and somebody who listens."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neostack import processes
from neostack.processes import BASE_DIR
from tests.services import free_port
from tests.whole.people import Company, Person, found_company
from tests.whole.platform import Platform

#: DEBUG off, as in production; but the benchmark speaks plain HTTP.
PRODUCTION = {"DEBUG": "0", "SECURE_COOKIES": "0", "SECURE_SSL_REDIRECT": "0", "ALLOWED_HOSTS": "localhost"}
#: Where a stage's environment says at which port its gate shows what it counts.
GATE_METRICS_PORT = "GATE_METRICS_PORT"
ENGINES = {"process": "embedded engine", "centrifugo": "Centrifugo", "redis": "Centrifugo on Redis"}


def production(platform: Platform) -> None:
    """Settings as production has them, and a gate of its own, which shows its numbers at `GATE_METRICS_PORT`."""
    gate, metrics = free_port(), str(free_port())
    told = {"GATE_URL": f"http://127.0.0.1:{gate}/api/realtime/connect", GATE_METRICS_PORT: metrics}
    platform.environ |= PRODUCTION | told
    # The others of the platform show no numbers: they would all want the same port.
    platform.commands["gate"] = ["env", f"METRICS_PORT={metrics}", *processes.gate(host="127.0.0.1", port=gate)]


class Stage:
    """One pair of database and engine, with Alice, an admin of Acme."""

    def __init__(self, home: Path, database: str, engine: str, redis: str = "") -> None:
        self.database, self.engine = database, engine
        self.platform = Platform(home, "centrifugo" if engine == "redis" else engine)
        if engine == "redis":
            # A prefix of its own: what another stage left in this Redis is not this one's history.
            self.platform.environ |= {"ENGINE_REDIS_URL": redis, "ENGINE_REDIS_PREFIX": f"bench{os.urandom(4).hex()}"}
        production(self.platform)

    @property
    def name(self) -> str:
        return f"{self.database}, {ENGINES[self.engine]}"

    @contextmanager
    def open(self) -> Iterator["Stage"]:
        try:
            self.platform.open()
            self.acme: Company = found_company(self.platform, "Acme", "acme")
            self.alice: Person = self.acme.hire("Alice", "tenant_admin")
            yield self
        finally:
            self.platform.close()

    @contextmanager
    def only_the_database(self) -> Iterator[None]:
        """Without the product's processes, which would take their share of the cores. They may be busy: see `end`."""
        self.platform.end(list(self.platform.processes))
        try:
            yield
        finally:
            self.platform.ensure_all()

    @property
    def client_url(self) -> str:
        """Where browsers connect."""
        return self.platform.environ["ENGINE_CLIENT_URL"]

    def settle(self, tenants: int, people: int, file: Path) -> list[str]:
        """New tenants with so many people in all, whose tokens are in the file. Returns the tenants' ids."""
        found: list[str] = json.loads(self._run("benchmarks.settling", tenants, people, file))
        return found

    def analyze(self) -> None:
        """Let the database look at what is in its tables now."""
        analyze = "from django.db import connection; connection.cursor().execute('ANALYZE')"
        self.platform.manage("shell", "--no-imports", "--command", analyze)

    def emit(self, tenant: str, *how: Any) -> None:
        """Events from a process of their own, see `benchmarks.emitting`."""
        self._run("benchmarks.emitting", tenant, *how)

    def _run(self, module: str, *arguments: Any) -> str:
        command, options = self.python(module, *arguments)
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout

    def python(self, module: str, *arguments: Any) -> tuple[list[str], dict[str, Any]]:
        """Command and options of a process that works with this stage's settings and database."""
        return [sys.executable, "-m", module, *map(str, arguments)], {"cwd": BASE_DIR, "env": self.platform.environ}


@contextmanager
def stage(database: str, engine: str, url: str, redis: str = "") -> Iterator[Stage]:
    """A new stage, with nothing in its database. `url` is the PostgreSQL server's, or empty for SQLite.

    `engine` is a name of ENGINES; `redis` the address of the one that "redis" stands on.
    """
    os.environ["DATABASE_URL"] = url  # where the platform makes a database of its own
    with (
        tempfile.TemporaryDirectory(prefix="neo-bench-") as home,
        Stage(Path(home), database, engine, redis).open() as it,
    ):
        yield it
