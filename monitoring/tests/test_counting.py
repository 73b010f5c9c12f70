"""Every stored sample is counted in exactly one `samples_stored`, at most one a minute a tenant."""

from datetime import timedelta

import pytest
from django_scopes import scopes_disabled

from events.models import Event
from monitoring import actions
from monitoring.actions import record
from monitoring.tests.conftest import NOON, measured
from tenants.models import Tenant
from tenants.tests.test_at_once import at_once

pytestmark = pytest.mark.django_db


def counts(tenant: Tenant) -> list[int]:
    with scopes_disabled():
        found = Event.objects.filter(tenant=tenant, type="samples_stored").order_by("id")
        return [payload["count"] for payload in found.values_list("payload", flat=True)]


def test_the_first_are_told_soon_and_the_next_a_minute_later(acme, globex, clock):
    record(acme, [measured("load_1m", float(n)) for n in range(3)])
    assert actions.say_how_many_were_stored() == 1
    clock.move(seconds=30)
    record(acme, [measured("load_1m", 1.0)])
    record(globex, [measured("load_1m", 1.0)])
    assert actions.say_how_many_were_stored() == 1
    clock.move(seconds=30)
    record(acme, [measured("load_1m", 2.0)])
    assert actions.say_how_many_were_stored() == 1
    assert actions.say_how_many_were_stored() == 0
    assert (counts(acme), counts(globex)) == ([3, 2], [1])


def test_what_was_known_or_late_is_counted_as_it_was_stored(acme, clock):
    batch = [measured("load_1m", 1.0), measured("load_1m", 2.0, NOON - timedelta(hours=1))]
    record(acme, batch)
    record(acme, batch)
    clock.move(minutes=1)
    record(acme, [measured("load_1m", 3.0, NOON - timedelta(hours=2))])
    actions.say_how_many_were_stored()
    assert counts(acme) == [3]


def test_nobody_hears_of_it_but_other_apps(acme, clock):
    record(acme, [measured("load_1m", 1.0)])
    actions.say_how_many_were_stored()
    with scopes_disabled():
        assert Event.objects.get(type="samples_stored").channels == []


def test_a_clock_that_was_put_back_holds_the_count_up_by_nothing(acme, clock):
    record(acme, [measured("load_1m", 1.0)])
    actions.say_how_many_were_stored()
    clock.move(hours=-2)
    record(acme, [measured("load_1m", 2.0)])
    assert actions.say_how_many_were_stored() == 1


@pytest.mark.django_db(transaction=True)
def test_several_that_tell_at_once_tell_each_sample_once(acme):
    record(acme, [measured("load_1m", float(n)) for n in range(5)])
    at_once(*[actions.say_how_many_were_stored] * 4)
    assert counts(acme) == [5]
