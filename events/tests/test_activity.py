"""Who did what: pages of the log, filtered, each event once and in order while new ones arrive."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django_scopes import scopes_disabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import numbering
from events.log import Asked, Page, Whose, activity
from events.models import Entry, Event

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALICE, BOB = UUID(int=1), UUID(int=2)


@pytest.fixture(autouse=True)
def every_tenant():
    with scopes_disabled():
        yield


def happens(tenant, by: UUID | None = ALICE, kind: str = "tenant_updated", at: datetime = NOON) -> Event:
    return Event.objects.create(
        type=kind,
        tenant=tenant,
        occurred_at=at,
        actor_kind="person" if by else "",
        actor_id=by,
        actor_name="Somebody" if by else "",
        summary=f"{kind} {uuid4()}",
        payload={},
        channels=[],
    )


def number() -> None:
    while numbering.number().is_due:
        pass


def found(asked: Asked) -> list[Event]:
    number()
    return [event for _, event in activity(asked).rows]


def test_a_tenants_activity_is_what_somebody_did_there(acme, globex):
    mine = happens(acme)
    happens(acme, by=None)
    happens(globex)
    happens(None)
    happens(acme, kind="deployment_log")
    assert found(Asked(acme.id)) == [mine]


def test_the_platforms_is_everything_but_log_lines_and_metrics(acme, globex):
    shown = [happens(acme), happens(acme, by=None), happens(globex), happens(None)]
    happens(acme, by=None, kind="deployment_log")
    assert found(Asked(Whose.PLATFORM)) == shown[::-1]
    assert found(Asked(Whose.PLATFORM, tenant_id=acme.id)) == shown[1::-1]


def test_filters_go_together(acme):
    wanted = happens(acme, by=BOB, kind="tenant_notice")
    happens(acme, by=ALICE, kind="tenant_notice")
    happens(acme, by=BOB, kind="access_changed")
    nobodys = happens(acme, by=None, kind="access_changed")
    assert found(Asked(acme.id, actor=BOB, kinds=["tenant_notice", "tenant_updated"])) == [wanted]
    assert found(Asked(Whose.PLATFORM, actor=Whose.NOBODY)) == [nobodys]
    assert nobodys not in found(Asked(Whose.PLATFORM, actor=Whose.ANYBODY))


def test_a_period_is_that_of_happening_not_of_numbering(acme):
    late = happens(acme, at=NOON - timedelta(hours=20))
    before = happens(acme, at=NOON - timedelta(microseconds=1))
    inside = happens(acme, at=NOON)
    after = happens(acme, at=NOON + timedelta(hours=1))
    later = happens(acme, at=NOON + timedelta(minutes=59))
    assert found(Asked(acme.id, since=NOON, until=NOON + timedelta(hours=1))) == [later, inside]
    assert found(Asked(acme.id, since=NOON)) == [later, after, inside]
    assert found(Asked(acme.id, until=NOON)) == [before, late]
    assert found(Asked(acme.id, since=NOON + timedelta(days=9), until=NOON + timedelta(days=10))) == []


def test_what_is_not_numbered_yet_is_not_there_yet(acme):
    first = happens(acme)
    number()
    second = happens(acme)
    assert [event for _, event in activity(Asked(acme.id)).rows] == [first]
    assert found(Asked(acme.id)) == [second, first]


def test_an_entry_repeats_what_its_event_is_searched_by(acme):
    event = happens(acme, by=BOB)
    quiet = happens(acme, kind="deployment_log")
    number()
    entry = Entry.objects.get(event=event)
    assert (entry.type, entry.tenant_id, entry.actor_id, entry.occurred_at, entry.is_activity) == (
        event.type,
        acme.id,
        BOB,
        event.occurred_at,
        True,
    )
    assert not Entry.objects.get(event=quiet).is_activity


#: What happens, in which order: by whom, and whether it is acme's.
happenings = st.lists(st.tuples(st.sampled_from([ALICE, BOB, None]), st.booleans()), max_size=40)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(happenings, st.lists(st.integers(0, 3), min_size=40, max_size=40), st.integers(1, 7))
def test_paging_shows_every_event_once_and_in_order_while_new_ones_arrive(acme, globex, log, arriving, size):
    Event.objects.all().delete()
    asked = Asked(acme.id)
    for by, is_acmes in log:
        happens(acme if is_acmes else globex, by=by)
    number()
    expected = all_of(acme)

    def meanwhile(turn: int) -> None:
        for _ in range(arriving[turn % len(arriving)]):
            happens(acme)
        number()

    pages = [page := activity(asked, limit=size)]
    while page.has_older:
        meanwhile(len(pages))
        pages.append(page := activity(asked, before=page.rows[-1][0], limit=size))
    assert seqs(pages) == expected
    assert [page.has_newer for page in pages] == [False] + [True] * (len(pages) - 1)

    pages = [page := activity(asked, after=0, limit=size)]
    while page.has_newer:
        pages.append(page := activity(asked, after=page.rows[0][0], limit=size))
    assert seqs(pages[::-1]) == all_of(acme)


def seqs(pages: list[Page]) -> list[int]:
    return [seq for page in pages for seq, _ in page.rows]


def all_of(tenant) -> list[int]:
    acted = Event.objects.filter(tenant=tenant, actor_id__isnull=False)
    return list(acted.order_by("-entry__seq").values_list("entry__seq", flat=True))


@pytest.mark.parametrize("position", ["newest", "before", "after"])
def test_a_page_costs_the_same_queries_however_long_the_log(acme, django_assert_num_queries, position):
    for _ in range(120):
        happens(acme)
    number()
    middle = Entry.objects.order_by("seq")[60].seq
    where = {} if position == "newest" else {position: middle}
    with django_assert_num_queries(2):
        activity(Asked(acme.id), **where)
    with django_assert_num_queries(3):
        activity(Asked(acme.id, since=NOON, until=NOON + timedelta(days=1)), **where)
