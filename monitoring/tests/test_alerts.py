"""An alert from firing to resolved: who acts on it, what time does to it, and one event for each change."""

from datetime import timedelta

import pytest
from django_scopes import scopes_disabled

from accounts.actions import Refused
from events.models import Event
from monitoring.alerting import actions
from monitoring.alerting.actions import (
    ItsSourceDecides,
    TooManyAlerts,
    acknowledge,
    let_time_pass,
    raise_alert,
    resolve_alert,
    resolve_by_hand,
    unacknowledge,
)
from monitoring.alerting.models import Alert, Source
from monitoring.alerting.transitions import NotOpen, StaleVersion
from monitoring.tests.conftest import fresh_alert, raised, said_of_alerts, states_said
from tenants.models import Tenant

pytestmark = pytest.mark.django_db


def count(tenant: Tenant | None) -> int:
    with scopes_disabled():
        return Alert.objects.filter(tenant=tenant).count()


def test_an_alert_is_raised_once_however_often_it_is_said(acme, clock):
    said = raised()
    first = raise_alert(acme, said)
    assert raise_alert(acme, said).pk == first.pk
    (event,) = said_of_alerts(acme)
    assert (event["alertId"], event["version"], event["severity"]) == (str(first.pk), 1, "error")
    assert (event["state"], event["message"]) == ("firing", "No space left.")
    assert event["metadata"]["name"] == "Backup failed"
    assert event["metadata"]["labels"] == {"instance": "db-1"}
    assert event["metadata"]["previous"] == ""


def test_it_goes_to_its_tenant_and_to_the_platforms_admins_and_the_platforms_own_to_them_alone(acme, clock):
    raise_alert(acme, raised())
    raise_alert(None, raised())
    with scopes_disabled():
        of_acme, of_platform = Event.objects.filter(type="alert").order_by("id")
    assert of_acme.channels == [
        f"tenant:{acme.pk}:monitoring",
        "admin:monitoring:alerts",
        "admin:platform:events",
    ]
    assert of_platform.channels == ["system:alerts", "admin:monitoring:alerts", "admin:platform:events"]
    assert of_acme.summary == "Backup failed is firing: No space left."


def test_what_changed_of_an_open_one_is_said_and_is_no_new_alert(acme, clock):
    raise_alert(acme, raised())
    raise_alert(acme, raised(severity="critical", message="Nothing is left."))
    last = said_of_alerts(acme)[-1]
    assert (last["version"], last["severity"], last["metadata"]["previous"]) == (2, "critical", "firing")
    assert last["metadata"]["louder"]
    raise_alert(acme, raised(severity="critical", message="Nothing is left, since noon."))
    assert not said_of_alerts(acme)[-1]["metadata"]["louder"]
    assert count(acme) == 1


def test_it_is_over_when_its_source_says_so_and_a_late_repeat_does_not_bring_it_back(acme, clock):
    said = raised()
    raise_alert(acme, said)
    clock.move(minutes=5)
    over = resolve_alert(acme, "backup")
    assert (over.state, over.resolved_at) == ("resolved", clock.now)
    assert resolve_alert(acme, "backup") is None
    assert raise_alert(acme, said).pk == over.pk
    assert states_said(acme) == ["firing", "resolved"]
    clock.move(minutes=5)
    assert raise_alert(acme, raised()).pk != over.pk


def test_a_late_word_about_an_earlier_firing_ends_nothing(acme, clock):
    earlier = clock.now - timedelta(hours=1)
    raise_alert(acme, raised())
    assert resolve_alert(acme, "backup", raised(started_at=earlier)) is None
    assert states_said(acme) == ["firing"]


def test_an_earlier_firing_repeated_late_opens_nothing(acme, clock):
    earlier = raised()
    raise_alert(acme, earlier)
    resolve_alert(acme, "backup")
    clock.move(minutes=5)
    raise_alert(acme, raised())
    clock.move(hours=2)
    over = resolve_alert(acme, "backup")
    let_time_pass(clock.move(hours=2))
    assert raise_alert(acme, earlier).pk == over.pk
    assert states_said(acme) == ["firing", "resolved"] * 2


def test_our_own_rule_fires_although_the_clock_was_put_back(acme, clock):
    raise_alert(acme, raised(source=Source.RULE))
    resolve_alert(acme, "backup")
    clock.move(minutes=-5)
    assert raise_alert(acme, raised(source=Source.RULE)).is_open


