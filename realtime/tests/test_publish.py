"""POST /api/events/publish."""

from datetime import timedelta
from threading import Thread
from typing import ClassVar
from uuid import UUID, uuid4

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone

from conftest import Person
from events import channels
from events.catalogue import EventType
from events.channels import Topic
from events.models import Event
from realtime import publishing, rates
from realtime.models import IdempotencyKey
from tenants import rates as all_rates

URL = "/api/events/publish"
NOTICE = {"type": "tenant_notice", "title": "Maintenance", "message": "At 22:00 UTC.", "level": "warning"}


@pytest.fixture(autouse=True)
def a_count_of_this_tests_own(settings):
    """In memory, where the tests' clock counts: Redis has a clock of its own."""
    settings.REDIS_URL = ""
    all_rates._limiter.cache_clear()


def notices(tenant) -> str:
    return channels.tenant(tenant.id, Topic.NOTIFICATIONS).name


def logged() -> list[Event]:
    return list(Event.objects.with_scopes_disabled().filter(type="tenant_notice"))


def errors(response) -> dict[str, str]:
    return {error["attr"]: error["detail"] for error in response.json()["errors"]}


def test_bob_sends_a_notice_to_his_tenant(bob, acme):
    answer = bob.api_post(URL, {"channel": notices(acme), "event": NOTICE})
    assert answer.status_code == 202
    (event,) = logged()
    assert answer.json() == {"id": str(event.uuid)}
    assert event.tenant_id == acme.id
    assert notices(acme) in event.channels
    assert (event.payload["title"], event.payload["level"]) == ("Maintenance", "warning")
    assert (event.actor_kind, event.actor_name) == ("person", "Bob")


def test_a_service_sends_a_notice_with_its_key(as_service, make_key, acme):
    key, secret = make_key("events:publish")
    answer = as_service(secret).post(URL, {"channel": notices(acme), "event": NOTICE})
    assert answer.status_code == 202
    (event,) = logged()
    assert (event.actor_kind, event.actor_id) == ("service", key.id)


def test_a_service_can_not_publish_without_the_scope_or_elsewhere(as_service, make_key, acme, globex):
    _, reader = make_key("events:read")
    refused = as_service(reader).post(URL, {"channel": notices(acme), "event": NOTICE})
    assert refused.status_code == 403
    assert "events:publish" in refused.json()["errors"][0]["detail"]
    _, writer = make_key("events:publish")
    assert as_service(writer).post(URL, {"channel": notices(globex), "event": NOTICE}).status_code == 403
    assert not logged()


def test_who_is_not_signed_in_gets_401(stranger, acme):
    assert stranger.api_post(URL, {"channel": notices(acme), "event": NOTICE}).status_code == 401


