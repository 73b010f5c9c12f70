"""The same traffic over 10, 1,000 and 10,000 tenants: what an event costs, and what a page.

    python -m benchmarks.growth TENANTS     one of them, with a database of its own; told on standard input to go on

All have as many people, deployments and events in all, and Acme among them has always the same. They take turns, so
that a busy moment of the machine meets all of them alike.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.stage import production
from neostack import processes
from tests.whole.platform import Platform

SIZES = (10, 1_000, 10_000)
#: In all, whatever the number of tenants.
PEOPLE = 10_000
DEPLOYMENTS = 10_000
EVENTS = 20_000
#: Of these Acme's own.
ACMES = 100
ROUNDS = 10
EVENTS_A_ROUND = 200
#: Of what a round does first, while caches are another process's, nothing is counted.
WARM_UP = 20
LOADS_A_ROUND = 3
#: On the last page of the list of tenants: as many as the fewest tenants leave, so that all sizes show the same number.
TENANTS_SHOWN = SIZES[0] - 1

Costs = dict[str, float]

TENANT_PAGES = {
    "tenant home": "/t/acme/",
    "deployments": "/t/acme/deployments/",
    "activity": "/t/acme/activity/",
    "members": "/t/acme/members/",
    "notifications": "/notifications/",
}
OPERATIONS_PAGES = {
    "operations home": "/ops/",
    "all deployments": "/ops/deployments/",
    "all activity": "/ops/activity/",
    "all events": "/ops/events/",
}


def measure(sizes: tuple[int, ...] = SIZES) -> Iterator[tuple[str, int, float]]:
    """What costs, with how many tenants, and the median of its milliseconds. Databases come to be in DATABASE_URL."""
    with ExitStack() as stack:
        platforms = [stack.enter_context(_worker(size)) for size in sizes]
        for platform in platforms:
            _ask(platform)  # all are furnished, and have done a round that nobody counts
        rounds: list[list[Costs]] = [[_ask(platform) for platform in platforms] for _ in range(ROUNDS)]
    for what in rounds[0][0]:
        for number, size in enumerate(sizes):
            yield what, size, median(costs[number][what] for costs in rounds)


@contextmanager
def _worker(tenants: int) -> Iterator["subprocess.Popen[str]"]:
    """Its database, its engine, and its process, which begins to furnish."""
    with TemporaryDirectory(prefix="neo-bench-") as home:
        platform = Platform(Path(home), "centrifugo")
        production(platform)
        platform.prepare()
        try:
            platform.start("engine")
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.growth", str(tenants)],
                stdout=subprocess.PIPE,
                text=True,
                **processes.child_options(platform.environ) | {"stdin": subprocess.PIPE},
            )
            yield process
            process.kill()
            process.wait()
        finally:
            platform.close()


def _ask(process: "subprocess.Popen[str]") -> Costs:
    assert process.stdin
    assert process.stdout
    process.stdin.write("round\n")
    process.stdin.flush()
    costs: Costs = json.loads(process.stdout.readline())
    return costs


# --- In a worker ------------------------------------------------------------------------------------------------------


def work(tenants: int) -> None:
    import django

    django.setup()
    from django_scopes import scopes_disabled

    with scopes_disabled():
        one_round = _furnished(tenants)
        for _ in sys.stdin:
            print(json.dumps(one_round()), flush=True)


def _furnished(tenants: int) -> Callable[[], Costs]:
    """Fill the database. Returns what does one round."""
    from django.db import connection
    from django.test import Client

    from accounts.models import User
    from benchmarks.settling import settle
    from tenants import actions
    from tenants.models import Role, Tenant

    acme = actions.create_tenant(slug="acme", name="Acme", by=None)
    alice = User.objects.create_user("alice@acme.example", name="Alice")
    actions.join(acme, alice, Role.TENANT_ADMIN, by=None)
    ada = User.objects.create_superuser("ada@neostack.example", name="Ada")
    others = list({tenant.id: tenant for tenant, _ in settle(tenants - 1, PEOPLE)}.values())
    _deploy(acme, others, alice)
    _let_happen(acme, others, alice)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as autovacuum does, sooner or later

    def client_of(user: User) -> Client:
        client = Client(headers={"host": "localhost"})
        client.force_login(user, "allauth.account.auth_backends.AuthenticationBackend")
        return client

    last = Tenant.objects.order_by("-name", "-pk")[TENANTS_SHOWN]
    operations_pages = OPERATIONS_PAGES | {"all tenants": f"/ops/tenants/?after={last.slug}"}
    clients = {client_of(alice): TENANT_PAGES, client_of(ada): operations_pages}
    everybody: list[Tenant] = [acme, *others]
    return lambda: _events(everybody) | _pages(clients)


def _deploy(acme: Any, others: list[Any], by: Any) -> None:
    """Acme's deployments, asked for and cancelled; and copies of one of them for all others together."""
    from deployments import actions
    from deployments.models import Deployment, Release, Stack
    from events.ids import new_id
    from tests.whole.inside import make_stack

    make_stack(slug="web", name="Web", steps=[{"name": "wait", "command": ["sleep", "60"]}])
    stack = Stack.objects.get(slug="web")
    for _ in range(ACMES):
        made = actions.request_deployment(acme, stack, {}, by=by)
        actions.cancel(made, by=by)
    release, last = Release.objects.get(tenant=acme), Deployment.objects.filter(tenant=acme).last()
    assert last
    releases = {tenant.id: _copy(release, tenant=tenant, id=new_id()) for tenant in others}
    Release.objects.bulk_create(releases.values(), batch_size=1_000)
    copies = []
    for number in range(DEPLOYMENTS - ACMES):
        tenant = others[number % len(others)]
        place = number // len(others) + 1
        copies.append(_copy(last, id=new_id(), tenant=tenant, number=place, release=releases[tenant.id]))
    Deployment.objects.bulk_create(copies, batch_size=1_000)


