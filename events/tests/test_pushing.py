"""What was committed goes out: once in each of its channels, in order, whatever the engine does meanwhile."""

import contextlib
import time
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from events import actions, channels, cursors, engine_client, generations, numbering, pushing, relay, stuck
from events.channels import Topic, inbox, tenant
from events.cursors import PUSH
from events.emit import emit
from events.engine_client import EngineAway, EngineTimeout
from events.journey import journey
from events.models import Cursor, DeadLetter, DueDisconnect, Entry, Event, LogState, Push
from events.tests.conftest import Happened, TakenAway, eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dashboard(acme) -> str:
    return tenant(acme.id, Topic.DASHBOARD).name


def drain() -> None:
    relay.drain_once(seconds=30)


def steps(event) -> list[str]:
    return [step.text for step in journey(event)]


def test_what_was_committed_goes_out_in_order(engine, happen, dashboard):
    happen(1200)
    drain()
    assert engine.seqs(dashboard) == list(range(1, 1201))
    assert [event["thing"] for _, event in engine.went_out] == list(range(1, 1201))
    assert Cursor.objects.get(name=PUSH).position == 1200


def test_what_goes_out_is_the_wire_format(engine, acme, alice):
    with transaction.atomic():
        event = emit(Happened(tenant_id=acme.id, thing=1, note="naïve ☃ \u2028 </script>"), by=alice.user)
        nobody = emit(TakenAway(user_id=uuid4(), generation=2))
    whole_second = event.occurred_at.replace(microsecond=0)
    Event.objects.with_scopes_disabled().filter(pk=event.pk).update(occurred_at=whole_second)
    event.occurred_at = whole_second
    drain()
    dashboard, activity, inbox_of_nobody = (data for _, data in engine.went_out)
    assert dashboard == activity == event.wire(seq=1)
    assert inbox_of_nobody == nobody.wire(seq=2)


def test_the_journey_tells_the_offset_in_each_channel(engine, acme, alice, dashboard):
    activity = tenant(acme.id, Topic.ACTIVITY).name
    with transaction.atomic():
        event = emit(Happened(tenant_id=acme.id, thing=1), by=alice.user)
    assert steps(event)[1:] == ["Waits to be numbered"]
    drain()
    assert steps(event)[1:] == [
        "Numbered 1",
        f"Pushed on {dashboard} at offset 1",
        f"Pushed on {activity} at offset 1",
    ]


def test_one_refused_channel_is_a_dead_letter_and_the_rest_goes_out(engine, acme, alice, dashboard):
    activity = tenant(acme.id, Topic.ACTIVITY).name
    engine.refuse = {activity}
    with transaction.atomic():
        event = emit(Happened(tenant_id=acme.id, thing=1), by=alice.user)
        emit(Happened(tenant_id=acme.id, thing=2))
    drain()
    assert engine.seqs(dashboard) == [1, 2]
    letter = DeadLetter.objects.get()
    assert (letter.event, letter.channel, letter.error) == (event, activity, "unknown channel (102)")
    assert f"Push on {activity} failed after 1 attempt: unknown channel (102)" in steps(event)


def test_a_dead_letter_is_delivered_later_although_newer_events_have_passed_it(engine, happen, dashboard, alice):
    engine.refuse = {dashboard}
    happen(1)
    drain()
    engine.refuse = set()
    happen(1, first=2)
    drain()
    assert engine.seqs(dashboard) == [2]
    actions.retry(DeadLetter.objects.get(), by=alice.user)
    assert engine.seqs(dashboard) == [2, 1]
    letter = DeadLetter.objects.get()
    assert (letter.resolution, letter.resolved_by) == ("retried", "Alice")
    with pytest.raises(actions.AlreadyResolved):
        actions.skip(letter, by=alice.user)


