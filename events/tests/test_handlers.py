"""Each handler acts on its own types, in order, at its own pace; one that fails holds nobody else up for ever."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from events import actions, cursors, handling, numbering, tasks
from events.emit import emit
from events.handling import Handler, handler
from events.journey import journey
from events.models import Cursor, DeadLetter, Handled
from events.tests.conftest import TakenAway

pytestmark = pytest.mark.django_db(transaction=True)


class Broken(Exception):
    """What a handler fails with."""


@pytest.fixture
def only(monkeypatch):
    """No handlers but those of the test."""
    monkeypatch.setattr(handling, "_HANDLERS", {})


@pytest.fixture
def seen(only) -> list[int]:
    """The things a handler named "see" was told of."""
    things: list[int] = []

    @handler("see", types=["test_happened"])
    def see(event, seq):
        things.append(event.payload["thing"])

    handling.start_cursors()
    return things


@pytest.fixture
def failing(only) -> dict[int, int]:
    """How often the handler "fail", which can't stand the number 13, was called for each thing."""
    calls: dict[int, int] = {}

    @handler("fail", types=["test_happened"])
    def fail(event, seq):
        thing = event.payload["thing"]
        calls[thing] = calls.get(thing, 0) + 1
        if thing == 13 and calls[thing] < 100:
            raise Broken("no thirteen")

    handling.start_cursors()
    return calls


def drain(name: str) -> None:
    while numbering.number().is_due:
        pass
    handling.drain(handling.get(name), seconds=30)


def try_again_now(name: str) -> None:
    Cursor.objects.filter(name=f"handler:{name}").update(next_try_at=timezone.now() - timedelta(seconds=1))
    drain(name)


def test_a_handler_is_called_for_its_types_in_order(seen, happen, acme):
    happen(3)
    with transaction.atomic():
        emit(TakenAway(user_id=acme.id, generation=2))
    happen(1, first=4)
    drain("see")
    assert seen == [1, 2, 3, 4]
    assert Cursor.objects.get(name="handler:see").position == 5
    drain("see")
    assert seen == [1, 2, 3, 4]


def test_a_new_handler_starts_with_what_happens_from_then_on(only, happen):
    happen(2)
    numbering.number()
    told = []
    handler("late", types=["test_happened"])(lambda event, seq: told.append(seq))
    handling.start_cursors()
    happen(1)
    drain("late")
    assert told == [3]


def test_a_failing_handler_waits_longer_each_time_and_keeps_the_order(failing, happen):
    happen(2, first=12)
    happen(1, first=14)
    drain("fail")
    assert failing == {12: 1, 13: 1}
    cursor = Cursor.objects.get(name="handler:fail")
    assert (cursor.attempts, cursor.last_error) == (1, "Broken: no thirteen")
    drain("fail")
    assert failing == {12: 1, 13: 1}
    try_again_now("fail")
    assert failing == {12: 1, 13: 2}
    cursor.refresh_from_db()
    assert timedelta(seconds=1) < cursor.next_try_at - timezone.now() <= timedelta(seconds=2)


def test_a_handler_that_recovers_goes_on_and_its_journey_counts_the_attempts(failing, happen):
    (event,) = happen(1, first=13)
    drain("fail")
    assert journey(event)[-1].text == "Waits for handler fail: the cursor is at 0, because Broken: no thirteen"
    failing[13] = 99
    try_again_now("fail")
    assert Handled.objects.get().attempts == 2
    assert journey(event)[-1].text == "Handled by fail, attempt 2"


def test_after_the_last_attempt_it_is_a_dead_letter_and_the_next_event_is_handled(failing, happen, settings):
    settings.HANDLER_MAX_ATTEMPTS = 3
    (event,) = happen(1, first=13)
    happen(1, first=14)
    drain("fail")
    try_again_now("fail")
    try_again_now("fail")
    assert failing == {13: 3, 14: 1}
    letter = DeadLetter.objects.get()
    assert (letter.cursor, letter.event, letter.attempts) == ("handler:fail", event, 3)
    assert journey(event)[-1].text == "Handler fail failed after 3 attempts: Broken: no thirteen"