def test_another_site_can_not_publish_with_bobs_cookie(bob, acme):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(bob.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    body = {"channel": notices(acme), "event": NOTICE}
    assert browser.post(URL, body, content_type="application/json").status_code == 403
    assert not logged()


def test_a_denial_names_the_rule_and_who_can_change_it(alice, bob, acme):
    answer = bob.api_post(URL, {"channel": channels.tenant(acme.id, Topic.BILLING).name, "event": NOTICE})
    assert answer.status_code == 403
    (error,) = answer.json()["errors"]
    assert error["code"] == "denied_by_policy"
    assert error["detail"] == (
        "Your role in Acme can't publish billing. Alice can change that. "
        "(Rule: no policy lets tenant_user publish tenant:{tenant_id}:billing.)"
    )


def test_another_tenants_channel_answers_as_one_that_never_existed(charlie, acme):
    existing = charlie.api_post(URL, {"channel": notices(acme), "event": NOTICE})
    never = charlie.api_post(URL, {"channel": f"tenant:{uuid4()}:notifications", "event": NOTICE})
    assert (existing.status_code, existing.content) == (never.status_code, never.content)
    assert existing.status_code == 403


@pytest.mark.parametrize(
    ("event", "where", "what"),
    [
        ({}, "event.type", "Say which type"),
        ({"type": 5}, "event.type", "Say which type"),
        ({"type": "nonsense"}, "event.type", "not a known event type"),
        ({"type": "tenant_notice", "message": "m"}, "event.title", "required"),
        (NOTICE | {"level": "loud"}, "event.level", "'info'"),
        (NOTICE | {"title": ""}, "event.title", "at least 1 character"),
        (NOTICE | {"seq": 7}, "event.seq", "not permitted"),
        (NOTICE | {"tenantId": str(uuid4())}, "event.tenantId", "not permitted"),
        (NOTICE | {"title": {"a": 1}}, "event.title", "valid string"),
        (NOTICE | {"message": "a\x00b"}, "event", "can't be stored"),
        (NOTICE | {"message": {"deep": ["\x00"]}}, "event", "can't be stored"),
        (NOTICE | {"\x00": 10**30}, "event", "can't be stored"),
        (NOTICE | {"title": 10**30}, "event.title", "valid string"),
        ({"type": "access_changed"}, "event.type", "It reports what the platform itself did"),
    ],
)
def test_what_is_wrong_is_said_of_the_field(bob, acme, event, where, what):
    answer = bob.api_post(URL, {"channel": notices(acme), "event": event})
    assert answer.status_code == 400
    assert what in errors(answer)[where]
    assert not logged()


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "channel"),
        ({"channel": "tenant:acme:notifications", "event": NOTICE}, "channel"),
        ({"channel": "tenant:*", "event": NOTICE}, "channel"),
        ({"channel": {}, "event": NOTICE}, "channel"),
        ({"channel": f"tenant:{uuid4()}:notifications", "event": "x"}, "event"),
        ([], "non_field_errors"),
    ],
)
def test_a_body_that_is_none_is_said_of_its_field(bob, body, where):
    answer = bob.api_post(URL, body)
    assert answer.status_code == 400
    assert where in errors(answer)


def test_an_event_goes_to_the_channel_it_was_published_on_or_nowhere(alice, acme):
    channel = channels.tenant(acme.id, Topic.DASHBOARD).name
    answer = alice.api_post(URL, {"channel": channel, "event": NOTICE})
    assert answer.status_code == 400
    assert errors(answer)["channel"] == f"tenant_notice does not go to this channel but to {notices(acme)}."
    assert not logged()


def test_a_type_with_an_endpoint_of_its_own_is_refused_with_its_address(alice, acme, monkeypatch):
    class Ordered(EventType):
        type: ClassVar[str] = "ordered"
        endpoint: ClassVar[str] = "POST /api/orders"

    monkeypatch.setattr(publishing, "get", lambda name: Ordered)
    answer = alice.api_post(URL, {"channel": notices(acme), "event": {"type": "ordered"}})
    assert answer.status_code == 400
    assert errors(answer)["event.type"] == "ordered is not published directly. Use POST /api/orders instead."


def test_the_platforms_admin_publishes_to_tenants_that_exist(platform_admin, acme):
    body = {"channel": notices(acme), "event": NOTICE}
    assert platform_admin.api_post(URL, body).status_code == 202
    unknown = platform_admin.api_post(URL, body | {"channel": f"tenant:{uuid4()}:notifications"})
    assert errors(unknown) == {"channel": "No tenant has this id."}
    nobodys = platform_admin.api_post(URL, body | {"channel": "admin:platform:events"})
    assert "belong to a tenant" in errors(nobodys)["channel"]


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"channel":', b"\xff", b"NaN"])
def test_what_is_no_json_is_400(bob, body):
    assert bob.client.post(URL, body, content_type="application/json").status_code == 400


# --- Asked for twice --------------------------------------------------------------------------------------------------


def test_asking_again_with_the_same_key_answers_the_same_and_does_nothing(bob, acme):
    body = {"channel": notices(acme), "event": NOTICE}
    first = bob.api_post(URL, body, Idempotency_Key="k1")
    again = bob.api_post(URL, body, Idempotency_Key="k1")
    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (202, first.json())
    assert len(logged()) == 1
    assert bob.api_post(URL, body).json() != first.json()


def test_the_same_key_for_another_request_is_a_conflict(bob, acme):
    assert bob.api_post(URL, {"channel": notices(acme), "event": NOTICE}, Idempotency_Key="k1").status_code == 202
    other = {"channel": notices(acme), "event": NOTICE | {"title": "Other"}}
    answer = bob.api_post(URL, other, Idempotency_Key="k1")
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["code"] == "idempotency_conflict"
    assert len(logged()) == 1


