"""Processes beside the tests' own, on the same database: real connections, real transactions, real crashes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.conf import settings
from django.db import connection


class Process:
    """One that does what its worker, a module, can do."""

    def __init__(self, worker: str) -> None:
        facts = connection.settings_dict
        url = f"sqlite:///{facts['NAME']}"
        if connection.vendor == "postgresql":
            url = f"postgres://{facts['USER']}:{facts['PASSWORD']}@{facts['HOST']}:{facts['PORT']}/{facts['NAME']}"
        self.popen = subprocess.Popen(
            [sys.executable, "-m", worker],
            cwd=settings.BASE_DIR,
            env=os.environ | {"DEBUG": "1", "DJANGO_SETTINGS_MODULE": "neostack.settings", "DATABASE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, name: str, *arguments: object) -> None:
        assert self.popen.stdin
        self.popen.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.popen.stdin.flush()

    def answer(self) -> Any:
        """What it says next. Raises AssertionError if it has ended instead; why, it wrote to this process's stderr."""
        assert self.popen.stdout
        line = self.popen.stdout.readline()
        assert line, f"It ended with {self.popen.wait()}."
        return json.loads(line)


@contextmanager
def processes(count: int, worker: str = "billing.tests.worker") -> Iterator[list[Process]]:
    """So many, ready to begin."""
    with ExitStack() as stack:
        found = [Process(worker) for _ in range(count)]
        for one in found:
            stack.enter_context(one.popen)  # closes its pipes, so that it ends, and waits for that
        assert [one.answer() for one in found] == ["ready"] * count
        yield found


def all_at_once(found: list[Process], name: str, *arguments: object) -> list[Any]:
    """The same job in each. Returns what each answered."""
    for one in found:
        one.begin(name, *arguments)
    return [one.answer() for one in found]
