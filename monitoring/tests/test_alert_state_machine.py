"""Whatever sources, people and time do, in any order: the row follows from its facts, and each change is one event."""

from contextlib import suppress
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_scopes import scopes_disabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.actions import Refused
from monitoring.alerting import escalation, silences
from monitoring.alerting.actions import (
    acknowledge,
    let_time_pass,
    raise_alert,
    resolve_alert,
    resolve_by_hand,
    unacknowledge,
)
from monitoring.alerting.models import Alert, Silence, State
from monitoring.alerting.rules import create_policy
from monitoring.tests.conftest import calls, raised, said_of_alerts

pytestmark = pytest.mark.django_db
KEYS = ["one", "other"]
#: By the state before: what may come of it. The same again: severity, message or note changed.
ALLOWED = {
    "": {"firing", "silenced"},
    "firing": {"firing", "acknowledged", "silenced", "resolved"},
    "acknowledged": {"acknowledged", "firing", "silenced", "resolved"},
    "silenced": {"silenced", "firing", "acknowledged", "resolved"},
    "resolved": set(),
}
WHAT = [
    "raise",
    "louder",
    "resolve",
    "by_hand",
    "acknowledge",
    "for_a_while",
    "unacknowledge",
    "silence",
    "end",
    "time",
]


class World:
    """One tenant's alerts, and somebody who acts on them."""

    def __init__(self, tenant, by, clock) -> None:
        self.tenant, self.by, self.clock = tenant, by, clock

    def do(self, what: str, key: str) -> None:
        with suppress(Refused), transaction.atomic():
            getattr(self, f"_{what}")(key)

    def newest(self, key: str) -> Alert:
        found = Alert.objects.filter(key=key).order_by("-id").first()
        if found is None:
            raise Refused("There is none.")
        return found

    def _raise(self, key):
        raise_alert(self.tenant, raised(key))

    def _louder(self, key):
        raise_alert(self.tenant, raised(key, severity="critical"))

    def _resolve(self, key):
        resolve_alert(self.tenant, key)

    def _by_hand(self, key):
        resolve_by_hand(self.newest(key), self.by)

    def _acknowledge(self, key):
        acknowledge(self.newest(key), self.by)

    def _for_a_while(self, key):
        acknowledge(self.newest(key), self.by, until=timezone.now() + timedelta(minutes=3))

    def _unacknowledge(self, key):
        unacknowledge(self.newest(key), self.by)

    def _silence(self, key):
        until = timezone.now() + timedelta(minutes=4)
        silences.silence_alert(self.newest(key), "Why", until, self.by, ends_on_resolve=key == "one")

    def _end(self, key):
        if found := Silence.objects.order_by("-id").first():
            silences.end_silence(found, self.by)

    def _time(self, key):
        self.clock.move(minutes=2)
        silences.end_expired()
        let_time_pass()
        escalation.escalate_due()


@given(st.lists(st.tuples(st.sampled_from(WHAT), st.sampled_from(KEYS)), max_size=16))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_history_is_one_the_states_allow(acme, alice, clock, history):
    with transaction.atomic(), scopes_disabled():
        steps = [{"after_seconds": 60, "people": [], "ways": ["in_app"]}]
        create_policy(acme, alice.user, name="P", steps=steps, repeat_seconds=120, is_default=True)
        world = World(acme, alice.user, clock)
        for what, key in history:
            world.do(what, key)
            expect_rows_to_follow_from_their_facts()
        expect_one_event_for_each_change(acme)
        connection.check_constraints()
        transaction.set_rollback(True)


def expect_rows_to_follow_from_their_facts() -> None:
    for alert in Alert.objects.select_related("silence", "policy"):
        assert alert.state == alert.state_now(timezone.now()) or alert.acknowledged_until
        assert alert.silence is None or not alert.is_open or alert.silence.is_active
        assert (alert.escalate_at is not None) == (alert.state == State.FIRING)
    still_open = [alert.key for alert in Alert.objects.exclude(state="resolved")]
    assert len(still_open) == len(set(still_open))


def expect_one_event_for_each_change(tenant) -> None:
    said = said_of_alerts(tenant)
    for alert in Alert.objects.all():
        mine = [one for one in said if one["alertId"] == str(alert.pk)]
        versions = [one["version"] for one in [*mine, *calls(tenant)] if one["alertId"] == str(alert.pk)]
        assert sorted(versions) == list(range(1, alert.version + 1))
        assert mine[-1]["state"] == alert.state
        assert mine[0]["metadata"]["previous"] == ""
        assert [one["metadata"]["previous"] for one in mine[1:]] == [one["state"] for one in mine[:-1]]
        assert all(now["state"] in ALLOWED[then["state"]] for then, now in pairwise(mine))
