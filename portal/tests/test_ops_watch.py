"""What pulse tells of the platform: its figures, when they change, and never because of itself."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from django_scopes import scopes_disabled

from events import cursors, engine_client, handling, numbering
from events.cursors import PUSH
from events.heartbeats import Heart
from events.models import Cursor, Entry, Event, Heartbeat
from monitoring.alerting.models import OPEN, Alert
from portal.models import PlatformFigures, PlatformHealth
from portal.ops import health, watch
from portal.ops.watch import LATELY_KEPT, Watch
from portal.tests.engine_stub import EngineStub
from tenants import actions as tenants

pytestmark = pytest.mark.django_db


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def engine(monkeypatch, settings) -> Iterator[EngineStub]:
    settings.REDIS_URL = ""
    stub = EngineStub()
    monkeypatch.setattr(engine_client, "push", stub.push)
    for kind in health.PROCESSES:
        Heart(kind).beat()
    cursors.ensure(PUSH)
    handling.start_cursors()
    with scopes_disabled():
        health.note(health.look())  # that every part is well is known and told by now
        yield stub


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    return clock


@pytest.fixture
def one_second(clock):
    """A second in which what was emitted is numbered, pushed and handled, and then a look."""
    watching = Watch()

    def pass_by(*, handled: bool = True) -> None:
        while numbering.number().is_due:
            pass
        if handled:
            Cursor.objects.update(position=Entry.objects.count())
        clock.now += 1.0
        watching.step()

    return pass_by


def told() -> list[dict]:
    events = Event.objects.filter(type="metrics_update", tenant=None).order_by("id")
    return [event.payload for event in events]


def test_the_first_look_tells_the_figures(one_second):
    one_second()
    (first,) = told()
    assert first["metrics"]["connections"] == 5
    assert first["metrics"]["push_lag"] == 0
    assert first["version"] == 1


def test_where_nothing_happens_nothing_more_is_told(one_second):
    for _ in range(10):
        one_second()
    assert len(told()) == 1


def test_events_of_others_are_counted_and_then_it_is_quiet_again(one_second, acme):
    one_second()
    one_second()
    for number in range(20):
        tenants.create_api_key(acme, f"key {number}", ["events:read"], by=None)
    for _ in range(4):
        one_second()
    assert [one["metrics"]["events_per_second"] for one in told()] == [0, 20, 0]


def test_versions_rise_and_the_row_says_what_the_last_event_says(one_second, engine):
    for connections in (5, 6, 6, 9):
        engine.connections = connections
        one_second()
    assert [one["version"] for one in told()] == [1, 2, 3]
    row = PlatformFigures.now()
    assert (row.metrics, row.version) == (told()[-1]["metrics"], 3)


def test_an_event_on_its_way_is_no_lag_and_one_that_waits_is(one_second, acme):
    one_second()
    tenants.create_api_key(acme, "ci", ["events:read"], by=None)
    one_second(handled=False)
    assert told()[-1]["metrics"]["push_lag"] == 0
    Entry.objects.update(numbered_at=timezone.now() - timedelta(minutes=1))
    one_second(handled=False)
    assert told()[-1]["metrics"]["push_lag"] > 0


def test_while_nothing_can_arrive_figures_are_kept_and_told_once_it_can(one_second, engine):
    one_second()
    engine.is_away = True
    for _ in range(5):
        one_second()
    assert len(told()) == 1
    assert "connections" not in PlatformFigures.now().metrics
    engine.is_away, engine.connections = False, 2
    one_second()
    assert told()[-1]["metrics"]["connections"] == 2
    assert told()[-1]["version"] == PlatformFigures.now().version


def test_the_small_chart_keeps_so_many_values_and_no_more(db):
    for number in range(LATELY_KEPT + 5):
        watch.say({"events_per_second": float(number)}, timezone.now(), emitting=False)
    lately = PlatformFigures.now().lately
    assert len(lately) == LATELY_KEPT
    assert lately[-1][1] == LATELY_KEPT + 4


def test_a_part_that_is_not_well_for_long_enough_is_an_alert_until_it_is(one_second, engine, settings):
    settings.PLATFORM_ALERT_AFTER_SECONDS = 60
    engine.is_away = True
    one_second()
    assert not alerts_about("engine"), "it may be back in a moment"
    settings.PLATFORM_ALERT_AFTER_SECONDS = 0
    one_second()
    one_second()
    (alert,) = alerts_about("engine")
    assert (alert.tenant, alert.name, alert.severity, alert.state) == (None, "Engine", "critical", "firing")
    engine.is_away = False
    one_second()
    assert [one.state for one in alerts_about("engine")] == ["resolved"]


def alerts_about(part: str) -> list[Alert]:
    return list(Alert.objects.filter(tenant=None, labels={"part": part}))


# --- One cause, one alert ---------------------------------------------------------------------------------------------

HANDLERS = [handler.cursor for handler in handling.all_handlers()]


def open_parts() -> list[str]:
    """What alerts are open about, by the parts' names."""
    return sorted(alert.labels["part"] for alert in Alert.objects.filter(OPEN, tenant=None))


