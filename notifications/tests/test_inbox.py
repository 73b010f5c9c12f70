"""An inbox: what arrives, what its person does with it, and that its count never drifts."""

import json
import random
import shutil
import subprocess
from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.utils import timezone

from conftest import make_person
from events.models import Event
from notifications import actions, tasks
from notifications.actions import Message
from notifications.models import Inbox, Notification
from notifications.tests.conftest import emitted, inbox, titles
from tenants.models import Membership, Role


def test_what_arrives_counts_and_is_said_to_its_person_only(bob, acme, tell):
    one = tell(bob, tenant=acme)
    assert (inbox(bob).unread, inbox(bob).version) == (1, 1)
    (said,) = emitted("notification")
    assert said["notificationId"] == str(one.id)
    assert (said["unread"], said["version"]) == (1, 1)
    assert said["title"] == "web #1 failed"
    event = Event.objects.with_scopes_disabled().get(type="notification")
    assert event.channels == [f"user:{bob.user.id}:inbox", "admin:platform:events"]
    assert event.tenant_id == acme.id


def test_one_event_notifies_a_person_once(bob, tell):
    source = uuid4()
    assert tell(bob, source=source)
    assert tell(bob, source=source) is None
    assert inbox(bob).version == 1
    assert len(emitted("notification")) == 1


def test_nobody_is_told_of_a_tenant_they_are_not_in(charlie, platform_admin, acme, tell):
    assert tell(charlie, tenant=acme) is None
    assert tell(platform_admin, tenant=acme) is None
    assert not Notification.objects.exists()
    assert emitted("notification") == []


def test_nobody_is_told_of_a_suspended_tenant_nor_after_they_were_disabled(bob, acme, tell):
    acme.suspended_at = timezone.now()
    acme.save()
    assert tell(bob, tenant=acme) is None
    bob.user.is_active = False
    bob.user.save()
    assert tell(bob) is None


def test_read_unread_removed_and_restored_each_say_what_is_so_then(bob, tell):
    first, second = tell(bob, "first"), tell(bob, "second")
    actions.mark_read(bob.user, [first.id])
    actions.remove(bob.user, [second.id])
    actions.restore(bob.user, [second.id])
    outcome = actions.mark_unread(bob.user, [first.id])
    assert (outcome.unread, outcome.version, outcome.ids) == (2, 6, [first.id])
    said = [
        {key: value for key, value in event.items() if value not in ([], "", str(bob.user.id))}
        for event in emitted("inbox_update")
    ]
    assert said == [
        {"unread": 1, "version": 3, "read": [str(first.id)]},
        {"unread": 0, "version": 4, "removed": [str(second.id)]},
        {"unread": 1, "version": 5, "restored": [str(second.id)]},
        {"unread": 2, "version": 6, "markedUnread": [str(first.id)]},
    ]


def test_what_changes_nothing_says_nothing(bob, charlie, tell):
    one = tell(bob)
    others = tell(charlie)
    actions.mark_read(bob.user, [one.id])
    before = inbox(bob).version
    for act in (actions.mark_read, actions.restore):
        outcome = act(bob.user, [one.id, others.id, uuid4()])
        assert outcome.ids == []
    assert inbox(bob).version == before
    assert inbox(charlie).unread == 1


def test_somebody_who_was_never_told_anything_has_an_empty_inbox(bob):
    outcome = actions.mark_all_read(bob.user)
    assert (outcome.unread, outcome.version, outcome.ids) == (0, 0, [])


def test_read_all_leaves_what_came_after_the_page_was_made(bob, acme, globex, tell):
    Membership.objects.create(tenant=globex, user=bob.user, role=Role.TENANT_USER)
    tell(bob, "seen", tenant=acme)
    tell(bob, "of globex", tenant=globex)
    seen = inbox(bob).version
    tell(bob, "came later", tenant=acme)
    assert actions.mark_all_read(bob.user, tenant="acme", up_to=seen).unread == 2
    assert actions.mark_all_read(bob.user).unread == 0


def test_what_is_put_away_counts_no_more_and_comes_back_as_it_was(bob, tell):
    one, other = tell(bob, "one"), tell(bob, "other")
    assert actions.archive(bob.user, [one.id]).unread == 1
    assert actions.archive(bob.user, [one.id]).ids == []
    assert actions.mark_all_read(bob.user).ids == [other.id]
    assert actions.remove(bob.user, [one.id]).unread == 0
    assert actions.restore(bob.user, [one.id]).unread == 0
    assert actions.unarchive(bob.user, [one.id]).unread == 1
    assert bob.api_get("/api/notifications/count").json() == {"unread": 1, "version": inbox(bob).version}


