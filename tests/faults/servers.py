"""What the platform stands on, each on a free port that it keeps: PostgreSQL, Redis, a node of Centrifugo.

Each may be killed with everything it has started, frozen, and started again.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from neostack import processes
from tests import services
from tests.services import free_port
from tests.whole.platform import wait_until

ANSWERS_WITHIN_SECONDS = 120


class Server:
    """One process. Start it from the thread that outlives it: Linux ends it when that thread ends."""

    goodbye = signal.SIGTERM

    def __init__(self, home: Path, name: str) -> None:
        self.home, self.name, self.port = home, name, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    @property
    def options(self) -> dict[str, Any]:
        """For subprocess.Popen."""
        return {}

    def start(self) -> None:
        """Start it, and return when it answers. One that ends by itself is started again, as its supervisor would."""
        wait_until(self._runs, f"{self.name} answers", ANSWERS_WITHIN_SECONDS, every=0.05)

    def _runs(self) -> bool:
        self.begin()
        return self.answers()

    def begin(self) -> None:
        """Start it where it does not run, and wait for nothing."""
        if self._process is None or self.has_ended():
            with (self.home / f"{self.name}.log").open("ab") as log:
                self._process = subprocess.Popen(
                    self.command(),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=self._end_with_us,
                    **self.options,
                )

    def _end_with_us(self) -> None:
        processes.end_with_parent(self.goodbye)

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """kill -9 of it and of what it has started; returns when it is gone."""
        assert self._process, f"{self.name} does not run"
        family = psutil.Process(self._process.pid)
        for one in [family, *family.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self._process.wait(ANSWERS_WITHIN_SECONDS)
        self._process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        if self._process and self._process.poll() is None:
            self.thaw()
            self.kill()

    def _signal(self, sign: signal.Signals) -> None:
        assert self._process, f"{self.name} does not run"
        os.killpg(self._process.pid, sign)


class Postgres(Server):
    goodbye = signal.SIGINT

    def __init__(self, home: Path, name: str = "postgres") -> None:
        """Raises NotHere."""
        super().__init__(home, name)
        self._data_home = services.directory_for_postgres()
        services.new_postgres(self._data_home)
        self.url = f"postgres://neostack@127.0.0.1:{self.port}/postgres"

    @property
    def options(self) -> dict[str, Any]:
        return services.not_root()

    def command(self) -> list[str]:
        # The machine itself never goes down here, so what was written is there after a kill without it.
        return [*services.postgres_command(self._data_home, self.port), *services.CAREFREE]

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._data_home, ignore_errors=True)

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class Redis(Server):
    """Keeps nothing on disk: killed, it comes back empty; unless it was told to `save` or to `keep_all` before."""

    def __init__(self, home: Path, name: str) -> None:
        """Raises NotHere."""
        super().__init__(home, name)
        self._dump, self._log_directory, self._keeps_all = home / f"{name}.rdb", home / f"{name}-aof", False
        self._command = [
            *services.redis_command(home, self.port),
            *("--dbfilename", self._dump.name, "--appenddirname", self._log_directory.name),
        ]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [*self._command, "--appendonly", "yes" if self._keeps_all else "no"]

    def start(self) -> None:
        """What was saved is there once: a second kill finds it empty again."""
        super().start()
        self._dump.unlink(missing_ok=True)

    def save(self) -> None:
        """Killed, it comes back with the data of now, and nothing later."""
        self._say(lambda server: server.save())

    def keep_all(self) -> None:
        """From now on it writes down all it takes, as production's does."""
        self._keeps_all = True
        self._say(lambda server: server.config_set("appendonly", "yes"))
        wait_until(self._has_written, f"{self.name} has written its first file", ANSWERS_WITHIN_SECONDS)

    def _has_written(self) -> bool:
        return self._say(lambda server: not server.info("persistence")["aof_rewrite_in_progress"])

    def keep_nothing(self) -> None:
        self._keeps_all = False
        self._say(lambda server: server.config_set("appendonly", "no"))
        shutil.rmtree(self._log_directory)

    def answers(self) -> bool:
        return self._say(lambda server: bool(server.ping()))

    def fill(self) -> None:
        """From now on it takes nothing more."""
        self._say(lambda server: server.config_set("maxmemory-policy", "noeviction"))
        self._say(lambda server: server.config_set("maxmemory", "1"))

    def make_room(self) -> None:
        self._say(lambda server: server.config_set("maxmemory", "0"))

    def empty(self) -> None:
        """FLUSHALL: every key of every database is gone."""
        self._say(lambda server: server.flushall())

    def _say(self, what: Callable[[redis.Redis], Any]) -> bool:
        client = redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=2)
        try:
            return bool(what(client))
        except redis.ConnectionError:
            return False
        finally:
            client.close()


class Centrifugo(Server):
    """One node. `config()` gives its configuration file, written at each start."""

    def __init__(self, home: Path, name: str, write_config: Callable[["Centrifugo"], Path]) -> None:
        super().__init__(home, name)
        self._write_config = write_config

    def command(self) -> list[str]:
        return [str(processes.CENTRIFUGO), "-c", str(self._write_config(self))]

    def answers(self) -> bool:
        return services._accepts(self.port)
