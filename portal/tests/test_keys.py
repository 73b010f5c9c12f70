"""API keys of acme: Alice sees the secret once, a service works with it, and a revoked key opens nothing."""

import json
import re
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django_scopes import scopes_disabled

from events.models import Event
from tenants import actions
from tenants.models import ApiKey

pytestmark = pytest.mark.django_db
KEYS = "/t/acme/keys/"


@pytest.fixture(autouse=True)
def every_tenant():
    with scopes_disabled():
        yield


def create(alice, **fields):
    sent = {"name": "ci", "scopes": ["events:read"], "idempotency_key": str(uuid4()), **fields}
    return alice.post(f"{KEYS}new/", sent)


def secret_in(html: str) -> str:
    return re.search(r'id="secret" value="([^"]+)"', html)[1]


def feed(secret: str) -> int:
    return Client().get("/api/events", headers={"Authorization": f"Api-Key {secret}"}).status_code


def test_the_secret_lets_a_service_in_and_stands_nowhere_else(alice, caplog):
    response = create(alice)
    secret = secret_in(response.content.decode())
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert feed(secret) == 200
    kept = json.dumps([event.payload for event in Event.objects.all()]) + caplog.text
    kept += "".join(str(session.get_decoded()) for session in Session.objects.all())
    kept += "".join(f"{key.name}{key.prefix}{key.hashed_key}" for key in ApiKey.objects.all())
    kept += str(dict(alice.client.cookies)) + alice.get(KEYS).content.decode()
    assert secret not in kept
    assert secret.partition(".")[2] not in kept


def test_a_reload_of_the_answer_creates_no_second_key_and_shows_no_secret(alice):
    nonce = str(uuid4())
    secret = secret_in(create(alice, idempotency_key=nonce).content.decode())
    response = create(alice, idempotency_key=nonce)
    assert response.status_code == 409
    assert "was created already, and its secret is not shown again" in response.content.decode()
    assert secret not in response.content.decode()
    assert ApiKey.objects.count() == 1


def test_two_companies_may_send_the_same_form(alice, charlie, globex):
    nonce = str(uuid4())
    create(alice, idempotency_key=nonce)
    response = charlie.post("/t/globex/keys/new/", {"name": "ci", "scopes": ["events:read"], "idempotency_key": nonce})
    assert "Copy the secret now" in response.content.decode()


def test_a_key_without_a_name_scope_or_future_is_explained_and_what_was_ticked_is_kept(alice):
    html = create(alice, name="", scopes=["metrics:write"], expires="2020-01-01").content.decode()
    assert "That day is over." in html
    assert "No key was created" in html
    assert "Nothing was changed." in html
    assert 'href="#id_name"' in html
    assert re.search(r'value="metrics:write"[^>]* checked', html)
    assert "This field is required" in create(alice, scopes=[]).content.decode()
    assert "Select a valid choice" in create(alice, scopes=["everything"]).content.decode()
    assert not ApiKey.objects.exists()


def test_a_key_works_until_the_end_of_the_day_in_the_companys_zone(alice, acme):
    actions.update_tenant(acme, by=None, time_zone="America/New_York")
    html = create(alice, expires="2099-01-01").content.decode()
    assert ApiKey.objects.get().expiry_date.isoformat() == "2099-01-02T04:59:59+00:00"
    assert "1 Jan 2099, 23:59:59 America/New_York" in html


def test_a_revoked_key_opens_nothing_and_the_list_says_since_when(alice):
    secret = secret_in(create(alice).content.decode())
    key = ApiKey.objects.get()
    assert feed(secret) == 200
    html = alice.get(f"{KEYS}{key.pk}/revoke/").content.decode()
    assert "It was last used" in html
    assert "Read events" in html
    assert "This can’t be undone" in html
    response = alice.post(f"{KEYS}{key.pk}/revoke/", follow=True)
    html = response.content.decode()
    assert "The API key ci is revoked" in html
    assert "Revoked <time" in html
    assert feed(secret) == 401
    assert Event.objects.order_by("-id").first().summary == "Alice revoked the API key ci"


def test_another_companys_key_does_not_exist(alice, charlie, globex):
    key, secret = actions.create_api_key(globex, "theirs", ["events:read"], by=charlie.user)
    assert "theirs" not in alice.get(KEYS).content.decode()
    for url in (f"{KEYS}{key.pk}/revoke/", f"{KEYS}{uuid4()}/revoke/"):
        assert alice.post(url).status_code == 404
    assert feed(secret) == 200


def test_the_list_costs_the_same_for_one_key_as_for_many(alice, acme, django_assert_max_num_queries):
    for number in range(30):
        actions.create_api_key(acme, f"key {number}", ["events:read"], by=alice.user)
    with django_assert_max_num_queries(14):
        alice.get(KEYS)
