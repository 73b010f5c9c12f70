"""The two token endpoints."""

from uuid import uuid4

import jwt
import pytest
from django.conf import settings
from django.test import Client

from accounts.actions import disable_person, raise_generation
from accounts.events import Reason
from events import channels
from events.channels import Topic
from realtime import keys

TOKEN = "/api/realtime/token"
SUBSCRIPTIONS = "/api/realtime/subscriptions"


def connection_claims(token: str) -> dict:
    return jwt.decode(token, settings.CONNECTION_TOKEN_SECRET, algorithms=["HS256"], audience="connection")


def subscription_claims(token: str) -> dict:
    """As the engine reads it: by the key that is published under the token's key id."""
    kid = jwt.get_unverified_header(token)["kid"]
    public = next(key for key in keys.ring.public_keys() if key["kid"] == kid)
    return jwt.decode(token, jwt.PyJWK(public).key, algorithms=["ES256"], audience="subscription")


def test_bob_gets_a_connection_token_of_his_generation(bob):
    answer = bob.api_post(TOKEN)
    assert answer.status_code == 200
    body = answer.json()
    assert body["url"] == "/connection/websocket"
    assert body["expires_at"].endswith("Z")
    assert connection_claims(body["token"])["sub"] == f"{bob.user.id}.{bob.user.access_generation}"


def test_a_page_gets_the_tokens_of_all_its_channels_at_once_and_reasons_for_the_rest(alice, bob, acme, globex):
    figures = channels.tenant(acme.id, Topic.DASHBOARD).name
    logs = channels.deployment(acme.id, uuid4()).name
    theirs = channels.tenant(globex.id, Topic.DASHBOARD).name
    answer = bob.api_post(SUBSCRIPTIONS, {"channels": [figures, logs, theirs, "tenant:*:dashboard", ""]})
    assert answer.status_code == 200
    body = answer.json()
    assert list(body["tokens"]) == [figures]
    token = subscription_claims(body["tokens"][figures])
    assert token["channel"] == figures
    assert token["sub"] == f"{bob.user.id}.{bob.user.access_generation}"
    assert body["denied"] == {
        logs: {"code": 403, "reason": "Your role in Acme can't see logs. Alice can change that."},
        theirs: {"code": 403, "reason": "You are not a member of this tenant."},
        "tenant:*:dashboard": {"code": 400, "reason": "This is not the name of a channel."},
        "": {"code": 400, "reason": "This is not the name of a channel."},
    }


def test_tokens_end_after_the_time_set(bob, settings):
    settings.TOKEN_TTL_SECONDS = -1
    with pytest.raises(jwt.ExpiredSignatureError):
        connection_claims(bob.api_post(TOKEN).json()["token"])


def test_after_a_revocation_tokens_are_of_the_new_generation(bob):
    new = raise_generation(bob.user, Reason.POLICY_NARROWED, by=None)
    assert connection_claims(bob.api_post(TOKEN).json()["token"])["sub"].endswith(f".{new}")


@pytest.mark.parametrize("url", [TOKEN, SUBSCRIPTIONS])
def test_who_is_not_signed_in_gets_401(stranger, url):
    assert stranger.api_post(url, {"channels": ["x"]}).status_code == 401


@pytest.mark.parametrize("url", [TOKEN, SUBSCRIPTIONS])
def test_who_was_disabled_gets_401(bob, url):
    disable_person(bob.user, by=None)
    assert bob.api_post(url, {"channels": ["x"]}).status_code == 401


@pytest.mark.parametrize("url", [TOKEN, SUBSCRIPTIONS])
def test_a_service_gets_403(as_service, make_key, url):
    _, secret = make_key("events:read")
    answer = as_service(secret).post(url, {"channels": ["x"]})
    assert answer.status_code == 403
    assert "GET /api/events" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize("url", [TOKEN, SUBSCRIPTIONS])
def test_another_site_can_not_ask_with_bobs_cookie(bob, url):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(bob.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert browser.post(url, {"channels": ["x"]}, content_type="application/json").status_code == 403


@pytest.mark.parametrize("url", [TOKEN, SUBSCRIPTIONS])
def test_reading_is_no_way_to_ask(bob, url):
    assert bob.api_get(url).status_code == 405


@pytest.mark.parametrize("channels", [None, "x", [], [1, {}], "too many", ["x" * 1001]])
def test_a_request_that_is_none_is_400_and_says_where(bob, channels):
    asked = [f"c{i}" for i in range(101)] if channels == "too many" else channels
    answer = bob.api_post(SUBSCRIPTIONS, {"channels": asked})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["attr"].startswith("channels")


def test_a_page_of_a_hundred_channels_costs_a_handful_of_queries(bob, acme, django_assert_max_num_queries):
    asked = [channels.deployment(acme.id, uuid4()).name for _ in range(99)] + ["nonsense"]
    with django_assert_max_num_queries(5):  # session, person, policies, memberships, who could grant more
        assert len(bob.api_post(SUBSCRIPTIONS, {"channels": asked}).json()["denied"]) == 100


def test_under_another_signing_key_secret_there_are_none_and_the_log_says_what_to_do(
    bob, acme, under_another_secret, caplog
):
    wanted = {"channels": [channels.tenant(acme.id, Topic.DASHBOARD).name]}
    assert bob.api_post(SUBSCRIPTIONS, wanted).status_code == 200
    under_another_secret()
    bob.client.raise_request_exception = False
    answer = bob.api_post(SUBSCRIPTIONS, wanted)
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["code"] == "signing_keys_unreadable"
    assert "rotate_realtime_keys --replace-unreadable" in caplog.text
