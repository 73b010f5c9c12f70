"""What the platform's admins see of the log, and what they can do about what failed."""

import pytest
from django.db import transaction
from django.urls import reverse

from events import relay
from events.channels import Topic, tenant
from events.emit import emit
from events.models import Cursor, DeadLetter, Event
from events.tests.conftest import Happened

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = reverse("admin:events_event_changelist")
CURSORS = reverse("admin:events_cursor_changelist")
LETTERS = reverse("admin:events_deadletter_changelist")


@pytest.fixture
def dashboard(acme) -> str:
    return tenant(acme.id, Topic.DASHBOARD).name


@pytest.fixture
def letter(engine, happen, dashboard) -> DeadLetter:
    engine.refuse = {dashboard}
    happen(1)
    relay.drain_once(seconds=30)
    engine.refuse = set()
    return DeadLetter.objects.get()


def choose(person, action: str, letter: DeadLetter, **more: str):
    return person.post(LETTERS, {"action": action, "_selected_action": letter.pk, **more}, follow=True)


def test_an_event_shows_its_journey(engine, happen, platform_admin, dashboard):
    (event,) = happen(1)
    relay.drain_once(seconds=30)
    page = platform_admin.get(reverse("admin:events_event_change", args=[event.pk])).content.decode()
    for step in ["Emitted, and committed", "Numbered 1", f"Pushed on {dashboard} at offset 1"]:
        assert step in page


def test_an_event_is_found_by_its_id_and_by_its_number(engine, happen, platform_admin):
    first, second = happen(2)
    relay.drain_once(seconds=30)
    for query in (str(second.uuid), "2"):
        page = platform_admin.get(f"{EVENTS}?q={query}").content.decode()
        assert second.summary in page
        assert first.summary not in page


def test_nothing_in_the_log_can_be_changed(happen, platform_admin):
    (event,) = happen(1)
    url = reverse("admin:events_event_change", args=[event.pk])
    assert platform_admin.post(url, {"summary": "nothing happened"}).status_code == 403
    assert platform_admin.post(reverse("admin:events_event_delete", args=[event.pk])).status_code == 403
    assert platform_admin.get(reverse("admin:events_event_add")).status_code == 403


def test_the_lag_of_each_cursor_is_shown_with_its_reason(engine, happen, platform_admin):
    engine.stop()
    happen(7)
    relay.drain_once(seconds=30)
    page = platform_admin.get(CURSORS).content.decode()
    assert '<td class="field-lag">7</td>' in page
    assert "can&#x27;t be reached" in page


def test_a_dead_letter_is_delivered_on_request(letter, engine, platform_admin, dashboard):
    page = choose(platform_admin, "retry", letter).content.decode()
    assert "Delivered: 1." in page
    assert engine.seqs(dashboard) == [1]
    letter.refresh_from_db()
    assert (letter.resolution, letter.resolved_by) == ("retried", "Ada")


def test_what_fails_again_is_said_and_waits(letter, engine, platform_admin):
    engine.stop()
    page = choose(platform_admin, "retry", letter).content.decode()
    assert "failed again and waits as before" in page
    letter.refresh_from_db()
    assert letter.is_waiting


def test_skipping_asks_first(letter, platform_admin):
    page = choose(platform_admin, "skip", letter).content.decode()
    assert "this can't be undone" in page
    letter.refresh_from_db()
    assert letter.is_waiting
    page = choose(platform_admin, "skip", letter, confirmed="yes").content.decode()
    assert "Skipped: 1." in page
    letter.refresh_from_db()
    assert letter.resolution == "skipped"


def test_who_may_only_look_can_resolve_nothing(letter, platform_admin):
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType

    looker = platform_admin.user
    looker.is_superuser = False
    looker.save()
    kind = ContentType.objects.get_for_model(DeadLetter)
    view, _ = Permission.objects.get_or_create(content_type=kind, codename="view_deadletter", defaults={"name": "View"})
    looker.user_permissions.set([view])
    assert platform_admin.get(LETTERS).status_code == 200
    choose(platform_admin, "skip", letter, confirmed="yes")
    letter.refresh_from_db()
    assert letter.is_waiting


def test_alice_sees_none_of_it(alice, letter):
    for url in (EVENTS, CURSORS, LETTERS):
        assert alice.get(url).status_code in (302, 403, 404)


@pytest.mark.parametrize("url", [EVENTS, CURSORS, LETTERS])
def test_a_page_costs_the_same_queries_for_one_row_and_for_many(
    url, engine, acme, happen, platform_admin, dashboard, django_assert_max_num_queries
):
    engine.refuse = {dashboard}
    with transaction.atomic():
        for thing in range(30):
            emit(Happened(tenant_id=acme.id, thing=thing))
    relay.drain_once(seconds=30)
    for number in range(30):
        Cursor.objects.create(name=f"handler:number{number}")
    with django_assert_max_num_queries(12):
        platform_admin.get(url)


def test_the_journey_costs_the_same_queries_however_long_it_is(
    engine, acme, platform_admin, happen, django_assert_max_num_queries
):
    (event,) = happen(1)
    relay.drain_once(seconds=30)
    Event.objects.with_scopes_disabled().filter(pk=event.pk).update(channels=[f"system:{n}" for n in range(50)])
    with django_assert_max_num_queries(12):
        platform_admin.get(reverse("admin:events_event_change", args=[event.pk]))
