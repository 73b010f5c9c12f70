"""How runners share the work: so many of a tenant's at once, never two of one name, and each tenant in its turn."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction
from django_scopes import scope, scopes_disabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments import actions, leases
from deployments.models import ACTIVE, Deployment, Status
from deployments.running.runner import Runner
from deployments.tests.conftest import ended, make_stack, python, running
from events.models import Event
from tenants import actions as tenants
from tenants.models import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def wait(alice, platform_admin):
    """Queue a deployment of this name for this tenant."""
    stack = make_stack("s", ["true"], by=platform_admin.user)

    def wait(tenant: Tenant, name: str = "s") -> Deployment:
        return actions.request_deployment(tenant, stack, {}, by=alice.user, name=name)

    return wait


def run_next() -> Deployment | None:
    lease = leases.claim("runner")
    with scopes_disabled():
        return Deployment.objects.select_related("tenant").get(pk=lease.deployment_id) if lease else None


def finish(deployment: Deployment) -> None:
    leases.complete(leases.Lease(deployment.tenant, deployment.pk, deployment.fence))


def start_and_finish(deployment: Deployment) -> None:
    with scopes_disabled():
        Deployment.objects.filter(pk=deployment.pk).update(status=Status.RUNNING)
    finish(deployment)


def test_a_tenant_runs_as_many_at_once_as_the_platform_allows_everybody(acme, wait, settings):
    settings.DEPLOYMENTS_AT_ONCE_PER_TENANT = 2
    for name in "abc":
        wait(acme, name)
    assert [run_next().name, run_next().name, run_next()] == ["a", "b", None]


def test_a_platform_admin_lets_one_tenant_run_more_or_fewer(acme, globex, wait, platform_admin, settings):
    settings.DEPLOYMENTS_AT_ONCE_PER_TENANT = 2
    for name in "abcd":
        wait(acme, name)
        wait(globex, name)
    form = {"name": acme.name, "time_zone": acme.time_zone, "deployments_at_once": "3"}
    assert platform_admin.post(f"/admin/tenants/tenant/{acme.pk}/change/", form).status_code == 302
    tenants.allow_deployments(globex, 1, by=platform_admin.user)
    started = Counter(found.tenant.slug for found in iter(run_next, None))
    assert started == {"acme": 3, "globex": 1}
    with scopes_disabled():
        said = set(Event.objects.filter(type="tenant_updated").values_list("summary", flat=True))
    assert said == {"Ada changed the settings of Acme", "Ada changed the settings of Globex"}


def test_two_of_one_name_run_one_after_the_other(acme, wait):
    first, second, other = wait(acme, "web"), wait(acme, "web"), wait(acme, "shop")
    assert [run_next(), run_next(), run_next()] == [first, other, None]
    start_and_finish(Deployment.objects.with_scopes_disabled().select_related("tenant").get(pk=first.pk))
    assert run_next() == second


def test_one_tenants_hundred_do_not_hold_up_anothers_first(acme, globex, wait, settings):
    settings.DEPLOYMENT_QUEUE_LIMIT = 200
    settings.DEPLOYMENTS_AT_ONCE_PER_TENANT = 1
    for _ in range(100):
        wait(acme)
    start_and_finish(run_next())
    late = wait(globex)
    assert run_next() == late


# --- Whatever happens in whatever order -------------------------------------------------------------------------------

WHAT = st.one_of(
    st.tuples(st.just("wait"), st.integers(0, 2), st.sampled_from("abc")),
    st.tuples(st.just("claim"), st.just(0), st.just("")),
    st.tuples(st.just("end"), st.integers(0, 5), st.just("")),
    st.tuples(st.just("cancel"), st.integers(0, 5), st.just("")),
)


class Platform:
    """Three tenants that run one, two and three at once, and what is under way."""

    def __init__(self, found: list[Tenant], wait, by) -> None:
        self.tenants, self.wait, self.by = found, wait, by
        for at_once, tenant in enumerate(found, start=1):
            tenants.allow_deployments(tenant, at_once, by=by)
        self.active: list[Deployment] = []
        #: tenant -> whose starts it has sat through, with work and nothing running
        self.passed_over: dict[Tenant, list[Tenant]] = {tenant: [] for tenant in found}

    def do(self, what: str, index: int, name: str) -> None:
        if what == "wait":
            self.wait(self.tenants[index], name)
        elif what == "claim":
            self.claim()
        elif what == "end" and self.active:
            start_and_finish(self.active.pop(index % len(self.active)))
        elif what == "cancel":
            self.cancel(index)

    def claim(self) -> None:
        idle = [
            tenant for tenant in self.tenants if self.count(tenant, [Status.QUEUED]) and not self.count(tenant, ACTIVE)
        ]
        started = run_next()
        if started is None:
            assert not idle, "a tenant with work and nothing running was left out"
            return
        self.active.append(started)
        for tenant, others in self.passed_over.items():
            others[:] = [*others, started.tenant] if tenant in idle and tenant != started.tenant else []

    def cancel(self, index: int) -> None:
        with scopes_disabled():
            waiting = list(
                Deployment.objects.filter(status=Status.QUEUED).select_related("tenant").order_by("created_at")
            )
        if waiting:
            actions.cancel(waiting[index % len(waiting)], by=self.by)

    @staticmethod
    def count(tenant: Tenant, statuses) -> int:
        with scope(tenant=tenant):
            return Deployment.objects.filter(status__in=statuses).count()

    def check(self) -> None:
        with scopes_disabled():
            active = list(Deployment.objects.filter(status__in=ACTIVE).select_related("tenant"))
        for tenant, count in Counter(one.tenant for one in active).items():
            assert count <= tenant.deployments_at_once
        assert max(Counter((one.tenant_id, one.name) for one in active).values(), default=0) <= 1
        for others in self.passed_over.values():
            assert len(others) == len(set(others)), "a tenant with nothing running saw another start twice"


@given(st.lists(WHAT, max_size=30))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_number_at_once_holds_and_nobodys_first_waits_through_anothers_second(acme, globex, wait, alice, history):
    with transaction.atomic():
        third = tenants.create_tenant("third", "Third", by=alice.user)
        platform = Platform([Tenant.objects.get(pk=one.pk) for one in (acme, globex, third)], wait, alice.user)
        for what in history:
            platform.do(*what)
            platform.check()
        transaction.set_rollback(True)


# --- Several runners --------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_however_many_runners_claim_at_once_no_tenant_gets_more_than_its_number(acme, globex, wait, settings):
    settings.DEPLOYMENTS_AT_ONCE_PER_TENANT = 2
    for index in range(6):
        wait(acme, f"a{index}")
        wait(globex, f"g{index}")
    gate = threading.Barrier(8, timeout=30)

    def claim(index: int) -> list[leases.Lease]:
        try:
            gate.wait()
            return [lease for _ in range(6) if (lease := leases.claim(f"runner {index}"))]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as runners:
        taken = [lease for found in runners.map(claim, range(8)) for lease in found]
    taken += list(iter(lambda: leases.claim("last"), None))  # what everybody else found locked
    assert Counter(lease.tenant.slug for lease in taken) == {"acme": 2, "globex": 2}
    assert len({lease.deployment_id for lease in taken}) == 4


@pytest.mark.django_db(transaction=True)
def test_two_runners_together_run_two_of_a_tenants_at_a_time(acme, alice, platform_admin, quick):
    quick.DEPLOYMENTS_AT_ONCE_PER_TENANT = 2
    stack = make_stack("nap", python("import time; time.sleep(0.2)"), by=platform_admin.user)
    made = [actions.request_deployment(acme, stack, {}, by=alice.user, name=f"n{index}") for index in range(6)]
    with running(Runner()), running(Runner()):
        spans = [(found.started_at, found.ended_at) for found in (ended(one, seconds=60) for one in made)]
    together = [sum(began <= moment < over for began, over in spans) for moment, _ in spans]
    assert max(together) == 2


# --- The queue --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["claimed", "cancelled"])
def test_a_queue_of_a_thousand_costs_no_more_than_its_first_fifty(
    acme, alice, wait, settings, leave, django_assert_max_num_queries
):
    settings.DEPLOYMENT_QUEUE_LIMIT = 2_000
    first = wait(acme)
    with scope(tenant=acme):
        made = [
            Deployment(
                tenant=acme, number=number, name="s", release=first.release, steps=[], requester_id=alice.user.pk
            )
            for number in range(2, 1_002)
        ]
        Deployment.objects.bulk_create(made)
    before = Event.objects.with_scopes_disabled().count()
    with django_assert_max_num_queries(75):
        leases.claim("runner") if leave == "claimed" else actions.cancel(first, by=alice.user)
    with scopes_disabled():
        told = [event.payload for event in Event.objects.order_by("id")[before:]]
    places = [payload["data"]["queuePosition"] for payload in told[1:]]
    assert places == list(range(1, 51))
    assert {payload["version"] for payload in told[1:]} == {2}
    with scope(tenant=acme):
        assert Deployment.objects.filter(version=2).count() == 51
        assert Deployment.objects.get(number=900).queue_position is None


def test_each_place_told_is_the_place_the_page_and_the_api_show(acme, alice, wait):
    for name in "abcde":
        wait(acme, name)
    with scope(tenant=acme):
        third = Deployment.objects.get(number=3)
    run_next()
    actions.cancel(third, by=alice.user)
    with scopes_disabled():
        told = {
            event.payload["deploymentId"]: event.payload
            for event in Event.objects.filter(type="deployment_update").order_by("id")
        }
    listed = alice.api_get("/api/deployments?status=queued", "acme").json()["results"]
    assert [(one["number"], one["queuePosition"]) for one in listed] == [(5, 3), (4, 2), (2, 1)]
    for one in listed:
        assert told[one["id"]]["data"]["queuePosition"] == one["queuePosition"]
        assert told[one["id"]]["version"] == one["version"]
