import contextlib

import pytest
from django.db import transaction

from accounts.actions import announce_access, raise_generation
from accounts.events import AccessChanged, Reason
from accounts.models import User
from events.catalogue import get
from events.models import Event


def last_event() -> Event:
    return Event.objects.with_scopes_disabled().latest("id")


def test_raising_takes_one_step_and_reports_it(bob, platform_admin):
    assert raise_generation(bob.user, Reason.POLICY_NARROWED, by=platform_admin.user) == 2

    event = last_event()
    assert event.type == "access_changed"
    assert event.payload["generation"] == 2
    assert event.payload["userId"] == str(bob.user.id)
    assert f"user:{bob.user.id}:inbox" in event.channels
    assert event.summary == "Ada narrowed a channel policy that Bob comes under"


def test_every_raise_names_the_generation_that_ended(bob):
    for _ in range(3):
        raise_generation(bob.user, Reason.SIGNED_OUT, by=bob.user)
    payloads = [event.payload for event in Event.objects.with_scopes_disabled().order_by("id")]
    assert [payload["generation"] for payload in payloads] == [2, 3, 4]
    assert [payload["version"] for payload in payloads] == [2, 3, 4]


def test_giving_more_revokes_nothing_but_is_told(bob):
    announce_access(bob.user, Reason.PROMOTED, by=None)
    assert bob.user.access_generation == 1
    assert bob.user.access_version == 2
    assert last_event().payload["version"] == 2


@pytest.mark.parametrize("reason", list(Reason))
def test_an_event_revokes_exactly_when_something_is_taken_away(bob, reason):
    event = AccessChanged(user_id=bob.user.id, name="Bob", reason=reason, generation=7, version=9)
    assert [r.generation for r in event.revocations()] == ([7] if reason.taken_away else [])
    assert event.describe("Ada")


def test_no_raise_without_its_commit(bob):
    with contextlib.suppress(RuntimeError), transaction.atomic():
        raise_generation(bob.user, Reason.SIGNED_OUT, by=bob.user)
        raise RuntimeError
    assert User.objects.get(pk=bob.user.pk).access_generation == 1
    assert not Event.objects.with_scopes_disabled().exists()


def test_saving_a_stale_copy_lowers_nothing(bob):
    stale = User.objects.get(pk=bob.user.pk)
    raise_generation(bob.user, Reason.SIGNED_OUT, by=bob.user)
    stale.name = "Robert"
    stale.save()
    fresh = User.objects.get(pk=bob.user.pk)
    assert (fresh.name, fresh.access_generation) == ("Robert", 2)


def test_the_type_is_in_the_catalogue():
    assert get("access_changed") is AccessChanged
    assert all(sample.payload() for sample in AccessChanged.samples())