def test_a_key_is_its_callers_own(alice, bob, acme):
    body = {"channel": notices(acme), "event": NOTICE}
    first = bob.api_post(URL, body, Idempotency_Key="k1").json()
    assert alice.api_post(URL, body, Idempotency_Key="k1").json() != first


def test_after_a_day_a_key_is_forgotten(bob, acme):
    body = {"channel": notices(acme), "event": NOTICE}
    first = bob.api_post(URL, body, Idempotency_Key="k1").json()
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    second = bob.api_post(URL, body, Idempotency_Key="k1").json()
    assert second != first
    assert publishing.forget_old_keys() == 0
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert publishing.forget_old_keys() == 1


def test_what_was_refused_may_be_mended_under_the_same_key(bob, acme):
    broken = {"channel": notices(acme), "event": {"type": "tenant_notice"}}
    assert bob.api_post(URL, broken, Idempotency_Key="k1").status_code == 400
    mended = {"channel": notices(acme), "event": NOTICE}
    assert bob.api_post(URL, mended, Idempotency_Key="k1").status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x01b", "é"])
def test_a_key_that_is_none_is_refused(bob, acme, key):
    answer = bob.api_post(URL, {"channel": notices(acme), "event": NOTICE}, Idempotency_Key=key)
    assert answer.status_code == 400


@pytest.mark.django_db(transaction=True)
def test_the_same_request_four_times_at_once_makes_one_event(bob, acme, settings):
    settings.PUBLISHED_PER_SECOND = settings.PUBLISHED_PER_SECOND | {"notifications": 100}
    answers: list[UUID] = []

    def ask() -> None:
        try:
            body = {"channel": notices(acme), "event": NOTICE}
            answers.append(Person(bob.user).api_post(URL, body, Idempotency_Key="k1").json()["id"])
        finally:
            connection.close()

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert set(answers) == {str(event.uuid) for event in logged()}
    assert len(logged()) == 1


# --- How often --------------------------------------------------------------------------------------------------------


@time_machine.travel("2026-11-23 12:00:00", tick=False)
def test_the_sixth_notice_of_a_second_has_to_wait(bob, alice, acme):
    body = {"channel": notices(acme), "event": NOTICE}
    assert [bob.api_post(URL, body).status_code for _ in range(5)] == [202] * 5
    for person in (bob, alice):  # the limit is the tenant's
        answer = person.api_post(URL, body)
        assert answer.status_code == 429
        assert answer["Retry-After"] == "1"
    assert len(logged()) == 5


@time_machine.travel("2026-11-23 12:00:00", tick=False)
def test_a_tenants_limit_is_its_own(bob, charlie, acme, globex):
    for _ in range(6):
        bob.api_post(URL, {"channel": notices(acme), "event": NOTICE})
    assert charlie.api_post(URL, {"channel": notices(globex), "event": NOTICE}).status_code == 202


@time_machine.travel("2026-11-23 12:00:00", tick=False)
@pytest.mark.parametrize(("kind", "a_second"), [("dashboard", 10), ("notifications", 5), ("billing", 10)])
def test_the_rates_are_the_contracts(kind, a_second):
    channel = channels.tenant(uuid4(), Topic(kind))
    assert [rates.seconds_to_wait(channel) for _ in range(a_second + 1)] == [0] * a_second + [1]


@time_machine.travel("2026-11-23 12:00:00", tick=False)
def test_the_operations_channels_take_a_hundred(db):
    assert [rates.seconds_to_wait(channels.ADMIN_EVENTS) for _ in range(101)] == [0] * 100 + [1]


def test_with_redis_one_limit_holds_for_all_web_processes(redis_url, settings):
    settings.REDIS_URL = redis_url
    channel = channels.tenant(uuid4(), Topic.NOTIFICATIONS)
    waits = [rates.seconds_to_wait(channel) for _ in range(5)]
    all_rates._limiter.cache_clear()  # as in another process
    assert waits == [0] * 5
    assert rates.seconds_to_wait(channel) == 1


def test_while_redis_is_away_the_process_counts_for_itself(settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    channel = channels.tenant(uuid4(), Topic.NOTIFICATIONS)
    assert [rates.seconds_to_wait(channel) for _ in range(6)][:5] == [0] * 5
