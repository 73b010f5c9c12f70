"""What was committed goes out, each event once in each channel, in order."""

import pytest

from events import relay
from events.channels import Topic, tenant
from events.models import Cursor, Entry, Push

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dashboard(acme) -> str:
    return tenant(acme.id, Topic.DASHBOARD).name


def test_what_was_committed_goes_out_in_order(engine, happen, dashboard):
    happen(1200)
    relay.drain_once(seconds=30)
    assert engine.seqs(dashboard) == list(range(1, 1201))
    assert [event["thing"] for _, event in engine.went_out] == list(range(1, 1201))
    assert Entry.objects.count() == 1200
    assert Cursor.objects.get(name="push").position == 1200
    assert Push.of(3).outcomes["3"] == {dashboard: 3}