def test_a_dead_letter_that_fails_again_waits_with_the_new_reason(engine, happen, dashboard, alice):
    engine.refuse = {dashboard}
    happen(1)
    drain()
    engine.stop()
    with pytest.raises(actions.StillFailing):
        actions.retry(DeadLetter.objects.get(), by=alice.user)
    letter = DeadLetter.objects.get()
    assert letter.is_waiting
    assert letter.attempts == 2
    assert letter.error.startswith("EngineAway")


def test_while_the_engine_is_away_events_are_numbered_and_wait(engine, happen, dashboard):
    engine.stop()
    events = happen(3)
    drain()
    cursor = Cursor.objects.get(name=PUSH)
    assert (cursor.position, cursor.attempts) == (0, 1)
    assert "can't be reached" in cursor.last_error
    assert steps(events[0])[1:] == [
        "Numbered 1",
        f"Waits to be pushed on {dashboard}: the cursor is at 0, because {cursor.last_error}",
    ]
    engine.start()
    drain()
    assert engine.seqs(dashboard) == [1, 2, 3]
    assert Cursor.objects.get(name=PUSH).last_error == ""


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_an_engine_that_answers_with_an_error_has_taken_nothing(engine, happen, dashboard, status):
    engine.answer_status = status
    happen(2)
    drain()
    assert Cursor.objects.get(name=PUSH).position == 0
    assert not DeadLetter.objects.exists()
    engine.answer_status = None
    drain()
    assert engine.seqs(dashboard) == [1, 2]


@pytest.mark.parametrize("code", sorted(engine_client.TRANSIENT_CODES))
def test_the_engines_own_trouble_is_waited_for(engine, happen, dashboard, code):
    engine.trouble = code
    happen(2)
    drain()
    assert not DeadLetter.objects.exists()
    engine.trouble = None
    drain()
    assert engine.seqs(dashboard) == [1, 2]


def test_what_was_overtaken_while_the_engine_faltered_is_a_dead_letter_and_not_lost(engine, happen, dashboard, alice):
    """As when Redis is full, and is not a moment later: sent again, the engine would drop it as a repeat."""
    engine.falters = {(dashboard, 1), (dashboard, 4)}
    happen(4)
    drain()
    assert engine.seqs(dashboard) == [2, 3]
    drain()
    assert engine.seqs(dashboard) == [2, 3, 4]
    letter = DeadLetter.objects.get()
    assert (letter.channel, letter.error) == (dashboard, "internal server error (100)")
    actions.retry(letter, by=alice.user)
    assert engine.seqs(dashboard) == [2, 3, 4, 1]


@pytest.fixture
def drain_often(settings) -> Callable[[], None]:
    """A relay that goes on as the same one, and tries as often as it needs to give a channel up."""
    settings.PUSH_STUCK_SECONDS = 0
    pusher = pushing.Pusher(_push_lease())

    def often() -> None:
        while numbering.number().is_due:
            pass
        for _ in range(stuck.ATTEMPTS + 1):
            with contextlib.suppress(EngineAway):
                while pusher.push():
                    pass

    return often


def test_one_channel_in_trouble_is_given_up_in_the_end_and_the_rest_goes_on(
    engine, acme, alice, dashboard, drain_often, caplog
):
    activity = tenant(acme.id, Topic.ACTIVITY).name
    engine.sick = {activity}
    with transaction.atomic():
        first = emit(Happened(tenant_id=acme.id, thing=1), by=alice.user)
    drain_often()
    assert engine.seqs(dashboard) == [1]
    letter = DeadLetter.objects.get()
    assert (letter.event, letter.channel, letter.error) == (first, activity, "internal server error (100)")
    assert f"nothing for {activity}" in caplog.text


def test_a_channel_that_was_given_up_is_tried_with_each_event_and_taken_up_again(
    engine, acme, alice, dashboard, drain_often
):
    activity = tenant(acme.id, Topic.ACTIVITY).name

    def happens(thing: int) -> None:
        with transaction.atomic():
            emit(Happened(tenant_id=acme.id, thing=thing), by=alice.user)
        drain_often()

    engine.sick = {activity}
    happens(1)
    happens(2)
    engine.sick = set()
    happens(3)
    assert engine.seqs(dashboard) == [1, 2, 3]
    assert engine.seqs(activity) == [3]
    for letter in DeadLetter.objects.order_by("id"):
        actions.retry(letter, by=alice.user)
    assert engine.seqs(activity) == [3, 1, 2]


