"""Many look at the same rules and alerts at the same moment, in threads and in processes: each change is one event."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone
from django_scopes import scopes_disabled

from events.models import Event
from monitoring.actions import record
from monitoring.alerting.actions import acknowledge, let_time_pass, raise_alert, resolve_alert
from monitoring.alerting.escalation import escalate_due
from monitoring.alerting.evaluation import evaluate_all, step
from monitoring.alerting.models import OPEN, Alert
from monitoring.alerting.rules import create_policy, create_rule
from monitoring.alerting.silences import create_silence, end_silence
from monitoring.tests.conftest import calls, fresh_alert, measured, raised, said_of_alerts, states_said
from tenants import actions as tenants
from tenants.models import Tenant
from tenants.tests.test_at_once import at_once
from tests.processes import Process, processes
from tests.processes import all_at_once as each_at_once

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 4


def all_at_once(*calls_: Callable[[], object]) -> None:
    assert set(at_once(*calls_)) == {"done"}


def versions(tenant: Tenant | None) -> list[int]:
    return [payload["version"] for payload in said_of_alerts(tenant)]


@pytest.mark.parametrize("whose", ["acme", "the platform"])
def test_four_who_raise_and_resolve_the_same_make_one_event_each(acme, whose):
    owner = acme if whose == "acme" else None
    said = raised()
    all_at_once(*[partial(raise_alert, owner, said)] * MANY)
    assert versions(owner) == [1]
    all_at_once(*[partial(resolve_alert, owner, "backup")] * MANY)
    assert states_said(owner) == ["firing", "resolved"]


def test_four_pulses_come_to_one_firing_and_one_call(acme, alice):
    steps = [{"after_seconds": 0, "people": [], "ways": ["email"]}]
    create_policy(acme, alice.user, name="At once", steps=steps, is_default=True)
    for number in range(5):
        create_rule(acme, alice.user, name=f"Rule {number}", metric="cpu", threshold=1.0)
    record(acme, [measured("cpu", 7.0)])
    all_at_once(*[partial(evaluate_all, timezone.now())] * MANY)
    assert versions(acme) == [1] * 5
    all_at_once(*[partial(escalate_due, timezone.now())] * MANY)
    assert len(calls(acme)) == 5


def test_alice_acknowledges_while_it_is_resolved(acme, alice):
    for number in range(5):
        alert = raise_alert(acme, raised(f"key {number}"))
        at_once(partial(acknowledge, alert, alice.user), partial(resolve_alert, acme, f"key {number}"))
        states = [one["state"] for one in said_of_alerts(acme) if one["alertId"] == str(alert.pk)]
        assert states in (["firing", "resolved"], ["firing", "acknowledged", "resolved"])
        assert fresh_alert(alert).version == len(states)


def test_what_comes_while_somebody_silences_is_silent(acme, alice):
    matchers = [{"label": "instance", "op": "=", "value": "db-1"}]
    until = timezone.now() + timedelta(hours=1)
    silence = partial(create_silence, acme, matchers, "Maintenance", until, alice.user)
    all_at_once(silence, *(partial(raise_alert, acme, raised(f"key {n}")) for n in range(MANY)))
    with scopes_disabled():
        assert set(Alert.objects.values_list("state", flat=True)) == {"silenced"}
        one = Alert.objects.first().silence
    all_at_once(*[partial(end_silence, one, alice.user)] * MANY)
    with scopes_disabled():
        assert set(Alert.objects.values_list("state", flat=True)) == {"firing"}
        assert Event.objects.filter(type="silence_updated").count() == 2


def test_a_tenant_is_deleted_while_it_is_looked_at(alice, platform_admin):
    for number in range(3):
        tenant = Tenant.objects.create(slug=f"tenant-{number}", name=f"Tenant {number}")
        create_rule(tenant, None, name="Busy", metric="cpu", threshold=1.0)
        record(tenant, [measured("cpu", 7.0)])
        raise_alert(tenant, raised())
        delete = scopes_disabled()(partial(tenants.delete_tenant, tenant, by=None))
        all_at_once(delete, step, step, let_time_pass)
        with scopes_disabled():
            assert not Alert.objects.filter(tenant_id=tenant.pk).exists()


def test_whatever_happens_at_once_the_row_is_what_its_last_event_says(acme, alice):
    alert = raise_alert(acme, raised())
    until = timezone.now() + timedelta(hours=1)
    matchers = [{"label": "instance", "op": "=", "value": "db-1"}]
    at_once(
        partial(acknowledge, alert, alice.user),
        partial(create_silence, acme, matchers, "Why", until, alice.user),
        partial(raise_alert, acme, raised(severity="critical")),
        partial(acknowledge, alert, alice.user, "Again"),
    )
    now = fresh_alert(alert)
    assert versions(acme) == list(range(1, now.version + 1))
    assert said_of_alerts(acme)[-1]["state"] == now.state == "silenced"
    with scopes_disabled():
        assert Alert.objects.filter(OPEN).count() == 1


# --- Processes of their own -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def four(django_db_setup) -> Iterator[list[Process]]:
    """Each takes a while to start, so they are there for all tests here."""
    with processes(MANY, "monitoring.tests.worker") as found:
        yield found


def histories(tenant: Tenant) -> Counter[tuple[str, ...]]:
    """How often each course of states was said, of one alert from its first version to its last."""
    found: dict[str, list[str]] = {}
    for one in said_of_alerts(tenant):
        states = found.setdefault(one["alertId"], [])
        states.append(one["state"])
        assert one["version"] == len(states), "each version is said once, in order"
    return Counter(map(tuple, found.values()))


def test_four_processes_that_are_told_the_same_raise_and_resolve_each_alert_once(acme, four):
    each_at_once(four, "raise_and_resolve", str(acme.pk), 20, timezone.now().isoformat())
    assert histories(acme) == {("firing", "resolved"): 20}


def test_four_pulses_make_each_transition_of_a_rule_once(acme, globex, alice, four):
    """They fire, people are called, they are over; killed or not, whoever comes second finds it done."""
    steps = [{"after_seconds": 0, "people": [], "ways": ["email"]}]
    for tenant in (acme, globex):
        create_policy(tenant, None, name="At once", steps=steps, is_default=True)
        for number in range(10):
            create_rule(tenant, None, name=f"Rule {number}", metric="cpu", threshold=5.0, aggregate="min")
        record(tenant, [measured("cpu", 7.0)])
    each_at_once(four, "step", 3)
    for tenant in (acme, globex):
        assert histories(tenant) == {("firing",): 10}
        assert Counter(call["alertId"] for call in calls(tenant)).most_common(1)[0][1] == 1
        record(tenant, [measured("cpu", 1.0)])
    assert len(calls(acme)) == 10
    each_at_once(four, "step", 3)
    states = [[one["state"] for one in said_of_alerts(tenant)] for tenant in (acme, globex)]
    assert states == [["firing"] * 10 + ["resolved"] * 10] * 2


def test_of_four_who_acknowledge_what_they_see_one_does(acme, alice, four):
    for number in range(5):
        alert = raise_alert(acme, raised(f"key {number}"))
        assert sorted(each_at_once(four, "acknowledge", str(alert.pk), str(alice.user.pk))) == [False] * 3 + [True]
    assert histories(acme) == {("firing", "acknowledged"): 5}


def test_four_processes_take_each_step_of_an_escalation_once(acme, alice, four):
    steps = [{"after_seconds": after, "people": [], "ways": ["in_app"]} for after in (60, 120)]
    create_policy(acme, alice.user, name="On call", steps=steps, is_default=True)
    for number in range(10):
        raise_alert(acme, raised(f"key {number}"))
    for minutes in (1, 2, 3):
        at = timezone.now() + timedelta(minutes=minutes, seconds=1)
        taken = sum(each_at_once(four, "escalate", at.isoformat()))
        assert taken == (10 if minutes < 3 else 0)
    assert Counter(call["step"] for call in calls(acme)) == {1: 10, 2: 10}
