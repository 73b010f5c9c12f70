"""While an alert fires and nobody acknowledges it, people are called, step by step, and again."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django_scopes import scopes_disabled

from conftest import make_person
from monitoring.alerting import escalation
from monitoring.alerting.actions import acknowledge, let_time_pass, raise_alert, resolve_alert
from monitoring.alerting.escalation import escalate_due
from monitoring.alerting.models import Alert, EscalationPolicy
from monitoring.alerting.rules import create_policy, create_rule, delete_policy, update_policy
from monitoring.tests.conftest import calls, fresh_alert, raised, said_of_alerts
from tenants.actions import remove_member, resume, suspend
from tenants.models import Membership, Role

pytestmark = pytest.mark.django_db


@pytest.fixture
def dora(acme):
    person = make_person("Dora", "dora@acme.example")
    Membership.objects.create(tenant=acme, user=person.user, role=Role.TENANT_ADMIN)
    return person


@pytest.fixture
def on_call(acme, alice, dora) -> EscalationPolicy:
    """After five minutes Dora, after fifteen both admins by mail too, and that again every hour."""
    steps = [
        {"after_seconds": 300, "people": [str(dora.user.pk)], "ways": ["in_app"]},
        {"after_seconds": 900, "people": [], "ways": ["in_app", "email"]},
    ]
    return create_policy(acme, alice.user, name="On call", steps=steps, repeat_seconds=3600, is_default=True)


def wait(clock, **time: float) -> None:
    """Time goes by, a minute at a time."""
    for _ in range(int(timedelta(**time) / timedelta(minutes=1))):
        clock.move(minutes=1)
        let_time_pass()
        escalate_due()


def called(tenant) -> list[tuple[list[str], int]]:
    return [(call["names"], call["step"]) for call in calls(tenant)]


def test_people_are_called_in_turn_and_then_again(acme, dora, on_call, clock):
    alert = raise_alert(acme, raised())
    wait(clock, minutes=4)
    assert called(acme) == []
    wait(clock, minutes=2)
    assert called(acme) == [(["Dora"], 1)]
    wait(clock, minutes=10)
    assert called(acme)[1:] == [(["Alice", "Dora"], 2)]
    wait(clock, hours=2)
    assert called(acme)[2:] == [(["Alice", "Dora"], 3), (["Alice", "Dora"], 4)]
    first, second, *_ = calls(acme)
    assert first["people"] == [str(dora.user.pk)]
    assert (first["ways"], second["ways"]) == (["in_app"], ["in_app", "email"])
    assert [call["version"] for call in calls(acme)] == [2, 3, 4, 5]
    assert (first["alertId"], first["severity"], first["message"]) == (str(alert.pk), "error", "No space left.")


def test_acknowledging_ends_it_and_it_begins_anew_when_that_lapses(acme, alice, on_call, clock):
    alert = raise_alert(acme, raised())
    wait(clock, minutes=6)
    acknowledge(alert, alice.user, until=clock.now + timedelta(hours=3))
    wait(clock, hours=3)
    assert len(called(acme)) == 1
    wait(clock, minutes=5)
    assert called(acme)[1:] == [(["Dora"], 1)]


def test_an_alert_has_the_ids_of_those_called_last(acme, alice, dora, on_call, clock):
    alert = raise_alert(acme, raised())
    wait(clock, minutes=5)
    assert fresh_alert(alert).called == [str(dora.user.pk)]
    acknowledge(alert, alice.user)
    assert said_of_alerts(acme)[-1]["metadata"]["called"] == [str(dora.user.pk)]


def test_names_that_were_stored_before_become_the_ids_of_whoever_alone_is_called_so(acme, alice, dora, clock):
    alert = raise_alert(acme, raised())
    make_person("Dora", "dora@globex.example")
    with scopes_disabled():
        Alert.objects.filter(pk=alert.pk).update(called=["Alice", "Dora", "Gone"], called_at=clock.now)
        import_module("monitoring.migrations.0005_called_by_id").name_by_id(apps, None)
    assert fresh_alert(alert).called == [str(alice.user.pk)]


def test_nobody_is_called_about_what_is_over(acme, on_call, clock):
    raise_alert(acme, raised())
    wait(clock, minutes=4)
    resolve_alert(acme, "backup")
    wait(clock, hours=1)
    assert called(acme) == []


def test_after_hours_of_standing_still_each_step_comes_once_and_gives_time_to_act(acme, on_call, clock):
    raise_alert(acme, raised())
    clock.move(hours=6)
    assert [escalate_due() for _ in range(3)] == [1, 0, 0]
    wait(clock, minutes=9)
    assert [step for _, step in called(acme)] == [1]
    wait(clock, minutes=1)
    assert [step for _, step in called(acme)] == [1, 2]
    wait(clock, minutes=59)
    assert len(called(acme)) == 2, "no repeat is made up for"
    wait(clock, minutes=1)
    assert [step for _, step in called(acme)] == [1, 2, 3]


def test_who_left_is_not_called_and_somebody_always_is(acme, alice, dora, on_call, clock):
    raise_alert(acme, raised())
    with scopes_disabled():
        remove_member(Membership.objects.get(user=dora.user), by=alice.user)
    wait(clock, minutes=6)
    assert called(acme) == [(["Alice"], 1)]


def test_a_rule_may_name_another_policy_and_one_that_is_deleted_calls_nobody(acme, alice, on_call, clock):
    steps = [{"after_seconds": 60, "people": [], "ways": ["email"]}]
    other = create_policy(acme, alice.user, name="At once", steps=steps)
    rule = create_rule(acme, alice.user, name="Busy", metric="cpu", threshold=1.0, policy=other)
    alert = raise_alert(acme, raised(rule=rule))
    assert fresh_alert(alert).policy == other
    delete_policy(other, by=alice.user)
    wait(clock, minutes=5)
    assert called(acme) == []
    assert fresh_alert(alert).escalate_at is None


@pytest.mark.parametrize(
    "steps",
    [None, {}, [1], [{}], [{"after_seconds": "1", "people": [], "ways": ["email"]}]],
)
def test_steps_of_another_shape_are_refused_also_where_a_form_takes_any_json(acme, alice, steps):
    with pytest.raises(ValidationError, match="steps"):
        create_policy(acme, alice.user, name="Odd", steps=steps)


def test_there_is_one_default_and_changes_hold_for_what_is_open(acme, alice, on_call, clock):
    raise_alert(acme, raised())
    steps = [{"after_seconds": 300, "people": [], "ways": ["email"]}]
    other = create_policy(acme, alice.user, name="Other", steps=steps, is_default=True)
    with scopes_disabled():
        assert list(EscalationPolicy.objects.filter(is_default=True)) == [other]
    update_policy(on_call, alice.user, steps=steps)
    wait(clock, minutes=5)
    assert [call["ways"] for call in calls(acme)] == [["email"]]


def test_what_fired_before_there_was_a_policy_goes_by_the_first_default_one(acme, alice, clock):
    firing, taken = raise_alert(acme, raised()), raise_alert(acme, raised("taken"))
    acknowledge(taken, alice.user, until=clock.now + timedelta(hours=2))
    clock.move(hours=1)
    steps = [{"after_seconds": 300, "people": [], "ways": ["in_app"]}]
    create_policy(acme, alice.user, name="Later", steps=steps)
    wait(clock, minutes=1)
    assert called(acme) == [], "that one is for those who name it"
    create_policy(acme, alice.user, name="On call", steps=steps, is_default=True)
    wait(clock, minutes=1)
    assert [call["alertId"] for call in calls(acme)] == [str(firing.pk)], "it has waited for long enough"
    wait(clock, hours=2)
    assert [call["alertId"] for call in calls(acme)] == [str(firing.pk), str(taken.pk)]


def test_who_had_called_everybody_calls_again_when_the_policy_says_so(acme, alice, clock):
    steps = [{"after_seconds": 60, "people": [], "ways": ["in_app"]}]
    policy = create_policy(acme, alice.user, name="On call", steps=steps, is_default=True)
    alert = raise_alert(acme, raised())
    wait(clock, minutes=5)
    assert (len(called(acme)), fresh_alert(alert).escalate_at) == (1, None)
    policy = update_policy(policy, alice.user, repeat_seconds=600)
    wait(clock, minutes=5)
    assert len(called(acme)) == 1
    wait(clock, minutes=1)
    assert len(called(acme)) == 2
    update_policy(policy, alice.user, repeat_seconds=0, steps=[*steps, steps[0] | {"after_seconds": 120}])
    wait(clock, hours=1)
    assert len(called(acme)) == 3, "the call that was planned; then nothing repeats"


def test_nobody_of_a_suspended_tenant_is_called(acme, globex, alice, on_call, clock):
    raise_alert(acme, raised())
    suspend(acme, by=None)
    wait(clock, hours=1)
    assert called(acme) == []
    resume(acme, by=None)
    wait(clock, minutes=1)
    assert [step for _, step in called(acme)] == [1]


def test_who_is_suspended_while_somebody_is_about_to_call_is_not_called(acme, on_call, clock, monkeypatch):
    raise_alert(acme, raised())
    clock.move(minutes=5)
    real = escalation.locked

    def suspended_meanwhile(alert):
        suspend(acme, by=None)
        return real(alert)

    monkeypatch.setattr(escalation, "locked", suspended_meanwhile)
    assert escalate_due() == 0
    assert called(acme) == []


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], "1 to 10"),
        ([{"after_seconds": 60, "people": [], "ways": []}], "ways"),
        ([{"after_seconds": 60, "people": [], "ways": ["pigeon"]}], "ways"),
        ([{"after_seconds": 60, "people": ["bob"], "ways": ["email"]}], "belong here"),
        ([{"after_seconds": n, "people": [], "ways": ["email"]} for n in (60, 30)], "after the one before"),
    ],
)
def test_a_policy_that_cannot_be_says_why(acme, alice, bob, steps, words):
    for step in steps:
        step["people"] = [str(bob.user.pk) for _ in step["people"]]
    with pytest.raises(Exception, match=words):
        create_policy(acme, alice.user, name="On call", steps=steps)


def test_the_platforms_admins_are_called_about_the_platform(platform_admin, clock):
    steps = [{"after_seconds": 60, "people": [], "ways": ["email"]}]
    create_policy(None, platform_admin.user, name="Staff", steps=steps, is_default=True)
    raise_alert(None, raised())
    wait(clock, minutes=1)
    assert called(None) == [(["Ada"], 1)]