def test_whose_cause_is_over_says_so_and_still_counts(bob, alice, tell):
    told = [tell(person, "web #1 failed", cause_key="web", cause_order=1) for person in (bob, alice)]
    later = tell(bob, "web #3 failed", cause_key="web", cause_order=3)
    assert actions.solve("web", order=2, by="web #2 is done") == 2
    assert actions.solve("web", order=2, by="again") == 0
    assert [one.solved_by for one in Notification.objects.order_by("number", "pk")] == ["web #2 is done"] * 2 + [""]
    assert not Notification.objects.get(pk=later.pk).solved_at
    assert (inbox(bob).unread, inbox(alice).unread) == (2, 1)
    said = {event["userId"]: event for event in emitted("inbox_update")}
    assert said[str(bob.user.id)]["solved"] == [str(told[0].id)]
    assert said[str(alice.user.id)]["solvedBy"] == "web #2 is done"
    assert said[str(bob.user.id)]["version"] == inbox(bob).version == 3


def test_however_much_changes_at_once_no_event_is_large(bob, tell, monkeypatch):
    monkeypatch.setattr(actions, "IDS_IN_ONE_EVENT", 2)
    for number in range(5):
        tell(bob, f"{number}")
    assert actions.mark_all_read(bob.user).unread == 0
    said = [(event["unread"], event["version"], len(event["read"])) for event in emitted("inbox_update")]
    assert said == [(3, 6, 2), (1, 7, 2), (0, 8, 1)]


ACTS = ["mark_read", "mark_unread", "archive", "unarchive", "remove", "restore", "mark_all_read", "solve"]


def live_through(person, acme, tell, operations: int) -> None:
    """So many random operations on one inbox, as tabs, the API and arrivals would do them."""
    chance = random.Random(4)
    ids = []
    for _ in range(operations):
        some = chance.sample(ids, min(len(ids), chance.randint(1, 4)))
        act = chance.choice(["arrive", "arrive", *ACTS])
        if act == "arrive":
            cause = {"cause_key": f"cause:{chance.randint(1, 30)}", "cause_order": 1}
            ids.append(tell(person, f"{len(ids)}", tenant=chance.choice([acme, None]), **cause).id)
        elif act == "solve":
            actions.solve(f"cause:{chance.randint(1, 30)}", order=chance.randint(1, 2), by=f"way {chance.random()}")
        elif act == "mark_all_read":
            actions.mark_all_read(person.user, up_to=chance.choice([None, len(ids) // 2]))
        else:
            getattr(actions, act)(person.user, some)


def test_after_a_thousand_random_operations_every_tab_says_what_the_database_says(bob, acme, tell, tmp_path):
    """The pages' own module hears the real events, shuffled and repeated. In real tabs: tests/whole/test_inbox.py."""
    live_through(bob, acme, tell, operations=1_000)
    unread = Notification.objects.filter(user=bob.user, removed_at=None, archived_at=None, read_at=None).count()
    events = emitted("notification") + emitted("inbox_update")
    assert inbox(bob).unread == unread
    assert sorted(event["version"] for event in events) == list(range(1, inbox(bob).version + 1))

    if not (node := shutil.which("node")):
        pytest.skip("Node is not installed")
    rows = [
        [str(one.id), one.is_read, one.archived_at is not None, one.removed_at is not None, one.solved_by]
        for one in Notification.objects.all()
    ]
    story = tmp_path / "story.json"
    story.write_text(json.dumps({"events": events, "unread": unread, "rows": rows}))
    script = settings.BASE_DIR / "static/js/tests/inbox_story.js"
    said = subprocess.run([node, script, story], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    assert "all agree" in said.stdout


@pytest.mark.parametrize("people", [1, 20])
def test_telling_many_costs_few_more_queries_than_telling_one(acme, people, django_assert_max_num_queries):
    members = [make_person(f"P{n}", f"p{n}@acme.example").user for n in range(people)]
    for user in members:
        Membership.objects.create(tenant=acme, user=user, role=Role.TENANT_USER)
    message = Message(uuid4(), "test", "t", "m", "info", "/", "o:1", "g", acme)
    with django_assert_max_num_queries(12 + people):  # an event each
        assert len(actions.notify([user.pk for user in members], message)) == people


def test_what_was_removed_or_read_long_ago_is_deleted_and_nothing_else(bob, tell):
    assert max(settings.REMOVED_NOTIFICATIONS_KEPT_DAYS, settings.READ_NOTIFICATIONS_KEPT_DAYS) <= 90
    old = {name: tell(bob, name).id for name in ("removed", "read", "unread")}
    tell(bob, "removed lately")
    long_ago = timezone.now() - timedelta(days=91)
    Notification.objects.filter(pk=old["removed"]).update(removed_at=long_ago)
    Notification.objects.filter(pk=old["read"]).update(read_at=long_ago)
    Notification.objects.filter(pk=old["unread"]).update(created_at=long_ago)
    Notification.objects.filter(title="removed lately").update(removed_at=timezone.now())
    tasks.forget_old_notifications()
    assert set(Notification.objects.values_list("title", flat=True)) == {"unread", "removed lately"}
    assert Inbox.objects.get().version == 4
    assert titles(bob) == ["unread"]