def test_trouble_of_the_whole_engine_is_waited_for_however_long_it_takes(engine, happen, dashboard, drain_often):
    engine.trouble = 100
    happen(2)
    drain_often()
    assert not DeadLetter.objects.exists()
    engine.trouble = None
    drain_often()
    assert engine.seqs(dashboard) == [1, 2]


def test_nobody_whose_access_ends_is_given_up(engine, happen, dashboard, drain_often):
    """What is to be ended is tried until it has been, whatever else fails beside it."""
    bob = uuid4()
    engine.sick = {inbox(bob).name}
    engine.keeps_connections = True
    _take_away(bob, 5)
    drain_often()
    assert not DeadLetter.objects.exists()
    assert Cursor.objects.get(name=PUSH).position == 0
    engine.keeps_connections = False
    drain_often()
    assert engine.disconnected[-1] == f"{bob}.4"
    assert DeadLetter.objects.get().channel == inbox(bob).name


def test_a_lost_answer_is_asked_for_again_and_recognised_as_a_repeat(engine, happen, dashboard):
    engine.lose_answers = 1
    lease = _push_lease()
    pusher = pushing.Pusher(lease)
    assert not pusher._is_unsure
    events = happen(2)
    numbering.number()
    with pytest.raises(EngineAway):
        pusher.push()
    events += happen(1, first=3)
    numbering.number()
    pusher.push()
    assert engine.seqs(dashboard) == [1, 2, 3]
    assert [steps(event)[-1] for event in events] == [
        f"Pushed on {dashboard}: dropped as a repeat, the engine had it already",
        f"Pushed on {dashboard}: dropped as a repeat, the engine had it already",
        f"Pushed on {dashboard} at offset 3",
    ]


def test_what_was_pushed_under_numbers_that_a_crash_has_lost_is_a_repeat(engine, happen, dashboard):
    """Neither the numbers nor the cursor's move had to wait for the disk."""
    happen(1)
    drain()
    before = LogState.objects.values("last_seq", "last_event_id").get()
    events = happen(3)
    drain()
    offsets = engine.seqs(dashboard)
    Push.objects.filter(first_seq__gt=1).delete()
    Entry.objects.filter(seq__gt=1).delete()
    LogState.objects.update(**before)
    Cursor.objects.filter(name=PUSH).update(position=1)
    drain()
    assert engine.seqs(dashboard) == offsets == [1, 2, 3, 4]
    assert [steps(event)[-1] for event in events] == [
        f"Pushed on {dashboard}: dropped as a repeat, the engine had it already"
    ] * 3


def test_a_request_that_is_too_large_is_cut_until_what_is_too_large_stands_alone(engine, acme, happen, dashboard):
    happen(2)
    with transaction.atomic():
        emit(Happened(tenant_id=acme.id, thing=3, note="x" * 4000))
    happen(2, first=4)
    engine.largest_request = 4000
    drain()
    assert engine.seqs(dashboard) == [1, 2, 4, 5]
    assert DeadLetter.objects.get().event.entry.seq == 3


def test_a_batch_that_takes_too_long_is_tried_with_half_of_it(engine, happen, monkeypatch):
    happen(4)
    numbering.number()
    pusher = pushing.Pusher(_push_lease())
    pusher._batch = 4

    def too_slow(commands, timeout=None):
        raise EngineTimeout("The engine did not answer in time.")

    with monkeypatch.context() as slow:
        slow.setattr(engine_client, "push", too_slow)
        with pytest.raises(EngineTimeout):
            pusher.push()
    assert pusher.push() == 2
    assert pusher._batch == 4
    assert pusher.push() == 2


