"""A demo lives without anybody's click, and stays small however long it is left alone."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.utils import timezone
from django_scopes import scopes_disabled

from deployments import actions
from deployments.demo import life
from deployments.demo.life import deploy_now_and_then
from deployments.demo.stacks import offer_demo_stacks
from deployments.models import Deployment, Status
from tenants.tests.test_at_once import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def demo(acme, globex, platform_admin, settings) -> None:
    settings.DEBUG = settings.DEMO = True
    offer_demo_stacks(by=platform_admin.user)


def end(deployment: Deployment) -> None:
    """As if a runner had run it; what it does stands in other tests."""
    with scopes_disabled():
        now = timezone.now()
        Deployment.objects.filter(pk=deployment.pk).update(
            status=Status.COMPLETED, started_at=deployment.created_at, ended_at=now
        )


def made() -> int:
    with scopes_disabled():
        return Deployment.objects.count()


def test_most_of_what_is_deployed_works_and_some_of_it_breaks(demo, time_machine):
    time_machine.move_to(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False)
    names = []
    for _ in range(5):
        deployment = deploy_now_and_then()
        names.append(deployment.name)
        assert (deployment.tenant.slug, deployment.requester_name) == ("acme", "Demo schedule")
        assert deploy_now_and_then() is None, "one at a time"
        end(deployment)
        assert deploy_now_and_then() is None, "not so soon"
        time_machine.shift(life.GAP)
    assert names == ["web", "web", "web", "broken", "web"]


def test_while_alice_deploys_it_keeps_out_of_her_way(demo, alice, acme):
    actions.request_deployment(acme, actions.offered_stack("broken"), {}, by=alice.user)
    assert deploy_now_and_then() is None


@pytest.mark.parametrize("missing", ["DEBUG", "DEMO"])
def test_nothing_is_deployed_by_itself_but_in_a_demo(demo, settings, missing):
    setattr(settings, missing, False)
    assert deploy_now_and_then() is None
    assert made() == 0


def test_left_alone_for_days_it_deploys_about_a_hundred_times_a_day(demo, time_machine):
    began = datetime(2026, 11, 23, 12, tzinfo=UTC)
    time_machine.move_to(began, tick=False)
    while timezone.now() - began < timedelta(days=2):
        if deployment := deploy_now_and_then():
            end(deployment)
        time_machine.shift(timedelta(seconds=75))
    assert 150 <= made() <= 220


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_make_one(demo):
    assert at_once(*[partial(deploy_now_and_then)] * 3) == ["done"] * 3
    assert made() == 1
