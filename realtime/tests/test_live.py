"""`request.live`, as a page's view uses it."""

from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.http import HttpResponse, JsonResponse
from django.test import RequestFactory

from conftest import Person
from events import channels, engine_client
from events.channels import Topic
from events.engine_client import Position
from events.live import Following, Live
from realtime.middleware import FollowedInTransaction, LiveMiddleware
from realtime.tokens import read_connection_token
from tenants.actions import create_api_key


@pytest.fixture
def asked(monkeypatch) -> list[list[str]]:
    """An engine that answers; what it was asked for, request by request."""
    requests: list[list[str]] = []

    def positions(wanted, timeout=0.2):
        requests.append([channel.name for channel in wanted])
        return {name: Position(offset=7, epoch="e") for name in requests[-1]}

    monkeypatch.setattr(engine_client, "positions", positions)
    return requests


def live(person, tenant=None) -> Live:
    request = RequestFactory().get("/")
    request.user = person.user or AnonymousUser()
    LiveMiddleware(lambda request: None)(request)
    if tenant:
        request.tenant = tenant
    return request.live


def test_a_page_learns_where_to_subscribe_from_in_one_request(bob, acme, asked):
    figures = channels.tenant(acme.id, Topic.DASHBOARD)
    following: Following = live(bob, acme).follow(figures)
    own = [figures.name, f"user:{bob.user.id}:inbox", f"tenant:{acme.id}:notifications"]
    assert asked == [own]
    assert following.config["channels"] == {name: {"offset": 7, "epoch": "e"} for name in own}
    assert following.config["denied"] == {}
    assert following.config["engine"] == "up"
    assert following.config["tenant"] == "acme"
    assert following.config["user"] == str(bob.user.id)
    assert following.config["connection"] == {"url": "/connection/websocket", "tokenUrl": "/api/realtime/token"}
    assert following.config["subscriptionsUrl"] == "/api/realtime/subscriptions"
    assert following.config["now"].endswith("Z")


def test_a_page_comes_with_the_tokens_it_connects_with_first_and_none_that_it_may_not_have(bob, acme, asked):
    figures, logs = channels.tenant(acme.id, Topic.DASHBOARD), channels.deployment(acme.id, uuid4())
    following = live(bob, acme).follow(figures, logs)
    tokens = following.for_page["tokens"]
    assert read_connection_token(tokens["connection"]).user_id == bob.user.id
    own = {figures.name, f"user:{bob.user.id}:inbox", f"tenant:{acme.id}:notifications"}
    assert tokens["subscriptions"].keys() == own
    assert "tokens" not in following.config, "which others than the page's script read"


def test_a_stranger_gets_no_token_with_a_page(stranger, acme, asked):
    assert live(stranger).follow(channels.tenant(acme.id, Topic.DASHBOARD)).for_page["tokens"] is None


def test_where_no_token_can_be_signed_the_page_comes_without(bob, acme, asked, under_another_secret, caplog):
    under_another_secret()
    assert live(bob, acme).follow().for_page["tokens"] is None
    assert "rotate_realtime_keys --replace-unreadable" in caplog.text


def test_no_cache_keeps_a_page_with_tokens_in_it(bob, asked):
    def answer(view) -> HttpResponse:
        request = RequestFactory().get("/")
        request.user = bob.user
        return LiveMiddleware(view)(request)

    page = answer(lambda request: JsonResponse(request.live.follow().for_page))
    assert "no-store" in page["Cache-Control"]
    assert "private" in page["Cache-Control"]
    assert "Cache-Control" not in answer(lambda request: JsonResponse(request.live.follow().config))


def test_what_bob_may_not_follow_says_why_and_is_not_asked_for(alice, bob, acme, asked):
    logs = channels.deployment(acme.id, uuid4())
    config = live(bob, acme).follow(logs).config
    assert config["denied"] == {
        logs.name: {"code": 403, "reason": "Your role in Acme can't see logs. Alice can change that."}
    }
    assert logs.name not in config["channels"]
    assert logs.name not in asked[0]


def test_panels_are_shown_to_those_who_may_listen(alice, bob, acme, asked):
    activity = channels.tenant(acme.id, Topic.ACTIVITY)
    assert live(alice, acme).may_listen(activity)
    assert not live(bob, acme).may_listen(activity)
    assert asked == []


def test_a_form_that_publishes_is_offered_to_those_who_may(alice, bob, charlie, acme):
    notices, figures = channels.tenant(acme.id, Topic.NOTIFICATIONS), channels.tenant(acme.id, Topic.DASHBOARD)
    assert live(bob, acme).may_publish(notices)
    assert not live(bob, acme).may_publish(figures)
    assert live(alice, acme).may_publish(figures)
    assert not live(charlie).may_publish(notices)


def test_while_the_engine_is_away_the_page_still_knows_its_channels(bob, acme):
    config = live(bob, acme).follow().config
    assert config["engine"] == "away"
    assert config["channels"] == {f"user:{bob.user.id}:inbox": {}, f"tenant:{acme.id}:notifications": {}}


def test_a_page_of_no_tenant_follows_the_inbox(platform_admin, asked):
    config = live(platform_admin).follow(channels.ADMIN_EVENTS).config
    assert config["tenant"] is None
    assert list(config["channels"]) == ["admin:platform:events", f"user:{platform_admin.user.id}:inbox"]


def test_a_stranger_follows_nothing(stranger, acme, asked):
    config = live(stranger).follow(channels.tenant(acme.id, Topic.DASHBOARD)).config
    assert config["channels"] == {}
    assert config["user"] is None
    assert len(config["denied"]) == 1


def test_following_inside_a_transaction_is_refused_in_development(bob, settings):
    settings.DEBUG = True
    with transaction.atomic(), pytest.raises(FollowedInTransaction):
        live(bob).follow()


def test_a_page_with_many_panels_costs_three_queries(alice, bob, acme, asked, django_assert_num_queries):
    page = live(bob, acme)
    with django_assert_num_queries(3):  # policies, memberships, and who could grant what is denied
        for topic in Topic:
            page.may_listen(channels.tenant(acme.id, topic))
        page.follow(channels.tenant(acme.id, Topic.DASHBOARD))


def test_a_request_that_asks_for_nothing_costs_nothing(bob, django_assert_num_queries):
    with django_assert_num_queries(0):
        live(bob)


def test_a_service_follows_what_its_key_may_read(alice, acme, globex, asked):
    key, _ = create_api_key(acme, "dashboard", ["events:read"], by=alice.user)
    request = live(Person(user=None))._request
    request.principal = key
    config = request.live.follow(*(channels.tenant(one.id, Topic.DASHBOARD) for one in (acme, globex))).config
    assert list(config["channels"]) == [f"tenant:{acme.id}:dashboard"]
    assert list(config["denied"]) == [f"tenant:{globex.id}:dashboard"]
