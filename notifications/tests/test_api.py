"""/api/notifications, as scripts and the page's own script use it."""

from uuid import uuid4

import pytest
from django.test import Client

from notifications import actions
from notifications.models import Notification
from notifications.tests.conftest import inbox
from tenants.actions import create_api_key
from tenants.models import Membership, Role

URL = "/api/notifications"


def listed(person, query="") -> list[str]:
    answer = person.api_get(URL + query)
    assert answer.status_code == 200, answer.content
    return [one["title"] for one in answer.json()["results"]]


def test_bob_reads_his_inbox_newest_first_and_nobody_elses(bob, alice, acme, tell):
    tell(bob, "first", tenant=acme, level="error", link="/t/acme/deployments/1/")
    tell(bob, "second")
    tell(alice, "hers")
    assert listed(bob) == ["second", "first"]
    one = bob.api_get(URL).json()["results"][1]
    assert one["tenant"] == "acme"
    assert (one["level"], one["link"], one["readAt"]) == ("error", "/t/acme/deployments/1/", None)
    assert one["email"] is None
    tell(bob, "by mail too", kind="deployment_failed")
    assert bob.api_get(URL).json()["results"][0]["email"] == "waiting"
    actions.remove(bob.user, [Notification.objects.get(title="by mail too").pk])
    assert bob.api_get(f"{URL}/count").json() == {"unread": 2, "version": 4}


def test_pages_of_fifty_follow_each_other_whatever_arrives_meanwhile(bob, tell):
    for number in range(60):
        tell(bob, f"{number}")
    first = bob.api_get(URL).json()
    tell(bob, "later")
    second = bob.api_get(first["next"]).json()
    found = [one["title"] for one in first["results"] + second["results"]]
    assert found == [f"{number}" for number in reversed(range(60))]
    assert second["next"] is None


def test_bob_reads_one_of_his_own_with_its_etag(bob, alice, tell):
    one = tell(bob, "first")
    here = f"{URL}/{one.id}"
    first = bob.api_get(here)
    assert first.json() == bob.api_get(URL).json()["results"][0]
    assert bob.api_get(here, if_none_match=first["ETag"]).status_code == 304
    assert alice.api_get(here).status_code == 404
    actions.archive(bob.user, [one.id])
    assert bob.api_get(here, if_none_match=first["ETag"]).json()["archivedAt"]
    actions.remove(bob.user, [one.id])
    assert bob.api_get(here).status_code == 404


@pytest.mark.parametrize("what", ["count", "preferences"])
def test_who_asks_again_gets_it_only_once_it_has_changed(bob, tell, what):
    here = f"{URL}/{what}"
    first = bob.api_get(here)
    again = bob.api_get(here, if_none_match=first["ETag"])
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    tell(bob, "another")
    bob.api_post(f"{URL}/preferences", {"kinds": [{"kind": "notice", "email": "daily"}]})
    changed = bob.api_get(here, if_none_match=first["ETag"])
    assert (changed.status_code, changed["ETag"] == first["ETag"]) == (200, False)


@pytest.mark.parametrize(("asked", "given"), [("2", 2), ("201", 5), ("0", 5), ("x", 5), ("9" * 5000, 5)])
def test_a_page_is_as_long_as_was_asked_for(bob, tell, asked, given):
    for number in range(5):
        tell(bob, f"{number}")
    first = bob.api_get(f"{URL}?page_size={asked}").json()
    assert len(first["results"]) == given
    assert (f"page_size={asked}" in (first["next"] or "")) == (given < 5)