def test_what_flaps_stays_open_and_disturbs_nobody(acme, clock):
    for _ in range(10):
        raise_alert(acme, raised())
        clock.move(seconds=20)
        resolve_alert(acme, "backup")
        clock.move(seconds=20)
    assert states_said(acme) == ["firing", "resolved", "firing"]
    clock.move(seconds=30)
    let_time_pass()
    assert states_said(acme) == ["firing", "resolved", "firing"], "well for 50 s: held for a minute"
    clock.move(seconds=20)
    assert let_time_pass() == 1
    assert let_time_pass() == 0
    assert states_said(acme)[2:] == ["firing", "resolved"]


def test_alice_looks_after_it_and_it_says_so(acme, alice, clock):
    alert = raise_alert(acme, raised())
    clock.move(minutes=1)
    alert = acknowledge(alert, alice.user, note="Looking", until=clock.now + timedelta(hours=1))
    said = said_of_alerts(acme)[-1]
    assert (said["state"], said["version"]) == ("acknowledged", 2)
    facts = said["metadata"]
    assert (facts["acknowledgedBy"], facts["note"]) == ("Alice", "Looking")
    assert (facts["until"], facts["startedAt"]) == ("2026-11-23T13:01:00.000Z", "2026-11-23T12:00:00.000Z")
    with scopes_disabled():
        event = Event.objects.filter(type="alert").latest("id")
    assert event.summary == "Alice acknowledged Backup failed"
    assert f"tenant:{acme.pk}:activity" in event.channels
    unacknowledge(alert, alice.user)
    assert states_said(acme) == ["firing", "acknowledged", "firing"]


def test_when_the_time_she_gave_is_up_it_fires_again(acme, alice, clock):
    alert = raise_alert(acme, raised())
    acknowledge(alert, alice.user, until=clock.now + timedelta(minutes=10))
    clock.move(minutes=9)
    assert let_time_pass() == 0
    clock.move(minutes=1)
    assert let_time_pass() == 1
    assert states_said(acme) == ["firing", "acknowledged", "firing"]
    assert fresh_alert(alert).acknowledged_by_name == ""


def test_nobody_acknowledges_what_is_over_or_what_they_have_not_seen_or_until_yesterday(acme, alice, clock):
    alert = raise_alert(acme, raised())
    with pytest.raises(StaleVersion, match="it is firing now"):
        acknowledge(alert, alice.user, expected_version=7)
    with pytest.raises(Refused, match="past"):
        acknowledge(alert, alice.user, until=clock.now)
    resolve_alert(acme, "backup")
    with pytest.raises(NotOpen):
        acknowledge(alert, alice.user)
    assert states_said(acme) == ["firing", "resolved"]


def test_people_resolve_only_what_no_source_resolves(acme, alice, clock):
    by_hand, automatic = raise_alert(acme, raised()), raise_alert(acme, raised("am", source=Source.ALERTMANAGER))
    over = resolve_by_hand(by_hand, alice.user)
    assert said_of_alerts(acme)[-1]["metadata"]["endedWhy"] == "Resolved by Alice"
    assert not over.is_open
    with pytest.raises(ItsSourceDecides, match="Alertmanager says when"):
        resolve_by_hand(automatic, alice.user)


def test_a_tenant_has_so_many_open_ones_and_no_more(acme, globex, clock, settings):
    settings.ALERTS_OPEN_PER_TENANT = 2
    for key in ("a", "b"):
        raise_alert(acme, raised(key))
    with pytest.raises(TooManyAlerts, match="2 alerts are open"):
        raise_alert(acme, raised("c"))
    assert raise_alert(acme, raised("a")).is_open
    assert raise_alert(globex, raised("c")).is_open
    resolve_alert(acme, "a")
    assert raise_alert(acme, raised("c")).is_open


def test_what_could_not_be_stored_is_not_said(acme, clock, monkeypatch):
    monkeypatch.setattr(actions.alert_changed, "send", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        raise_alert(acme, raised())
    assert (count(acme), states_said(acme)) == (0, [])


def test_a_link_that_is_none_is_dropped(acme, clock):
    assert raise_alert(acme, raised(link="javascript:alert(1)")).link == ""
    assert raise_alert(acme, raised("b", link="https://prometheus.example/graph")).link.endswith("/graph")


def test_what_has_been_over_for_long_is_forgotten(acme, clock, settings):
    raise_alert(acme, raised())
    resolve_alert(acme, "backup")
    raise_alert(acme, raised("open"))
    clock.move(days=settings.ALERTS_KEPT_DAYS + 1)
    assert actions.forget_old() == 1
    assert count(acme) == 1
