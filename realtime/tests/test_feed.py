"""GET /api/events: the log as one caller may see it."""

import pytest

from events import numbering
from events.catalogue import get
from events.models import Event, LogState
from realtime import feed
from tenants.actions import remove_member, revoke_api_key, suspend
from tenants.models import Membership

URL = "/api/events"


@pytest.fixture
def notice(acme):
    """Send a numbered notice to a tenant: `notice()`, `notice(globex)`; returns the event."""

    def send(tenant=acme, title="Hello") -> Event:
        event = get("tenant_notice").publish(tenant, by=None, title=title, message="")
        number()
        return event

    return send


def number() -> None:
    while numbering.number().is_due:
        pass


def ids(response) -> list[str]:
    assert response.status_code == 200, response.content
    return [event["id"] for event in response.json()["events"]]


def test_a_service_reads_its_tenants_events_in_order_and_goes_on_from_next(as_service, make_key, notice):
    _, secret = make_key("events:read")
    service = as_service(secret)
    number()
    start = service.get(URL).json()["next"]
    sent = [str(notice(title=f"{i}").uuid) for i in range(5)]
    first = service.get(f"{URL}?after={start}&limit=3")
    assert ids(first) == sent[:3]
    second = service.get(f"{URL}?after={first.json()['next']}&limit=3")
    assert ids(second) == sent[3:]
    last = service.get(f"{URL}?after={second.json()['next']}")
    assert last.json() == {"events": [], "next": second.json()["next"]}


def test_events_come_as_they_go_on_the_wire(as_service, make_key, notice):
    _, secret = make_key("events:read")
    event = notice()
    (entry,) = [e for e in as_service(secret).get(URL).json()["events"] if e["id"] == str(event.uuid)]
    assert entry == event.wire(entry["seq"])
    assert entry["type"] == "tenant_notice"


def test_a_service_follows_the_types_it_asks_for(as_service, make_key, notice, acme, alice):
    _, secret = make_key("events:read", "usage:write")
    service = as_service(secret)
    number()
    start = service.get(URL).json()["next"]
    sent = notice()
    assert ids(service.get(f"{URL}?after={start}&type=tenant_notice&type=invoice_event")) == [str(sent.uuid)]
    nothing = service.get(f"{URL}?after={start}&type=invoice_event").json()
    assert (nothing["events"], nothing["next"] > start) == ([], True)
    odd = service.get(f"{URL}?type=odd")
    assert (odd.status_code, odd.json()["errors"][0]["attr"]) == (400, "type")


def test_nobody_sees_another_tenants_events_but_their_next_moves_on(charlie, as_service, make_key, notice, globex):
    _, secret = make_key("events:read", tenant=globex)
    for event in [notice() for _ in range(3)]:
        newest = LogState.objects.get().last_seq
        for caller in (as_service(secret).get(URL), charlie.api_get(URL)):
            assert str(event.uuid) not in ids(caller)
            assert caller.json()["next"] == newest


def test_bob_sees_what_his_role_may_listen_to_and_alice_all_of_her_tenant(alice, bob, acme, make_key, notice):
    make_key("events:read", by=alice.user)  # has an actor: goes to the tenant's activity
    created = Event.objects.with_scopes_disabled().get(type="tenant_updated")
    sent = notice()
    assert {str(sent.uuid), str(created.uuid)} <= set(ids(alice.api_get(URL)))
    assert str(sent.uuid) in ids(bob.api_get(URL))
    assert str(created.uuid) not in ids(bob.api_get(URL))


def test_everyone_reads_their_own_inbox(bob, alice, acme):
    remove_member(Membership.objects.with_scopes_disabled().get(user=bob.user), by=alice.user)
    number()
    bob.client.force_login(bob.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    body = bob.api_get(URL).json()["events"]
    assert [event["type"] for event in body] == ["access_changed"]
    assert body[0]["userId"] == str(bob.user.id)


def test_a_removed_member_sees_nothing_more(bob, notice):
    event = notice()
    remove_member(Membership.objects.with_scopes_disabled().get(user=bob.user), by=None)
    bob.client.force_login(bob.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert str(event.uuid) not in ids(bob.api_get(URL))


def test_the_platforms_admin_sees_every_tenants(platform_admin, notice, globex):
    sent = [str(notice().uuid), str(notice(globex).uuid)]
    assert [one for one in ids(platform_admin.api_get(URL)) if one in sent] == sent


def test_who_may_not_ask(stranger, as_service, make_key, acme):
    assert stranger.api_get(URL).status_code == 401
    _, writer = make_key("events:publish")
    assert as_service(writer).get(URL).status_code == 403
    revoked, secret = make_key("events:read")
    revoke_api_key(revoked, by=None)
    assert as_service(secret).get(URL).status_code == 401
    _, reader = make_key("events:read")
    suspend(acme, by=None)
    assert as_service(reader).get(URL).status_code == 401
    assert as_service("nonsense").get(URL).status_code == 401


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=1001", "after=99999999999999999999"])
def test_a_query_that_is_none_says_which_part(bob, query):
    answer = bob.api_get(f"{URL}?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["attr"] == query.partition("=")[0]


def test_a_reader_who_was_away_for_too_long_is_told_so(bob, notice):
    for _ in range(3):
        notice()
    LogState.objects.update(pruned_seq=2)
    answer = bob.api_get(f"{URL}?after=1")
    assert answer.status_code == 410
    assert "after=2" in answer.json()["errors"][0]["detail"]
    assert bob.api_get(f"{URL}?after=2").status_code == 200
    assert bob.api_get(URL).status_code == 200  # who names no position begins with what is kept


def test_one_call_looks_at_a_bounded_part_of_the_log(bob, globex, monkeypatch, notice):
    monkeypatch.setattr(feed, "LOOKED_AT_MAX", 4)
    monkeypatch.setattr(feed, "READ_TOGETHER", 2)
    number()
    start = LogState.objects.get().last_seq
    for _ in range(7):
        notice(globex)
    mine = notice()
    first = bob.api_get(f"{URL}?after={start}").json()
    assert first == {"events": [], "next": start + 4}
    assert ids(bob.api_get(f"{URL}?after={start + 4}")) == [str(mine.uuid)]


def test_an_old_event_with_a_name_that_is_no_channel_any_more_is_nobodys(bob, notice):
    event = notice()
    Event.objects.with_scopes_disabled().filter(pk=event.pk).update(channels=["tenant:old:name"])
    assert str(event.uuid) not in ids(bob.api_get(URL))


def test_reading_is_all_that_can_be_done(bob):
    assert bob.api_post(URL).status_code == 405


def test_the_number_of_queries_does_not_grow_with_the_events(bob, notice, django_assert_max_num_queries):
    for _ in range(20):
        notice()
    with django_assert_max_num_queries(8):
        bob.api_get(URL)