def test_a_relay_that_lost_its_lease_can_move_nothing(engine, happen):
    happen(1)
    numbering.number()
    old = _push_lease()
    Cursor.objects.filter(name=PUSH).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    new = cursors.take(PUSH, 60)
    with pytest.raises(cursors.LeaseLost):
        pushing.Pusher(old).push()
    assert not Push.objects.exists()
    assert Cursor.objects.get(name=PUSH).position == 0
    assert pushing.Pusher(new).push() == 1


def test_two_relays_at_once_lose_and_double_nothing(engine, happen, dashboard):
    """The first is stopped between its push and its record; the second takes over; the first goes on where it stood."""
    happen(5)
    numbering.number(limit=3)
    old = pushing.Pusher(_push_lease())
    engine.lose_answers = 1
    with pytest.raises(EngineAway):
        old.push()
    Cursor.objects.filter(name=PUSH).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    numbering.number()
    new = pushing.Pusher(cursors.take(PUSH, 60))
    assert new.push() == 5
    with pytest.raises(cursors.LeaseLost):
        old.push()
    assert engine.seqs(dashboard) == [1, 2, 3, 4, 5]


def _push_lease() -> cursors.Lease:
    cursors.ensure(PUSH)
    lease = cursors.take(PUSH, 60)
    assert lease
    return lease


def _take_away(user_id, generation: int) -> None:
    with transaction.atomic():
        emit(TakenAway(user_id=user_id, generation=generation))


def test_access_is_taken_away_before_anything_later_goes_out(engine, happen, dashboard):
    bob = uuid4()
    happen(1)
    _take_away(bob, 5)
    happen(1, first=2)
    drain()
    assert engine.journal == [
        f"publish test_happened {dashboard}",
        f"publish test_taken_away {inbox(bob).name}",
        f"disconnect {bob}.4 3014",
        f"publish test_happened {dashboard}",
    ]


def test_the_gate_knows_the_new_generation_before_the_connection_ends(engine, monkeypatch):
    bob = uuid4()
    _take_away(bob, 5)
    monkeypatch.setattr(generations, "write", lambda user, to: engine.journal.append(f"generation {user} {to}"))
    drain()
    assert engine.journal == [
        f"generation {bob} 5",
        f"publish test_taken_away {inbox(bob).name}",
        f"disconnect {bob}.4 3014",
    ]


def test_while_the_gate_cannot_be_told_nothing_goes_out(engine, monkeypatch, happen):
    def away(user, generation):
        raise generations.GenerationsAway("Redis did not take an access generation")

    with monkeypatch.context() as without_redis:
        without_redis.setattr(generations, "write", away)
        _take_away(uuid4(), 5)
        drain()
        assert engine.journal == []
        assert "Redis" in Cursor.objects.get(name=PUSH).last_error
    drain()
    assert len(engine.journal) == 2


def test_connections_are_ended_once_more_two_seconds_later_even_by_another_relay(engine):
    bob = uuid4()
    _take_away(bob, 5)
    drain()
    drain()
    assert engine.disconnected == [f"{bob}.4"]
    due = DueDisconnect.objects.get().due_at
    assert timedelta(seconds=1) < due - timezone.now() <= timedelta(seconds=2)
    eventually(lambda: drain() or len(engine.disconnected) == 2, seconds=5)
    assert timezone.now() >= due
    assert engine.disconnected == [f"{bob}.4"] * 2
    assert not DueDisconnect.objects.exists()


def test_positions_are_read_in_one_request(engine, happen, acme, dashboard):
    happen(3)
    drain()
    engine.requests = 0
    found = engine_client.positions([tenant(acme.id, Topic.DASHBOARD), channels.ADMIN_EVENTS])
    assert engine.requests == 1
    assert found == {
        dashboard: engine_client.Position(offset=3, epoch="stub"),
        "admin:platform:events": engine_client.Position(offset=0, epoch="stub"),
    }


def test_positions_are_unknown_while_the_engine_is_away(engine):
    engine.stop()
    started = time.monotonic()
    assert engine_client.positions([channels.ADMIN_EVENTS]) is None
    assert time.monotonic() - started < 1
