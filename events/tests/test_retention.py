"""The log is kept as long as the settings say, and longer for whoever has not read it."""

from datetime import timedelta

import pytest
from django.utils import timezone
from django_scopes import scopes_disabled

from events import cursors, handling, log, numbering, relay, retention
from events.cursors import PUSH
from events.handling import handler
from events.models import Cursor, DeadLetter, Entry, Event, Push

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_other_handlers(monkeypatch):
    monkeypatch.setattr(handling, "_HANDLERS", {})


def age(days: int, **which) -> None:
    with scopes_disabled():
        Event.objects.filter(**which).update(occurred_at=timezone.now() - timedelta(days=days))


def left() -> list[int]:
    return list(Entry.objects.values_list("seq", flat=True))


def test_what_is_past_its_days_goes_and_what_is_not_stays(engine, happen, monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 2)
    happen(6)
    relay.drain_once(seconds=30)
    age(31, entry__seq__lte=5)
    assert retention.prune() == 5
    assert left() == [6]
    assert (log.oldest_seq(), log.newest_seq()) == (6, 6)


def test_what_is_no_log_line_and_no_metric_is_kept_longer(engine, happen):
    happen(2)
    relay.drain_once(seconds=30)
    with scopes_disabled():
        Event.objects.filter(entry__seq=1).update(type="test_rare")
    age(399)
    assert retention.prune() == 1
    assert left() == [1]
    age(401)
    retention.prune()
    assert left() == []


def test_nothing_goes_that_a_cursor_has_not_passed(happen):
    handler("slow", types=["test_happened"])(lambda event, seq: None)
    handling.start_cursors()
    cursors.ensure(PUSH)
    happen(4)
    numbering.number()
    age(500)
    assert retention.prune() == 0
    Cursor.objects.filter(name=PUSH).update(position=4)
    assert retention.prune() == 0
    Cursor.objects.filter(name="handler:slow").update(position=2)
    assert retention.prune() == 2
    assert left() == [3, 4]


def test_a_handler_that_is_no_more_holds_nothing_back(happen):
    cursors.ensure(PUSH, position=2)
    cursors.ensure("handler:gone")
    happen(2)
    numbering.number()
    age(500)
    assert retention.prune() == 2


def test_what_is_not_numbered_yet_stays(happen):
    cursors.ensure(PUSH)
    happen(1)
    age(500)
    assert retention.prune() == 0


def test_what_a_dead_letter_waits_with_stays_until_it_is_resolved(engine, happen, alice):
    events = happen(2)
    relay.drain_once(seconds=30)
    letter = DeadLetter.objects.create(cursor=PUSH, event=events[0], channel="x", error="refused")
    DeadLetter.objects.create(cursor=PUSH, event=events[1], channel="x", error="refused", resolution="skipped")
    age(500)
    assert retention.prune() == 1
    assert left() == [1]
    letter.resolution = "skipped"
    letter.save()
    assert retention.prune() == 1


def test_outcomes_of_batches_go_with_their_last_entry(engine, happen):
    happen(1)
    relay.drain_once(seconds=30)
    happen(2, first=2)
    relay.drain_once(seconds=30)
    age(500, entry__seq__lte=2)
    retention.prune()
    assert [str(push) for push in Push.objects.all()] == ["2 to 3"]
