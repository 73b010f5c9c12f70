"""Who is billed without anybody's doing, and what others' events meter."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from billing import actions, handlers
from billing.models import Period, Plan, Subscription, Usage, UsageRecord
from billing.tests.conftest import NOVEMBER
from events.models import Event
from tenants import actions as tenants

pytestmark = pytest.mark.django_db
STARTED, ENDED = "2026-11-14T10:00:00.000Z", "2026-11-14T10:02:30.500Z"


def event(tenant, kind: str, **payload) -> Event:
    """As the log has it."""
    return Event(type=kind, tenant=tenant, payload=payload, occurred_at=timezone.now())


def deployment(tenant, status: str = "completed", started: str | None = STARTED) -> Event:
    data = {"title": "web #1", "startedAt": started, "endedAt": ENDED}
    return event(tenant, "deployment_update", deploymentId=str(uuid4()), status=status, data=data)


def used(tenant, meter: str) -> Decimal | None:
    with scope(tenant=tenant):
        return Usage.objects.filter(meter=meter).values_list("quantity", flat=True).first()


@pytest.fixture
def billed(acme):
    actions.ensure_subscribed(acme, at=NOVEMBER)
    return acme


def test_a_new_tenant_begins_with_the_first_plan_from_the_moment_it_was_made(platform_admin):
    tenant = tenants.create_tenant("initech", "Initech", by=platform_admin.user)
    with scope(tenant=tenant):
        made = Event.objects.get(type="tenant_updated")
    for _ in range(2):
        handlers.begin_billing(made, 1)
    with scope(tenant=tenant):
        assert Subscription.objects.get().plan.slug == "starter"
        assert Period.objects.get().starts_at == made.occurred_at.replace(microsecond=0)


def test_tenants_that_were_there_before_are_subscribed_once(acme, globex, platform_admin):
    for _ in range(2):
        actions.subscribe_everybody()
    with scopes_disabled():
        assert Subscription.objects.count() == Period.objects.count() == 2


def test_where_no_plan_is_offered_nobody_is_subscribed(acme, settings):
    settings.FIRST_PLAN = "none"
    actions.subscribe_everybody()
    with scopes_disabled():
        assert not Subscription.objects.exists()


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "lost"])
def test_the_minutes_of_a_deployment_count_once_whatever_came_of_it(billed, status):
    ended = deployment(billed, status)
    for _ in range(2):
        handlers.meter_deployment(ended, 1)
    assert used(billed, "deployment_minutes") == Decimal("2.508333")


def test_what_never_ran_and_what_still_runs_has_used_nothing(billed):
    handlers.meter_deployment(deployment(billed, "cancelled", started=None), 1)
    handlers.meter_deployment(deployment(billed, "running"), 1)
    assert used(billed, "deployment_minutes") is None


def test_samples_that_were_stored_add_up(billed):
    for count in (120, 60):
        handlers.meter_samples(event(billed, "samples_stored", count=count), 1)
    assert used(billed, "samples_stored") == 180


def test_nothing_is_billed_of_what_was_before_the_subscription_or_comes_after_it(acme, plan, meters):
    actions.subscribe(acme, plan, at=timezone.now() - timedelta(hours=1))
    handlers.meter_deployment(deployment(acme), 1)
    with scope(tenant=acme):
        assert not UsageRecord.objects.exists()
        ended_at = timezone.now() - timedelta(minutes=1)
        Subscription.objects.update(cancelled_at=ended_at, ended_at=ended_at)
        Period.objects.update(ends_at=ended_at, closed_at=timezone.now())
    handlers.meter_samples(event(acme, "samples_stored", count=1), 1)
    with scope(tenant=acme):
        assert not UsageRecord.objects.exists()


def test_what_is_no_longer_there_is_not_billed(db):
    handlers.meter_samples(event(None, "samples_stored", count=1), 1)
    with scopes_disabled():
        assert not UsageRecord.objects.exists()


def test_a_draft_is_published_once_and_frozen_and_priced_by_meters_that_there_are(meters):
    draft = Plan.objects.create(
        slug="new", name="New", currency="EUR", prices={"meters": {"fuel": {"tiers": [{"unit": "1"}]}}}
    )
    with pytest.raises(actions.Refused, match="no meter 'fuel'"):
        actions.publish(draft)
    draft.prices = {"fee": "5.00"}
    draft.save()
    published = actions.publish(draft)
    assert actions.offered("new") == published
    with pytest.raises(RuntimeError, match="stays as it is"):
        published.save()
    following = actions.new_version(published)
    assert (following.version, following.is_published) == (2, False)
    actions.publish(following)
    assert actions.offered("new") == following