def kill(kind: str) -> None:
    long_ago = timezone.now() - timedelta(minutes=1)
    Heartbeat.objects.filter(kind=kind).update(at=long_ago, expires_at=long_ago)


def let_wait(*names: str) -> None:
    """Let what is in the log have waited for these for a minute, and the other consumers be through with it."""
    Entry.objects.update(numbered_at=timezone.now() - timedelta(minutes=1))
    Cursor.objects.exclude(name__in=names).update(position=Entry.objects.count())


@pytest.fixture
def at_once(settings, one_second, acme) -> None:
    """Parts are alerts at once, and there is something in the log."""
    settings.PLATFORM_ALERT_AFTER_SECONDS = 0
    one_second()
    tenants.create_api_key(acme, "ci", ["events:read"], by=None)
    one_second(handled=False)


def test_a_killed_worker_is_one_alert_and_what_waits_for_it_is_shown(at_once, one_second):
    kill("worker")
    let_wait(*HANDLERS)
    for _ in range(3):
        one_second(handled=False)
    assert open_parts() == ["worker"]
    parts = PlatformHealth.now().parts
    assert {parts[name]["state"] for name in HANDLERS} == {"degraded"}
    assert all("events wait since" in parts[name]["reason"] for name in HANDLERS)


def test_a_handler_that_is_still_stuck_when_the_worker_is_back_is_an_alert_of_its_own(at_once, one_second, settings):
    kill("worker")
    let_wait(*HANDLERS)
    one_second(handled=False)
    settings.PLATFORM_ALERT_AFTER_SECONDS = 60
    Heart("worker").beat()
    back_at = timezone.now()
    one_second(handled=False)
    assert open_parts() == [], "it has the time that every part has, to go through what waited"
    let_wait(HANDLERS[0])
    settings.PLATFORM_ALERT_AFTER_SECONDS = 0
    one_second(handled=False)
    assert open_parts() == [HANDLERS[0]]
    (alert,) = alerts_about(HANDLERS[0])
    assert alert.started_at > back_at - timedelta(seconds=1)
    assert "events wait since" in alert.message


def test_a_handler_that_is_stuck_while_the_worker_lives_is_an_alert_that_stays_when_the_worker_dies(
    at_once, one_second
):
    let_wait(HANDLERS[0])
    one_second(handled=False)
    assert open_parts() == [HANDLERS[0]]
    kill("worker")
    one_second(handled=False)
    assert open_parts() == [HANDLERS[0], "worker"]
    one_second()
    assert open_parts() == ["worker"], "the handler is well"


def test_while_the_engine_is_away_the_push_that_waits_is_no_second_alert(at_once, one_second, engine):
    engine.is_away = True
    let_wait(PUSH)
    one_second(handled=False)
    assert open_parts() == ["engine"]
    engine.is_away = False
    one_second(handled=False)
    assert open_parts() == [PUSH]
