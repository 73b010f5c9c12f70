"""Silences: what they match is quiet while they last, what comes meanwhile too, and then it fires again."""

from datetime import timedelta

import pytest
from django_scopes import scopes_disabled

from events.models import Event
from monitoring.alerting.actions import acknowledge, raise_alert, resolve_alert
from monitoring.alerting.incoming import LABELS_KEPT
from monitoring.alerting.models import Silence
from monitoring.alerting.silences import InvalidSilence, create_silence, end_expired, end_silence, silence_alert
from monitoring.alerting.transitions import NotOpen, StaleVersion
from monitoring.tests.conftest import NOON, fresh_alert, raised, said_of_alerts, states_said

pytestmark = pytest.mark.django_db
DATABASES = [{"label": "instance", "op": "~", "value": "db-*"}]
LATER = NOON + timedelta(hours=2)


def silence_states(tenant) -> list[str]:
    with scopes_disabled():
        found = Event.objects.filter(tenant=tenant, type="silence_updated").order_by("id")
        return [payload["state"] for payload in found.values_list("payload", flat=True)]


def test_what_matches_is_silent_now_and_what_comes_too(acme, globex, alice, clock):
    before = raise_alert(acme, raised("db"))
    web = raise_alert(acme, raised("web", labels={"instance": "web-1"}))
    other = raise_alert(globex, raised("db"))
    create_silence(acme, DATABASES, "Maintenance", LATER, alice.user)
    after = raise_alert(acme, raised("new", labels={"instance": "db-2"}))
    states = [fresh_alert(alert).state for alert in (before, web, other, after)]
    assert states == ["silenced", "firing", "firing", "silenced"]
    facts = said_of_alerts(acme)[-1]["metadata"]["silence"]
    assert (facts["by"], facts["reason"], facts["until"]) == ("Alice", "Maintenance", "2026-11-23T14:00:00.000Z")
    assert said_of_alerts(acme)[-1]["metadata"]["previous"] == "", "it came silent: nobody need be told"


def test_when_it_ends_what_it_silenced_fires_again(acme, alice, clock):
    raise_alert(acme, raised("db"))
    create_silence(acme, DATABASES, "Maintenance", LATER, alice.user)
    clock.move(hours=1, minutes=59)
    assert end_expired() == 0
    clock.move(minutes=1)
    assert end_expired() == 1
    assert end_expired() == 0
    assert states_said(acme) == ["firing", "silenced", "firing"]
    assert silence_states(acme) == ["active", "ended"]


def test_undoing_it_brings_back_what_was(acme, alice, clock):
    alert = raise_alert(acme, raised("db"))
    acknowledge(alert, alice.user)
    silence = silence_alert(alert, "By mistake", LATER, alice.user)
    assert fresh_alert(alert).state == "silenced"
    end_silence(silence, by=alice.user)
    end_silence(silence, by=alice.user)
    assert states_said(acme) == ["firing", "acknowledged", "silenced", "acknowledged"]
    assert silence_states(acme) == ["active", "ended"]


def test_under_two_silences_it_stays_silent_until_both_have_ended(acme, alice, clock):
    alert = raise_alert(acme, raised("db"))
    first = create_silence(acme, DATABASES, "One", LATER, alice.user)
    second = create_silence(
        acme, [{"label": "alertname", "op": "=", "value": "Backup failed"}], "Two", LATER, alice.user
    )
    end_silence(first, by=alice.user)
    assert fresh_alert(alert).silence == second
    assert fresh_alert(alert).state == "silenced"
    end_silence(second, by=alice.user)
    assert fresh_alert(alert).state == "firing"


def test_one_that_is_to_end_with_its_alerts_does_with_the_last_of_them(acme, alice, clock):
    for key in ("one", "other"):
        raise_alert(acme, raised(key))
    silence = create_silence(acme, DATABASES, "Until fixed", LATER, alice.user, ends_on_resolve=True)
    resolve_alert(acme, "one")
    with scopes_disabled():
        assert Silence.objects.get(pk=silence.pk).is_active
        resolve_alert(acme, "other")
        assert not Silence.objects.get(pk=silence.pk).is_active
    clock.move(minutes=1)
    assert raise_alert(acme, raised("one")).state == "firing"


def test_a_silence_of_one_alert_is_about_its_name_and_labels_however_loud_it_gets(acme, alice, clock):
    alert = raise_alert(acme, raised("db"))
    silence = silence_alert(alert, "Known", LATER, alice.user)
    assert str(silence) == "alertname=Backup failed instance=db-1"
    raise_alert(acme, raised("db", severity="critical"))
    assert fresh_alert(alert).state == "silenced"
    assert raise_alert(acme, raised("other", name="Disk full")).state == "firing"


def test_what_is_over_or_has_changed_is_not_silenced(acme, alice, clock):
    """A silence that ends with its alerts would be about the next firing, and nobody would hear of that."""
    alert = raise_alert(acme, raised("db"))
    with pytest.raises(StaleVersion):
        silence_alert(alert, "Known", LATER, alice.user, expected_version=7)
    resolve_alert(acme, "db")
    with pytest.raises(NotOpen):
        silence_alert(alert, "Known", LATER, alice.user)
    clock.move(minutes=5)
    assert raise_alert(acme, raised("db")).state == "firing"
    assert silence_states(acme) == []


def test_an_alert_with_as_many_labels_as_there_may_be_is_silenced_by_itself(acme, alice, clock):
    alert = raise_alert(acme, raised("db", labels={f"label_{number}": "x" for number in range(LABELS_KEPT)}))
    silence_alert(alert, "Known", LATER, alice.user)
    assert fresh_alert(alert).state == "silenced"


@pytest.mark.parametrize(
    ("matchers", "reason", "until", "field"),
    [
        ([], "Why", LATER, "matchers"),
        ([{"label": "instance", "op": "=~", "value": "x"}], "Why", LATER, "matchers"),
        ([{"label": "", "op": "=", "value": "x"}], "Why", LATER, "matchers"),
        ([{"label": "instance", "op": "~", "value": "*"}], "Why", LATER, "matchers"),
        (DATABASES, "  ", LATER, "reason"),
        (DATABASES, "Why", NOON, "expiresAt"),
        (DATABASES, "Why", NOON + timedelta(days=91), "expiresAt"),
    ],
)
def test_a_silence_that_cannot_be_says_which_field(acme, alice, clock, matchers, reason, until, field):
    with pytest.raises(InvalidSilence) as refused:
        create_silence(acme, matchers, reason, until, alice.user)
    assert refused.value.field == field
    assert silence_states(acme) == []
