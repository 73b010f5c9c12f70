"""What each page and each reading of the API asks of the database, committed: a rise fails, and so does a fall.

The numbers stand in query_counts.json. After a change that is meant:

    NEO_COUNT_QUERIES=1 python -m pytest tests/test_query_counts.py

and the difference is reviewed with the rest. That a page costs the same with many rows as with few is proven beside
each page; here it is what it costs at all.
"""

import json
import os
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.test_access_matrix import ROWS, Row, World, world  # noqa: F401 - a fixture

COMMITTED = Path(__file__).with_name("query_counts.json")
#: Who opens it: the first of these whom the table lets in.
READERS = ("alice", "ada")
#: What these ask depends on the machine: which parts of the platform answer. So many at most.
UNEVEN = {"readyz": 5, "metrics": 1, "ops/": 14, "ops/health/": 10, "ops/monitoring/": 20}

READ = [
    row
    for row in ROWS
    if row.method == "GET" and row.route not in UNEVEN and any(row.expected[who] == 200 for who in READERS)
]


@pytest.fixture(scope="module")
def counts():
    committed = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {}
    if not os.environ.get("NEO_COUNT_QUERIES"):
        yield committed
        return
    counted: dict[str, int] = {}
    yield counted
    COMMITTED.write_text(json.dumps(counted, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize("asked", [pytest.param(row, id=row.id) for row in READ])
def test_a_page_asks_the_database_as_often_as_was_committed(asked: Row, world: World, counts):  # noqa: F811
    who = next(who for who in READERS if asked.expected[who] == 200)
    url = asked.url(world)
    with CaptureQueriesContext(connection) as queries:
        world.ask(who, "GET", url, None)
    if os.environ.get("NEO_COUNT_QUERIES"):
        counts[asked.route] = len(queries)
    assert len(queries) == counts.get(asked.route), "\n".join(query["sql"][:200] for query in queries)


@pytest.mark.parametrize("asked", [pytest.param(row, id=row.id) for row in ROWS if row.route in UNEVEN])
def test_a_page_that_looks_at_every_part_asks_no_more_than_so_often(asked: Row, world: World):  # noqa: F811
    with CaptureQueriesContext(connection) as queries:
        world.ask("ada", "GET", asked.url(world), None)
    assert len(queries) <= UNEVEN[asked.route], "\n".join(query["sql"][:200] for query in queries)


def test_no_count_is_kept_of_a_page_that_is_gone(counts):
    assert os.environ.get("NEO_COUNT_QUERIES") or counts.keys() == {row.route for row in READ}
