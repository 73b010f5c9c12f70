"""Who did what, as pages show it: to whom, filtered how, with links, days and messages."""

import re
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from django.http import QueryDict
from django.utils.html import escape
from django_scopes import scope, scopes_disabled

from deployments import actions as deployments
from deployments.models import Stack
from events import numbering
from events.models import Entry, Event
from portal import kinds
from portal.activity import read_filters
from realtime.models import ChannelPolicy
from tenants import actions as tenants
from tenants.models import Membership, Role

pytestmark = pytest.mark.django_db

ACTIVITY, OPS = "/t/acme/activity/", "/ops/activity/"
#: At most so many queries a page, sign-in, menu and bell included, whatever it shows.
QUERIES, OPS_QUERIES = 11, 9


def number() -> None:
    while numbering.number().is_due:
        pass


@pytest.fixture
def web(acme, alice, platform_admin) -> None:
    """What acme did: Alice deployed something, and made a key."""
    with scopes_disabled():
        stack = Stack.objects.create(
            slug="web", name="Web", version=1, steps=[{"name": "say", "command": ["echo", "hello"]}]
        )
        stack = deployments.approve(stack, by=platform_admin.user)
        deployments.request_deployment(acme, stack, {}, by=alice.user)
        tenants.create_api_key(acme, "ci", ["events:read"], by=alice.user)
    number()


def happens(tenant, summary: str = "Somebody did it", at: datetime | None = None, by=None, **fields) -> Event:
    with scopes_disabled():
        event = Event.objects.create(
            type=fields.pop("type", "tenant_updated"),
            tenant=tenant,
            occurred_at=at or datetime.now(UTC),
            actor_kind="person" if by else "",
            actor_id=by.user.id if by else None,
            actor_name=by.user.name if by else "",
            summary=summary,
            payload=fields,
            channels=[],
        )
    number()
    return event


def shown(person, url: str) -> str:
    response = person.get(url)
    assert response.status_code == 200
    return re.sub("<template.*?</template>", "", response.content.decode(), flags=re.DOTALL)


def test_alice_sees_who_did_what_with_links_to_it(alice, web):
    page = shown(alice, ACTIVITY)
    assert "Alice deployed web #1" in page
    assert 'href="/t/acme/deployments/1/"' in page
    assert "Alice created the API key ci" in page
    assert f'href="?by={alice.user.id}"' in page
    assert page.index("API key ci") < page.index("web #1"), "newest first"


def test_what_nobody_did_is_not_a_tenants_activity_but_the_platforms(acme, alice, platform_admin):
    happens(acme, "web #1 is running")
    assert "web #1 is running" not in shown(alice, ACTIVITY)
    assert "web #1 is running" not in shown(platform_admin, OPS)
    page = shown(platform_admin, f"{OPS}?by=neo_stack")
    assert "web #1 is running" in page
    assert ">NEO_STACK</a>" in page
    assert "web #1 is running" in shown(platform_admin, f"{OPS}?by=all")


def test_bob_is_refused_with_the_role_he_would_need(bob, alice, web):
    response = bob.get(ACTIVITY)
    assert response.status_code == 403
    assert "Tenant admin" in response.content.decode()
    assert "Alice" in response.content.decode()


