"""How the platform's health is judged, remembered, and told."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_scopes import scopes_disabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import cursors, engine_client, handling, numbering
from events.cursors import PUSH
from events.emit import emit
from events.heartbeats import Process
from events.models import Cursor, DeadLetter, Entry, Event
from portal.events import HealthUpdate
from portal.models import PlatformHealth
from portal.ops import health
from portal.ops.guides import guide_to
from portal.ops.health import Health, Part, State

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def engine(monkeypatch, settings) -> Iterator[dict]:
    settings.REDIS_URL = ""
    nodes = [{"num_clients": 3, "uptime": 60, "version": "1"}, {"num_clients": 4, "uptime": 5, "version": "1"}]
    answer = {"info": {"nodes": nodes}}
    monkeypatch.setattr(engine_client, "push", lambda commands, timeout=None: [answer])
    with scopes_disabled():
        yield answer


def process(kind: str = "relay", is_alive: bool = True, name: str = "one", at: datetime = NOW) -> Process:
    return Process(kind, name, "Active", at, is_alive)


# --- Judging ----------------------------------------------------------------------------------------------------------


def test_a_relay_that_is_heard_is_well():
    assert health.judge_process("relay", [process()]) == Part("relay", detail="Active")


def test_a_silent_relay_says_since_when():
    part = health.judge_process("relay", [process(is_alive=False), process("runner")])
    assert (part.state, part.since) == (State.FAILED, NOW)
    assert "silent since" in part.reason
    assert "15:04:05 UTC" in part.reason


def test_one_runner_of_two_is_enough_and_the_silent_one_is_mentioned():
    part = health.judge_process("runner", [process("runner"), process("runner", is_alive=False, name="two")])
    assert part.is_well
    assert "1 more silent" in part.detail


def test_no_runner_at_all_is_said_so():
    assert health.judge_process("runner", []).reason == "none is running"


def test_without_beat_the_platform_is_only_degraded():
    assert health.judge_process("beat", []).state == State.DEGRADED


def test_the_connections_of_all_nodes_are_counted():
    assert health.look().engine.connections == 7


def test_an_engine_that_is_away_is_named_with_what_was_seen(monkeypatch):
    def away(commands, timeout=None):
        raise engine_client.EngineTimeout("The engine did not answer in time.")

    monkeypatch.setattr(engine_client, "push", away)
    found = health.look()
    assert found.part("engine") == Part("engine", State.FAILED, "the engine did not answer in time")
    assert found.engine.connections is None


def test_an_event_that_has_just_come_makes_nobody_late(log_of_three):
    assert health.look().part(PUSH).is_well


def test_an_event_that_waits_for_long_makes_its_cursor_late(log_of_three):
    Entry.objects.update(numbered_at=timezone.now() - timedelta(minutes=1))
    Cursor.objects.filter(name=PUSH).update(attempts=4, last_error="The engine can't be reached.")
    found = health.look()
    (push,) = (cursor for cursor in found.cursors if cursor.name == PUSH)
    assert (push.lag, push.error) == (3, "The engine can't be reached.")
    part = found.part(PUSH)
    assert part.state == State.DEGRADED
    assert "after 4 failed attempts" in part.reason


def test_cursors_that_nobody_moves_any_more_are_no_part(log_of_three):
    cursors.ensure("handler:long_gone")
    assert {cursor.name for cursor in health.look().cursors} == set(health.consumers())


def test_dead_letters_are_worth_a_look(log_of_three):
    DeadLetter.objects.create(cursor=PUSH, event=Event.objects.first(), error="Too large")
    found = health.look()
    assert found.part("dead_letters").state == State.DEGRADED
    assert found.dead_letters == 1


def test_the_worst_stands_first():
    parts = [Part("a", State.DEGRADED), Part("b"), Part("c", State.FAILED)]
    assert [part.name for part in Health(NOW, parts).problems] == ["c", "a"]


def test_looking_costs_a_few_queries_whatever_there_is(log_of_three):
    with CaptureQueriesContext(connection) as captured:
        health.look()
    assert len(captured) <= 6


def test_every_part_has_a_guide_that_says_what_to_do():
    names = [*health.PROCESSES, "database", "redis", "engine", "dead_letters", *health.consumers()]
    assert all(guide_to(name).remedy for name in names)


@pytest.fixture
def log_of_three(db) -> None:
    """Three events, numbered and not pushed."""
    cursors.ensure(PUSH)
    handling.start_cursors()
    with transaction.atomic():
        for sample in [*HealthUpdate.samples(), next(iter(HealthUpdate.samples()))]:
            emit(sample)
    numbering.number()


# --- Remembering ------------------------------------------------------------------------------------------------------


def said() -> list[dict]:
    return list(Event.objects.filter(type="health_update").order_by("id").values_list("payload", flat=True))


def test_the_first_look_is_told():
    health.note(Health(NOW, [Part("relay")]))
    (told,) = said()
    assert (told["parts"], told["version"]) == ({"relay": "ok"}, 1)


def test_what_stays_as_it_was_is_one_read_and_no_event():
    health.note(Health(NOW, [Part("relay")]))
    with CaptureQueriesContext(connection) as captured:
        health.note(Health(NOW, [Part("relay", detail="another word")]))
    assert len(captured) == 1
    assert len(said()) == 1


def test_a_part_keeps_since_when_it_failed_and_why():
    health.note(Health(NOW, [Part("engine", State.FAILED, "First reason."), Part("relay")]))
    later = NOW + timedelta(minutes=1)
    health.note(Health(later, [Part("engine", State.FAILED, "Another."), Part("relay", State.FAILED, "Silent.")]))
    told = said()[-1]
    assert told["reasons"] == {"engine": "First reason.", "relay": "Silent."}
    assert told["since"] == {"engine": "2026-11-23T15:04:05.000Z", "relay": "2026-11-23T15:05:05.000Z"}


def test_a_page_says_since_when_with_the_same_words():
    health.note(Health(NOW, [Part("engine", State.FAILED, "First reason.")]))
    now = Health(NOW + timedelta(hours=1), [Part("engine", State.FAILED, "Another.")])
    (part,) = health.with_history(now, PlatformHealth.now()).parts
    assert (part.reason, part.since) == ("First reason.", NOW)


STATES = st.sampled_from(list(State))
LOOKS = st.lists(st.dictionaries(st.sampled_from(["engine", "relay", "worker"]), STATES, min_size=1), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(looks=LOOKS)
def test_it_is_told_exactly_when_a_part_changes_and_versions_rise(looks):
    with transaction.atomic():
        expected, before = [], {}
        for number, states in enumerate(looks):
            parts = [Part(name, state, "" if state == State.OK else "Why.") for name, state in states.items()]
            health.note(Health(NOW + timedelta(seconds=number), parts))
            if states != before:
                expected.append({name: str(state) for name, state in states.items()})
                before = states
        told = said()
        assert [one["parts"] for one in told] == expected
        assert [one["version"] for one in told] == list(range(1, len(expected) + 1))
        if told:
            assert HealthUpdate.model_validate(told[-1]) == HealthUpdate.of(PlatformHealth.now())
        transaction.set_rollback(True)
