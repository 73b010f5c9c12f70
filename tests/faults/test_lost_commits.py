"""A numbering whose commit did not wait for the disk is lost with PostgreSQL, and must then come out the same."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neostack.processes import BASE_DIR
from tests.faults.servers import Postgres
from tests.services import NotHere

pytestmark = [pytest.mark.faults, pytest.mark.once]

Log = list[tuple[int, int]]


class Forgetful(Postgres):
    """Writes what no commit waits for so late that a kill comes first."""

    def command(self) -> list[str]:
        return [*super().command(), "-c", "wal_writer_delay=10s"]

    def do(self, *what: object) -> Log:
        """In a process of its own, in turn: "tables", "number", or commit events with these ids. Returns the log."""
        run = [sys.executable, "-m", "tests.faults.numbering_apart", json.dumps(what)]
        environ = os.environ | {"DATABASE_URL": self.url, "DJANGO_SETTINGS_MODULE": "neostack.settings"}
        done = subprocess.run(run, cwd=BASE_DIR, env=environ, check=True, stdout=subprocess.PIPE, text=True)
        return [(seq, event_id) for seq, event_id in json.loads(done.stdout)]

    def crash(self) -> None:
        self.kill()
        self.start()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Forgetful]:
    try:
        server = Forgetful(tmp_path)
    except NotHere as reason:
        pytest.skip(str(reason))
    try:
        server.start()
        server.do("tables", [1], "number")
        yield server
    finally:
        server.close()


def test_numbers_that_a_crash_has_lost_are_given_to_the_same_events_again(postgres):
    before = postgres.do([2, 3, 4], "number")
    assert before == [(1, 1), (2, 2), (3, 3), (4, 4)]
    postgres.crash()
    assert postgres.do() == [(1, 1)], "else this test shows nothing"
    after = postgres.do([5, 6], "number")
    assert after[:4] == before


def test_where_an_id_was_passed_over_no_number_is_lost(postgres):
    """The event with that id may have come by the time the others are numbered again."""
    before = postgres.do([2, 4], "number")
    assert before == [(1, 1), (2, 2), (3, 4)]
    postgres.crash()
    assert postgres.do() == before
    assert postgres.do([3], [5], "number") == [*before, (4, 3), (5, 5)]


def test_while_an_id_is_passed_over_no_later_number_is_lost_either(postgres):
    before = postgres.do([3], "number", [4], "number")
    assert before == [(1, 1), (2, 3), (3, 4)]
    postgres.crash()
    assert postgres.do([2], "number") == [*before, (4, 2)]