def test_for_charlie_and_for_who_was_removed_there_is_no_such_page(charlie, alice, acme, web):
    assert charlie.get(ACTIVITY).status_code == 404
    with scope(tenant=acme):
        eve = Membership.objects.create(tenant=acme, user=charlie.user, role=Role.TENANT_ADMIN)
    assert charlie.get(ACTIVITY).status_code == 200
    with scope(tenant=acme):
        tenants.remove_member(eve, by=alice.user)
    charlie.client.force_login(charlie.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert charlie.get(ACTIVITY).status_code == 404
    assert alice.get(OPS).status_code == 404


def test_nothing_of_another_tenant_is_in_it(alice, charlie, globex):
    happens(globex, "Charlie's secret", by=charlie)
    happens(globex, "Done by Alice elsewhere", by=alice)
    for query in ("", f"?by={charlie.user.id}", f"?by={alice.user.id}", f"?tenant={globex.id}", "?tenant=globex"):
        page = shown(alice, ACTIVITY + query)
        assert "secret" not in page
        assert "elsewhere" not in page


def test_the_platforms_page_names_the_tenant(acme, globex, alice, charlie, platform_admin):
    happens(acme, "One of acme", by=alice)
    happens(globex, "One of globex", by=charlie)
    page = shown(platform_admin, OPS)
    assert ">Acme</a>" in page
    assert ">Globex</a>" in page
    for asked in (globex.id, globex.slug):
        page = shown(platform_admin, f"{OPS}?tenant={asked}")
        assert "One of globex" in page
        assert "One of acme" not in page


def test_filters_by_person_kind_and_day_go_together_and_stay_in_the_address(acme, alice, bob, web):
    happens(acme, "Bob's notice", by=bob, type="tenant_notice", at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    happens(acme, "Alice's notice", by=alice, type="tenant_notice", at=datetime(2026, 3, 1, 13, tzinfo=UTC))
    filters = urlencode({"by": bob.user.id, "kind": "tenant_notice", "day": "2026-03-01"})
    page = shown(alice, f"{ACTIVITY}?{filters}")
    assert "Bob&#x27;s notice" in page
    assert "Alice&#x27;s notice" not in page
    assert f'<option value="{bob.user.id}" selected>Bob' in page
    assert '<option value="tenant_notice" selected>' in page
    assert 'value="2026-03-01"' in page
    assert escape(f"?by={alice.user.id}&kind=tenant_notice&day=2026-03-01") not in page
    assert escape(f"?by={bob.user.id}&kind=tenant_notice&day=2026-03-01") in page


def test_somebody_who_left_can_still_be_asked_for(acme, alice, charlie):
    happens(acme, "Charlie helped", by=charlie)
    page = shown(alice, f"{ACTIVITY}?by={charlie.user.id}")
    assert "Charlie helped" in page
    assert f'<option value="{charlie.user.id}" selected>Charlie' in page


@pytest.mark.parametrize(
    "query",
    [
        {"by": "alice"},
        {"by": "neo_stack"},
        {"by": "\x00"},
        {"kind": "no_such_kind"},
        {"kind": "deployment_log"},
        {"day": "2026-02-30"},
        {"day": "yesterday"},
        {"day": "9999-12-31"},
        {"before": "-1"},
        {"before": "1e9"},
        {"after": "9" * 40},
        {"after": "²"},
    ],
)
def test_a_value_that_means_nothing_is_named_and_left_out(acme, alice, web, query):
    page = shown(alice, f"{ACTIVITY}?{urlencode(query)}")
    assert "That filter was left out" in page
    assert "Alice deployed web #1" in page


def test_on_the_platforms_page_likewise(platform_admin, web):
    page = shown(platform_admin, f"{OPS}?{urlencode({'by': 'x', 'tenant': 'nowhere', 'day': '-'})}")
    assert page.count("That filter was left out") == 3


def test_an_empty_page_says_whether_there_is_nothing_yet_or_nothing_that_matches(acme, alice):
    Event.objects.with_scopes_disabled().all().delete()
    assert "Nothing yet." in shown(alice, ACTIVITY)
    page = shown(alice, f"{ACTIVITY}?kind=tenant_notice")
    assert "Nothing matches these filters." in page
    assert '<a href="?">Show everything</a>' in page
    assert "Back to the newest" in shown(alice, f"{ACTIVITY}?before=1")


@pytest.mark.parametrize(
    ("zone", "day", "first", "after_last"),
    [
        ("UTC", "2026-03-29", "2026-03-29T00:00:00", "2026-03-30T00:00:00"),
        ("Europe/Lisbon", "2026-03-29", "2026-03-29T00:00:00", "2026-03-29T23:00:00"),  # 23 hours
        ("Europe/Lisbon", "2026-10-25", "2026-10-24T23:00:00", "2026-10-26T00:00:00"),  # 25 hours
        ("America/New_York", "2026-03-08", "2026-03-08T05:00:00", "2026-03-09T04:00:00"),
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00:00", "2026-09-07T03:00:00"),  # it has no midnight
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00", "2026-11-02T05:00:00"),  # it has two
        ("Asia/Kolkata", "2026-11-23", "2026-11-22T18:30:00", "2026-11-23T18:30:00"),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00", "2011-12-30T10:00:00"),  # it never was
    ],
)
def test_a_day_is_the_tenants_own(zone, day, first, after_last):
    filters = read_filters(QueryDict(f"day={day}"), zone)
    assert filters.period == (
        datetime.fromisoformat(first).replace(tzinfo=UTC),
        datetime.fromisoformat(after_last).replace(tzinfo=UTC),
    )


def test_days_are_headed_and_times_said_in_the_tenants_zone(acme, alice):
    acme.time_zone = "Europe/Lisbon"
    acme.save()
    happens(acme, "Just before", by=alice, at=datetime(2026, 6, 30, 22, 59, 59, tzinfo=UTC))
    happens(acme, "Just after", by=alice, at=datetime(2026, 6, 30, 23, 0, 0, tzinfo=UTC))
    page = shown(alice, ACTIVITY)
    order = ["Wednesday, 1 Jul 2026", "Just after", "Tuesday, 30 Jun 2026", "Just before"]
    assert sorted(order, key=page.index) == order
    assert "Days and times are in Europe/Lisbon" in page
    assert 'title="1 Jul 2026, 00:00:00 Europe/Lisbon (UTC+1)"' in page
    page = shown(alice, f"{ACTIVITY}?day=2026-07-01")
    assert "Just after" in page
    assert "Just before" not in page


def test_pages_follow_each_other_by_links(acme, alice):
    for n in range(120):
        happens(acme, f"Thing {n}.", by=alice)
    seen, url, pages = [], ACTIVITY, 0
    while url:
        response = alice.get(url)
        feed = response.context["feed"]
        seen += [row.summary for row in feed.rows]
        url, pages = (ACTIVITY + feed.older if feed.older else ""), pages + 1
    assert seen == [f"Thing {n}." for n in reversed(range(120))]
    assert pages == 3
    assert alice.get(ACTIVITY + feed.newer).context["feed"].rows[-1].summary == "Thing 20."


def test_a_page_that_is_not_the_newest_takes_nothing_new(acme, alice):
    for n in range(60):
        happens(acme, f"Thing {n}.", by=alice)
    newest = alice.get(ACTIVITY).context["feed"]
    assert newest.high is None
    assert newest.low == newest.rows[-1].seq
    older = alice.get(ACTIVITY + newest.older).context["feed"]
    assert (older.high, older.low) == (older.rows[0].seq, None)
    beyond = alice.get(f"{ACTIVITY}?before={Entry.objects.order_by('seq').first().seq}").context["feed"]
    assert beyond.high < Entry.objects.order_by("seq").first().seq


def test_whoever_may_not_listen_is_shown_nothing_and_told_why(alice, web):
    ChannelPolicy.objects.filter(role="tenant_admin").delete()
    page = shown(alice, ACTIVITY)
    assert "Activity can't be shown" in page
    assert "deployed" not in page


def test_the_page_costs_the_same_queries_for_few_rows_and_many(
    acme, alice, platform_admin, django_assert_max_num_queries
):
    happens(acme, by=alice)
    for count in (0, 70):
        for _ in range(count):
            happens(acme, by=alice, type="tenant_notice")
        with django_assert_max_num_queries(QUERIES):
            alice.get(ACTIVITY)
        with django_assert_max_num_queries(OPS_QUERIES):
            platform_admin.get(OPS)


def test_every_link_of_the_table_is_a_page_and_every_type_has_a_name(alice, acme, web):
    titles = {kind.type: kind.title for kind in kinds.shown_kinds()}
    assert "deployment_log" not in titles
    assert all(titles.values())
    for event in Event.objects.with_scopes_disabled().filter(tenant=acme):
        pattern = kinds.kind_of(event.type).tenant_page.replace("{slug}", "acme")
        if pattern:
            assert alice.get(kinds.address(pattern, event.wire(1))).status_code == 200


def test_an_address_needs_a_value_for_each_field_and_escapes_it():
    event = {"id": "../a b", "data": {"number": 104}, "actor": None}
    assert kinds.address("/x/{data.number}/{id}", event) == "/x/104/..%2Fa%20b"
    assert kinds.address("?by={actor.id}", event) == ""


def test_a_type_without_a_line_in_the_table_goes_by_its_own_name():
    assert kinds.kind_of("exam_event").title == "Exam event"
