"""Lanes go side by side: each channel keeps its order, and nothing is lost or doubled, whatever fails on the way."""

import random
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import cursors, numbering, pushing, relay
from events.channels import ADMIN_EVENTS, Topic, tenant
from events.cursors import PUSH
from events.emit import emit
from events.engine_client import EngineAway
from events.lanes import LANES, lane_of
from events.models import Cursor, DeadLetter, Event, LogState, Push
from events.tests.conftest import Happened, TakenAway, eventually
from events.tests.engine_stub import EngineStub

pytestmark = pytest.mark.django_db(transaction=True)

TENANTS = [UUID(int=number) for number in range(1, 13)]
CHANNELS = [tenant(tenant_id, Topic.DASHBOARD).name for tenant_id in TENANTS]


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(pushing, "FEW", 0)
    monkeypatch.setattr(pushing, "BATCH", 20)


def happen_everywhere(count: int) -> None:
    with transaction.atomic():
        for thing in range(count):
            emit(Happened(tenant_id=TENANTS[thing % len(TENANTS)], thing=thing))
    while numbering.number().is_due:
        pass


def take_over() -> pushing.Pusher:
    """As another relay does when the lease of the one before has run out."""
    cursors.ensure(PUSH)
    Cursor.objects.filter(name=PUSH).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    lease = cursors.take(PUSH, 60)
    assert lease
    return pushing.Pusher(lease)


def expect_all_in_order(engine: EngineStub) -> None:
    logged: dict[str, list[int]] = {name: [] for name in CHANNELS}
    for event in Event.objects.with_scopes_disabled().order_by("entry__seq").select_related("entry"):
        for name in event.channels:
            logged.setdefault(name, []).append(event.entry.seq)
    assert {name: engine.seqs(name) for name in logged} == logged


def test_channels_are_spread_over_the_lanes_and_the_platforms_own_has_one_to_itself():
    many = [tenant(UUID(int=number), Topic.DASHBOARD).name for number in range(1, 100)]
    assert {lane_of(name) for name in many} == set(range(1, LANES))
    assert lane_of(ADMIN_EVENTS.name) == 0


def test_side_by_side_each_channel_keeps_its_order(engine, small_batches):
    happen_everywhere(300)
    relay.drain_once(seconds=30)
    expect_all_in_order(engine)
    batches = list(Push.objects.order_by("first_seq"))
    assert [batch.last_seq - batch.first_seq + 1 for batch in batches] == [20] * 15
    assert all(isinstance(offset, int) for batch in batches for of in batch.outcomes.values() for offset in of.values())


def test_what_one_lane_is_refused_is_a_dead_letter_and_the_others_go_on(engine, small_batches):
    engine.refuse = {CHANNELS[0]}
    happen_everywhere(60)
    relay.drain_once(seconds=30)
    assert DeadLetter.objects.count() == 5
    assert all(len(engine.seqs(name)) == 5 for name in CHANNELS[1:])


def test_a_lane_that_fails_moves_no_cursor_and_the_others_deliver_their_part(engine, small_batches):
    pusher = take_over()
    happen_everywhere(60)
    engine.fail_with = CHANNELS[0]
    with pytest.raises(EngineAway):
        pusher.push()
    assert Cursor.objects.get(name=PUSH).position == 0
    elsewhere = [name for name in CHANNELS if lane_of(name) != lane_of(CHANNELS[0])]
    eventually(lambda: all(engine.seqs(name) for name in elsewhere))
    engine.fail_with = None
    while pusher.push():
        pass
    expect_all_in_order(engine)


def test_access_is_taken_away_before_anything_later_goes_out_in_any_lane(engine, small_batches):
    happen_everywhere(50)
    with transaction.atomic():
        emit(TakenAway(user_id=TENANTS[0], generation=2))
    happen_everywhere(50)
    relay.drain_once(seconds=30)
    expect_all_in_order(engine)
    cut = engine.journal.index(f"disconnect {TENANTS[0]}.1 3014")
    assert len([line for line in engine.journal[:cut] if "test_happened" in line]) == 50


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fates=st.lists(st.sampled_from(["", "", "", "down", "lost"]), max_size=60),
    seed=st.integers(0, 2**16),
)
def test_whatever_fails_and_whoever_takes_over_nothing_is_lost_doubled_or_turned_round(
    engine, small_batches, fates, seed
):
    """A relay may be gone at any moment, its last requests still on their way."""
    Push.objects.all().delete()
    Event.objects.with_scopes_disabled().all().delete()
    happen_everywhere(120)
    newest = LogState.objects.get().last_seq
    chance = random.Random(seed)
    pusher = take_over()
    engine.fates = iter(fates)
    while pusher.lease.position < newest:
        if chance.random() < 0.2:
            pusher = take_over()
        try:
            pusher.push()
        except EngineAway:
            continue
    engine.fates = iter(())
    expect_all_in_order_since(engine, newest - 120)


def expect_all_in_order_since(engine: EngineStub, seq: int) -> None:
    for name in CHANNELS:
        found = [number for number in engine.seqs(name) if number > seq]
        assert found == sorted(set(found))
        assert len(found) == 120 / len(CHANNELS)