def _copy(row: Any, **changed: Any) -> Any:
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    copy = type(row)(**values)
    for name, value in changed.items():
        setattr(copy, name, value)
    return copy


def _let_happen(acme: Any, others: list[Any], by: Any) -> None:
    """Events of the past, numbered and pushed."""
    from django.db import transaction

    from benchmarks.emitting import Measured
    from events.emit import emit
    from events.relay import drain_once

    for start in range(0, EVENTS, 1_000):
        with transaction.atomic():
            for number in range(start, start + 1_000):
                tenant = acme if number % (EVENTS // ACMES) == 0 else others[number % len(others)]
                emit(Measured(tenant_id=tenant.id, number=number), by=by)
    drain_once(600)


def _events(tenants: list[Any]) -> Costs:
    """Each in a transaction of its own, for whatever tenant; then numbered and pushed together."""
    from django.db import transaction

    from benchmarks.emitting import Measured
    from events.emit import emit
    from events.relay import drain_once

    took = []
    for number in range(WARM_UP + EVENTS_A_ROUND):
        tenant = random.choice(tenants)
        began = time.perf_counter()
        with transaction.atomic():
            emit(Measured(tenant_id=tenant.id, number=number))
        took.append(time.perf_counter() - began)
    began = time.perf_counter()
    drain_once(60)
    pushed = (time.perf_counter() - began) / len(took)
    return {"event, emitted": median(took[WARM_UP:]) * 1_000, "event, numbered and pushed": pushed * 1_000}


def _pages(clients: dict[Any, dict[str, str]]) -> Costs:
    return {
        f"page, {name}": median(_load(client, path) for _ in range(LOADS_A_ROUND))
        for client, pages in clients.items()
        for name, path in pages.items()
    }


def _load(client: Any, path: str) -> float:
    began = time.perf_counter()
    response = client.get(path)
    took = (time.perf_counter() - began) * 1_000
    assert response.status_code == 200, f"{path}: {response.status_code}"
    return took


if __name__ == "__main__":
    work(int(sys.argv[1]))
