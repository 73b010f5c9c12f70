"""Where the public keys are published, as the engine asks for them."""

import json
from collections.abc import Iterator

import pytest
from django.db import OperationalError

from realtime import keys
from realtime.jwks import PublicKeys
from realtime.models import SigningKey

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_ring(settings) -> Iterator[None]:
    settings.SIGNING_KEY_LEAD_SECONDS = 30.0
    known, keys.ring = keys.ring, keys.KeyRing()
    yield
    keys.ring = known


async def ask(endpoint: PublicKeys, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    sent = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b""}

    async def send(message: dict) -> None:
        sent.append(message)

    await endpoint({"type": "http", "method": method, "headers": []}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_anybody_may_read_them_without_a_cookie_and_keep_them_for_seconds():
    status, headers, body = await ask(PublicKeys())
    assert status == 200
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"cache-control"] == b"public, max-age=10"
    assert b"set-cookie" not in headers
    (key,) = json.loads(body)["keys"]
    assert "d" not in key
    assert key["kid"] == (await SigningKey.objects.aget()).kid


async def test_asking_again_asks_the_database_nothing(monkeypatch):
    endpoint = PublicKeys()
    first = await ask(endpoint)
    monkeypatch.setattr(keys.KeyRing, "read", away)
    assert await ask(endpoint) == first


def away(*_: object) -> None:
    raise OperationalError("the database is away")


async def test_what_was_read_once_is_published_while_the_database_is_away(monkeypatch):
    endpoint = PublicKeys()
    first = await ask(endpoint)
    monkeypatch.setattr(keys.KeyRing, "read", away)
    monkeypatch.setattr(keys, "read_again_seconds", lambda: 0.0)
    assert (await ask(endpoint))[2] == first[2]


async def test_that_nothing_could_be_read_is_no_empty_list(monkeypatch):
    monkeypatch.setattr(keys.KeyRing, "read", away)
    status, headers, body = await ask(PublicKeys())
    assert (status, headers[b"cache-control"], body) == (503, b"no-store", b"")


async def test_keys_of_another_secret_are_published_all_the_same(settings):
    first = await ask(PublicKeys())
    keys.ring.forget()
    settings.SIGNING_KEY_SECRET = "another-secret-of-more-than-thirty-two-characters"
    assert await ask(PublicKeys()) == first


@pytest.mark.parametrize(("method", "expected"), [("HEAD", 200), ("POST", 405), ("DELETE", 405)])
async def test_there_is_nothing_to_write(method, expected):
    status, _, body = await ask(PublicKeys(), method)
    assert (status, body) == (expected, b"")