def test_a_dead_letter_of_a_handler_is_handled_later_or_skipped(failing, happen, settings, alice):
    settings.HANDLER_MAX_ATTEMPTS = 1
    (event,) = happen(1, first=13)
    drain("fail")
    letter = DeadLetter.objects.get()
    with pytest.raises(actions.StillFailing, match="no thirteen"):
        actions.retry(letter, by=alice.user)
    failing[13] = 99
    actions.retry(letter, by=alice.user)
    assert journey(event)[-1].text == "Handler fail failed (Broken: no thirteen), delivered later by Alice"


def test_a_skipped_dead_letter_stays_in_the_journey(failing, happen, settings, alice):
    settings.HANDLER_MAX_ATTEMPTS = 1
    (event,) = happen(1, first=13)
    drain("fail")
    actions.skip(DeadLetter.objects.get(), by=alice.user)
    assert failing == {13: 1}
    assert journey(event)[-1].text == "Handler fail failed (Broken: no thirteen), skipped by Alice"


def test_a_stuck_handler_holds_no_other_back(failing, happen):
    told = []
    handler("other", types=["test_happened"])(lambda event, seq: told.append(seq))
    handling.start_cursors()
    happen(2, first=13)
    drain("fail")
    drain("other")
    assert told == [1, 2]


def test_two_workers_do_not_call_the_same_handler_at_once(seen, happen):
    happen(1)
    numbering.number()
    lease = cursors.take("handler:see", 60)
    handling.drain(handling.get("see"), seconds=30)
    assert seen == []
    lease.release()
    handling.drain(handling.get("see"), seconds=30)
    assert seen == [1]


def test_a_worker_that_lost_its_lease_while_it_worked_moves_nothing(only, happen, caplog):
    def slow(event, seq):
        Cursor.objects.filter(name="handler:slow").update(fence=99)

    handler("slow", types=["test_happened"])(slow)
    handling.start_cursors()
    happen(1)
    drain("slow")
    assert Cursor.objects.get(name="handler:slow").position == 0
    assert "took longer" in caplog.text


def test_a_wake_up_numbers_and_wakes_only_those_who_have_work(seen, happen, monkeypatch):
    woken = []
    monkeypatch.setattr(tasks.run_handler, "apply_async", lambda names, expires: woken.extend(names))
    tasks.wake_handlers()
    assert woken == []
    happen(1)
    tasks.wake_handlers()
    assert woken == ["see"]
    tasks.run_handler("see")
    assert seen == [1]
    tasks.wake_handlers()
    assert woken == ["see"]


@pytest.mark.parametrize("glance", [0, 1, 100])
def test_who_has_nothing_to_do_with_what_came_is_not_woken_for_it(seen, happen, acme, monkeypatch, glance):
    woken = []
    monkeypatch.setattr(tasks.run_handler, "apply_async", lambda names, expires: woken.extend(names))
    monkeypatch.setattr(handling, "GLANCE", glance)
    handler("others", types=["test_taken_away"])(lambda event, seq: None)
    handling.start_cursors()
    happen(2)
    tasks.wake_handlers()
    is_seen_at_once = glance == 100
    assert woken == (["see"] if is_seen_at_once else ["others", "see"])
    assert Cursor.objects.get(name="handler:others").position == (2 if is_seen_at_once else 0)


def test_the_cursor_of_who_is_at_work_is_left_alone(seen, happen, acme):
    lease = cursors.take("handler:see", 60)
    with transaction.atomic():
        emit(TakenAway(user_id=acme.id, generation=2))
    numbering.number()
    assert handling.with_work() == []
    assert Cursor.objects.get(name="handler:see").position == 0
    lease.release()
    assert handling.with_work() == []
    assert Cursor.objects.get(name="handler:see").position == 1


def test_a_name_belongs_to_one_handler(seen):
    with pytest.raises(TypeError, match="see"):
        handler("see", types=["test_happened"])(lambda event, seq: None)
    assert isinstance(handling.get("see"), Handler)
