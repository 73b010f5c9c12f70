"""Notices: what somebody tells everybody in a tenant, as row, log and page."""

import inspect
from uuid import UUID

import pytest
from pydantic import ValidationError as InvalidEvent

from events.catalogue import get
from events.models import Event
from notifications import actions
from notifications.models import Notice

NOTICE = UUID("01900000-0000-7000-8000-0000000000f1")


def test_a_notice_goes_to_everybody_in_the_tenant_and_is_kept(acme, bob):
    event = actions.send_notice(acme, bob.user, "Maintenance", "At 22:00 UTC.", level="warning")
    assert event.summary == "Bob: Maintenance"
    assert f"tenant:{acme.id}:notifications" in event.channels
    assert event.payload["level"] == "warning"
    kept = Notice.objects.with_scopes_disabled().get()
    assert str(kept.pk) == event.payload["noticeId"]
    assert (kept.tenant, kept.title, kept.level, kept.sender_name) == (acme, "Maintenance", "warning", "Bob")


@pytest.mark.parametrize("facts", [{"title": ""}, {"title": "x" * 151}, {"level": "shout"}, {"message": "x" * 2001}])
def test_a_notice_that_says_nothing_or_too_much_is_refused(acme, bob, facts):
    with pytest.raises(InvalidEvent):
        actions.send_notice(acme, bob.user, **({"title": "Maintenance", "message": "Soon."} | facts))
    assert not Event.objects.with_scopes_disabled().exists()
    assert not Notice.objects.with_scopes_disabled().exists()


def test_an_id_that_was_used_is_refused_whoever_used_it(acme, globex, bob, charlie):
    actions.send_notice(acme, bob.user, "Maintenance", "Soon.", notice_id=NOTICE)
    with pytest.raises(InvalidEvent, match="sent before"):
        actions.send_notice(globex, charlie.user, "Maintenance", "Soon.", notice_id=NOTICE)
    assert Event.objects.with_scopes_disabled().filter(type="tenant_notice").count() == 1


def test_publishing_under_an_id_that_was_used_is_refused_at_its_field(acme, bob):
    body = {
        "channel": f"tenant:{acme.id}:notifications",
        "event": {"type": "tenant_notice", "noticeId": str(NOTICE), "title": "Hello", "message": ""},
    }
    assert bob.api_post("/api/events/publish", body).status_code == 202
    answer = bob.api_post("/api/events/publish", body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["attr"] == "event.noticeId"


def test_publishers_send_notices_through_the_action(acme, bob):
    publish = get("tenant_notice").publish
    assert publish(tenant=acme, by=bob.user, title="Maintenance", message="Soon.").type == "tenant_notice"
    assert {"title", "message", "level"} <= set(inspect.signature(publish).parameters)
