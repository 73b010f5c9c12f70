"""How long pages take over HTTP, one after the other, for a tenant with some history."""

import time
from collections.abc import Iterator
from statistics import median

from benchmarks.stage import Stage
from tests.whole.people import Person

TIMES = 30
DEPLOYMENTS = 60

PAGES = {
    "tenant home": "/t/acme/",
    "deployments": "/t/acme/deployments/",
    "one deployment": "/t/acme/deployments/1/",
    "activity": "/t/acme/activity/",
    "notifications": "/notifications/",
}
OPERATIONS = {"operations home": "/ops/", "all events": "/ops/events/"}


def furnish(stage: Stage) -> Person:
    """Deployments, each asked for and cancelled, as people do. Returns a platform admin."""
    inside = stage.platform.inside
    inside.make_stack(slug="web", name="Web", steps=[{"name": "wait", "command": ["sleep", "60"]}])
    stage.platform.stop("runner")
    for _ in range(DEPLOYMENTS):
        made = inside.deploy(tenant=stage.acme.id, by=stage.alice.id, stack="web")
        stage.alice.post(f"/api/deployments/{made['id']}/cancel", tenant="acme").raise_for_status()
    stage.platform.start("runner")
    stage.platform.wait_caught_up()
    return Person(stage.platform, **inside.make_person(name="Ada", email="ada@neostack.example", is_superuser=True))


def times(stage: Stage, admin: Person) -> Iterator[tuple[str, float]]:
    """Each page's name and its median time in milliseconds."""
    for who, pages in ((stage.alice, PAGES), (admin, OPERATIONS)):
        for name, path in pages.items():
            yield name, median(_milliseconds(who, path) for _ in range(TIMES))


def _milliseconds(who: Person, path: str) -> float:
    began = time.perf_counter()
    response = who.get(path)
    took = (time.perf_counter() - began) * 1_000
    assert response.status_code == 200, f"{path}: {response.status_code}"
    return took
