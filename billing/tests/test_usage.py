"""Usage is recorded once, whole batches at a time, and everybody is told how much it is by now."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from django_scopes import scope

from billing import actions
from billing.actions import BadRecord, NoSubscription, Recorded
from billing.models import Meter, Period, Plan, Subscription, Threshold, Usage, UsageRecord
from billing.tests.conftest import DECEMBER, NOVEMBER, PRICES, used
from events.models import Event

pytestmark = pytest.mark.django_db


def told(tenant) -> list[dict]:
    with scope(tenant=tenant):
        events = Event.objects.filter(type="usage_update").order_by("id")
        return [event.payload for event in events]


def usage(tenant, meter: str = "minutes") -> Decimal:
    with scope(tenant=tenant):
        return Usage.objects.get(meter_id=meter).quantity


def test_what_is_used_adds_up_exactly_and_is_told_with_what_is_included(acme, subscription):
    for n in range(3):
        assert actions.record(acme, [used(f"k{n}", quantity="0.1")]) == Recorded(stored=1, known=0, late=0)
    assert usage(acme) == Decimal("0.3")
    last = told(acme)[-1]
    assert (last["resource"], last["usage"], last["limit"], last["percentage"]) == ("minutes", 0.3, 500, 0.06)
    assert [each["version"] for each in told(acme)] == [1, 2, 3]


def test_what_is_used_in_the_second_in_which_billing_began_is_taken_from_a_clock_without_fractions(acme, meters, plan):
    actions.subscribe(acme, plan, at=NOVEMBER + timedelta(milliseconds=600))
    assert actions.record(acme, [used("a", day=1)]).stored == 1


def test_the_same_record_again_is_no_other_one(acme, subscription):
    batch = [used("a"), used("b"), used("a")]
    assert actions.record(acme, batch) == Recorded(stored=2, known=1, late=0)
    assert actions.record(acme, batch) == Recorded(stored=0, known=3, late=0)
    assert usage(acme) == 2
    assert len(told(acme)) == 1


def test_the_same_key_for_something_else_is_refused_and_nothing_is_recorded(acme, subscription):
    actions.record(acme, [used("a")])
    with pytest.raises(BadRecord, match="The key 'a' came before with another content") as refusal:
        actions.record(acme, [used("new"), used("a", quantity=2)])
    assert (refusal.value.place, refusal.value.field, refusal.value.code) == (
        1,
        "idempotency_key",
        "idempotency_conflict",
    )
    assert usage(acme) == 1


@pytest.mark.parametrize(
    ("bad", "field", "code"),
    [
        (used("x", meter="nothing"), "meter", "unknown_meter"),
        (used("x", meter="people"), "properties.person", "required"),
        (used("x", day=16), "at", "in_the_future"),
        (used("x", day=-3), "at", "not_subscribed"),
    ],
)
def test_a_record_that_makes_no_sense_is_named_and_nothing_is_recorded(acme, subscription, bad, field, code):
    with pytest.raises(BadRecord) as refusal:
        actions.record(acme, [used("good"), bad])
    assert (refusal.value.place, refusal.value.field, refusal.value.code) == (1, field, code)
    with scope(tenant=acme):
        assert not UsageRecord.objects.exists()


def test_who_has_no_subscription_uses_nothing(globex, meters):
    with pytest.raises(NoSubscription, match="Globex has no subscription"):
        actions.record(globex, [used("a")])


def test_each_kind_of_meter_comes_to_what_its_name_says(acme, subscription):
    actions.record(acme, [used("1", "disk", 7, day=3), used("2", "disk", 9, day=2), used("3", "disk", 8, day=5)])
    actions.record(acme, [used("4", "seats", 7, day=3), used("5", "seats", 9, day=5)])
    actions.record(acme, [used("6", "seats", 8, day=4)])
    actions.record(acme, [used(f"7{n}", "people", person=person) for n, person in enumerate("ada")])
    actions.record(acme, [used("8", "people", person="b"), used("9", "people", person="a")])
    assert [usage(acme, meter) for meter in ("disk", "seats", "people")] == [9, 9, 3]


def test_thresholds_are_told_once_each_and_the_platform_hears_of_them(acme, subscription):
    with scope(tenant=acme):
        Threshold.objects.create(tenant=acme, meter_id="minutes", percent=90)
    for n, quantity in enumerate([200, 50, 10, 195, 1, 44, 1000]):
        actions.record(acme, [used(str(n), quantity=quantity)])
    assert [each["threshold"] for each in told(acme)] == [None, 50, None, 90, None, 100, None]
    with scope(tenant=acme):
        channels = [event.channels for event in Event.objects.filter(type="usage_update").order_by("id")]
    assert ["admin:billing:alerts" in each for each in channels] == [False, True, False, True, False, True, False]


def test_a_smaller_plan_is_told_with_the_thresholds_that_it_brings(acme, subscription):
    small = PRICES | {"meters": {"minutes": {"included": "200", "tiers": [{"unit": "0.02"}]}}}
    plan = Plan.objects.create(slug="small", name="Small", currency="EUR", prices=small, published_at=NOVEMBER)
    actions.record(acme, [used("a", quantity=240)])
    actions.change_plan(acme, plan, at=NOVEMBER + timedelta(days=15))
    last = told(acme)[-1]
    # Half of each: 250 and 100.
    assert (last["version"], last["limit"], last["reached"]) == (2, 350, [50])


def test_a_new_month_begins_at_nothing_and_everybody_is_told(acme, subscription, monkeypatch):
    actions.record(acme, [used("a", quantity=240)])
    monkeypatch.setattr(timezone, "now", lambda: DECEMBER + timedelta(minutes=1))
    assert (actions.begin_what_is_due(), actions.begin_what_is_due()) == (1, 0)
    last = told(acme)[-1]
    assert (last["usage"], last["version"], last["percentage"]) == (0, 2, 0)
    actions.record(acme, [used("late", quantity=20), used("now", day=31)])
    assert told(acme)[-1]["usage"] == 1, "of the month before nothing is said any more"


def test_a_tenant_whose_month_cannot_begin_holds_no_other_back(acme, globex, plan, subscription, monkeypatch, caplog):
    actions.subscribe(globex, plan, DECEMBER - timedelta(days=5))
    monkeypatch.setattr(timezone, "now", lambda: DECEMBER + timedelta(minutes=1))
    begin = actions.current_period

    def fails_for_acme(of, now):
        if of.pk == acme.pk:
            raise RuntimeError("Something is wrong with acme")
        return begin(of, now)

    monkeypatch.setattr(actions, "current_period", fails_for_acme)
    assert actions.begin_what_is_due() == 1
    assert "Something is wrong with acme" in caplog.text
    monkeypatch.setattr(actions, "current_period", begin)
    assert actions.begin_what_is_due() == 1


def test_who_has_cancelled_can_begin_again_and_keeps_what_was_used_before(acme, subscription, monkeypatch):
    actions.cancel(acme)
    monkeypatch.setattr(timezone, "now", lambda: DECEMBER + timedelta(days=9))
    actions.begin_what_is_due()
    with scope(tenant=acme):
        assert Subscription.objects.get().ended_at == DECEMBER
    with pytest.raises(NoSubscription):
        actions.change_plan(acme, subscription.plan)
    actions.record(acme, [used("late", quantity=20)])  # its invoice is still to come
    again = actions.subscribe(acme, subscription.plan)
    assert (again.ended_at, again.cancelled_at) == (None, None)
    with scope(tenant=acme):
        assert Period.objects.count() == 2
        assert actions.limit_of(Period.objects.latest("starts_at"), Meter.objects.get(slug="minutes")) < 500


def test_who_cancels_in_a_month_that_nobody_has_begun_yet_has_it_to_its_end(acme, subscription, monkeypatch):
    """The schedule stood still; what was used since is billed, and the end is the one that was promised."""
    monkeypatch.setattr(timezone, "now", lambda: DECEMBER + timedelta(days=9))
    actions.cancel(acme)
    actions.begin_what_is_due()
    actions.record(acme, [used("since", day=35)])
    with scope(tenant=acme):
        assert Subscription.objects.get().ended_at is None
        assert Period.objects.latest("starts_at").starts_at == DECEMBER


def test_no_sum_outgrows_its_column(acme, subscription, monkeypatch):
    monkeypatch.setattr(actions, "LARGEST_USAGE", Decimal(100))
    with pytest.raises(actions.TooMuch, match="look for a mistake"):
        actions.record(acme, [used("a", quantity=101)])