def test_filters(bob, acme, globex, tell):
    Membership.objects.create(tenant=globex, user=bob.user, role=Role.TENANT_USER)
    read = tell(bob, "read", tenant=acme)
    tell(bob, "of acme", tenant=acme)
    tell(bob, "of globex", tenant=globex)
    bob.api_post(f"{URL}/read", {"ids": [str(read.id)]})
    assert listed(bob, "?unread=true") == ["of globex", "of acme"]
    assert listed(bob, "?tenant=acme") == ["of acme", "read"]
    assert listed(bob, "?tenant=acme&unread=true") == ["of acme"]
    assert listed(bob, "?tenant=never-used") == []
    tell(bob, "Invoice 7", kind="invoice_failed", level="error")
    assert listed(bob, "?about=billing") == listed(bob, "?level=error") == ["Invoice 7"]
    assert listed(bob, "?about=deployments") == []
    assert bob.api_get(f"{URL}?about=nonsense").status_code == 400
    bob.api_post(f"{URL}/archive", {"ids": [str(read.id)]})
    assert listed(bob, "?archived=true") == ["read"]
    assert "read" not in listed(bob)
    bob.api_post(f"{URL}/read-all", {"about": "billing"})
    assert listed(bob, "?unread=true") == ["of globex", "of acme"]


def test_each_change_answers_with_the_inbox_as_it_is_then(bob, tell):
    one = str(tell(bob).id)
    answers = [
        bob.api_post(f"{URL}/{name}", {"ids": [one]}).json() for name in ("read", "mark-unread", "remove", "restore")
    ]
    assert answers == [
        {"unread": 0, "version": 2, "ids": [one]},
        {"unread": 1, "version": 3, "ids": [one]},
        {"unread": 0, "version": 4, "ids": [one]},
        {"unread": 1, "version": 5, "ids": [one]},
    ]
    everything = bob.api_post(f"{URL}/read-all", {"upTo": 5}).json()
    assert everything == {"unread": 0, "version": 6, "ids": [one]}
    assert bob.api_post(f"{URL}/read-all").json() == {"unread": 0, "version": 6, "ids": []}


def test_somebody_elses_ids_are_passed_over_like_those_that_never_existed(bob, alice, tell):
    hers = tell(alice)
    for name in ("read", "mark-unread", "archive", "unarchive", "remove", "restore"):
        theirs = bob.api_post(f"{URL}/{name}", {"ids": [str(hers.id)]})
        never = bob.api_post(f"{URL}/{name}", {"ids": [str(uuid4())]})
        assert (theirs.status_code, theirs.json()) == (never.status_code, never.json())
    assert inbox(alice).unread == 1
    assert Notification.objects.get(pk=hers.pk).removed_at is None


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("read", {}, "ids"),
        ("read", {"ids": []}, "ids"),
        ("read", {"ids": ["one"]}, "ids.0"),
        ("remove", {"ids": [str(uuid4())] * 501}, "ids"),
        ("remove", {"ids": [str(uuid4())], "all": True}, "all"),
        ("read-all", {"upTo": -1}, "upTo"),
        ("read-all", {"up_to": 1}, "up_to"),
    ],
)
def test_what_is_wrong_is_named(bob, path, body, field):
    answer = bob.api_post(f"{URL}/{path}", body)
    assert answer.status_code == 400
    assert field in {error["attr"] for error in answer.json()["errors"]}


def test_a_key_has_no_inbox_and_a_stranger_is_asked_who_they_are(stranger, acme, alice):
    _, secret = create_api_key(acme, "ci", ["events:read"], by=alice.user)
    answer = Client().get(URL, headers={"Authorization": f"Api-Key {secret}"})
    assert answer.status_code == 403
    assert "no inbox" in answer.content.decode()
    assert stranger.api_get(URL).status_code == 401


def test_a_page_of_fifty_costs_as_many_queries_as_one_of_one(bob, acme, tell, django_assert_num_queries):
    tell(bob, tenant=acme)
    bob.api_get(URL)
    with django_assert_num_queries(3):  # session, person, the page
        bob.api_get(URL)
    for number in range(60):
        tell(bob, f"{number}", tenant=acme)
    with django_assert_num_queries(3):
        bob.api_get(URL)
    with django_assert_num_queries(3):
        bob.api_get(f"{URL}/count")
