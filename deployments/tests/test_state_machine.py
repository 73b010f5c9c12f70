"""Whatever people, runners and time do, in any order, a deployment goes only where the state machine allows."""

from contextlib import suppress
from itertools import pairwise

import pytest
from django.db import connection, transaction
from django_scopes import scope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments import actions, leases
from deployments.models import ENDED, TRANSITIONS, Deployment, IllegalTransition, Status, StepStatus
from deployments.tests.conftest import fresh
from events.models import Event

pytestmark = pytest.mark.django_db

ASKED = ["cancel", "retry", "roll_back"]
ANYTHING = [*ASKED, "claim", "begin", "end", "complete", "fail", "confirm", "silence", "renew", "log"]


class World:
    """One tenant, its deployments and the leases given out on them."""

    def __init__(self, deployment: Deployment, by) -> None:
        self.deployment, self.by = deployment, by
        self.lease: leases.Lease | None = None

    def do(self, what: str) -> None:
        with suppress(actions.Refused, leases.LeaseLost), transaction.atomic():
            getattr(self, what)()

    def claim(self):
        self.lease = leases.claim("runner") or self.lease

    def begin(self):
        if self.lease:
            leases.step_begins(self.lease, 0)

    def end(self):
        if self.lease:
            leases.step_ends(self.lease, 0, StepStatus.COMPLETED, 0)

    def complete(self):
        if self.lease:
            with suppress(IllegalTransition):
                leases.complete(self.lease)

    def fail(self):
        if self.lease:
            leases.fail(self.lease, "It broke.")

    def confirm(self):
        if self.lease:
            leases.confirm_cancel(self.lease, "Stopped.")

    def cancel(self):
        actions.cancel(self.deployment, by=self.by)

    def retry(self):
        actions.retry(self.deployment, by=self.by)

    def roll_back(self):
        actions.roll_back(self.deployment, by=self.by)

    def silence(self):
        active = Deployment.objects.filter(status__in=["starting", "running"])
        active.update(lease_expires_at="2020-01-01T00:00Z")
        leases.mark_lost()

    def renew(self):
        if self.lease:
            leases.renew([self.lease])

    def log(self):
        if self.lease:
            leases.append_log(self.lease, [leases.OutputBlock(1, 1, "info", "x", self.deployment.created_at)])


@given(st.lists(st.sampled_from(ANYTHING), max_size=14))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_history_is_one_the_state_machine_allows_and_every_change_is_one_event(acme, alice, stack, history):
    with transaction.atomic(), scope(tenant=acme):
        world = World(actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user), alice.user)
        for what in history:
            world.do(what)
        deployment = fresh(world.deployment)
        payloads = [
            event.payload
            for event in Event.objects.filter(type="deployment_update").order_by("id")
            if event.payload["deploymentId"] == str(deployment.pk)
        ]
        assert [payload["version"] for payload in payloads] == list(range(1, deployment.version + 1))
        seen = [payload["status"] for payload in payloads]
        assert all(after in TRANSITIONS[before] for before, after in pairwise(seen))
        assert seen[-1] == deployment.status
        assert (deployment.ended_at is not None) == (deployment.status in ENDED)
        connection.check_constraints()
        transaction.set_rollback(True)


@pytest.mark.parametrize("ended", ENDED)
def test_what_has_ended_stays_as_it_ended(acme, acme_deployment, ended):
    acme_deployment.status = ended
    for status in Status:
        with pytest.raises(IllegalTransition):
            acme_deployment.move_to(status)


def test_lines_written_twice_are_stored_once(acme, acme_deployment):
    lease = leases.claim("runner")
    block = leases.OutputBlock(1, 2, "info", "a\nb", acme_deployment.created_at)
    leases.append_log(lease, [block])
    leases.append_log(lease, [block, leases.OutputBlock(3, 1, "error", "c", acme_deployment.created_at)])
    with scope(tenant=acme):
        assert list(acme_deployment.log_blocks.values_list("first_line", "text")) == [(1, "a\nb"), (3, "c")]
        assert Event.objects.filter(type="deployment_log").count() == 2


def test_a_runner_of_an_older_fence_writes_nothing(acme, acme_deployment):
    lease = leases.claim("runner")
    with scope(tenant=acme):
        Deployment.objects.filter(pk=acme_deployment.pk).update(fence=lease.fence + 1)
    with pytest.raises(leases.LeaseLost):
        leases.step_begins(lease, 0)
    with pytest.raises(leases.LeaseLost):
        leases.append_log(lease, [leases.OutputBlock(1, 1, "info", "x", acme_deployment.created_at)])
    assert leases.renew([lease]) == set()


def test_a_silent_runner_loses_its_deployment_in_words(acme, alice, acme_deployment):
    acme.time_zone = "Europe/Lisbon"
    acme.save()
    leases.claim("runner")
    with scope(tenant=acme):
        Deployment.objects.update(heartbeat_at="2026-11-23T15:04:05Z", lease_expires_at="2026-11-23T15:04:20Z")
    assert leases.mark_lost() == 1
    lost = fresh(acme_deployment)
    assert lost.status == Status.LOST
    assert (
        lost.reason == "Runner silent since 15:04:05 WET. web #1 is lost; the running release was not touched. Retry."
    )
    again = actions.retry(lost, by=alice.user)
    with pytest.raises(actions.NotRetryable, match=r"web #2 is already trying web #1 again\."):
        actions.retry(lost, by=alice.user)
    assert again.retry_of == lost
