"""Subscription tokens by public keys that are published elsewhere, and change while clients are connected."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from engine.tests.conformance.conftest import Launch
from engine.tests.conformance.sdk import Sdk
from engine.tests.conformance.servers import Raw, Server, now, outcome, running, token

MAKERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "ES384": (lambda: ec.generate_private_key(ec.SECP384R1()), ECAlgorithm),
    "RS256": (lambda: rsa.generate_private_key(65537, 2048), RSAAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate, OKPAlgorithm),
}


class Key:
    """A key pair and its JSON Web Key."""

    def __init__(self, kid: str, algorithm: str = "ES256", **changed: Any) -> None:
        make, encoder = MAKERS[algorithm]
        self.kid, self.algorithm, self.private = kid, algorithm, make()
        public = encoder.to_jwk(self.private.public_key(), as_dict=True)
        jwk = public | {"kid": kid, "alg": algorithm, "use": "sig"} | changed
        self.jwk = {name: value for name, value in jwk.items() if value is not None and name != "key_ops"}

    def grant(self, channel: str, user: str = "alice", *, kid: Any = "", algorithm: str = "", **claims: Any) -> str:
        content = {"sub": user, "channel": channel, "exp": now() + 3600} | claims
        headers = {} if kid is None else {"kid": kid or self.kid}
        return jwt.encode(content, self.private, algorithm=algorithm or self.algorithm, headers=headers)

    @property
    def pem(self) -> bytes:
        pem: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem


class Published:
    """Where keys are published, at one address for all tests. `status` other than 200 is an outage."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.status, self.asked = 200, 0
        published = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                published.asked += 1
                body = json.dumps({"keys": [key.jwk for key in published.keys]}).encode()
                self.send_response(published.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Not among the tests' output."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/jwks.json"

    def add(self, name: str, algorithm: str = "ES256", **changed: Any) -> Key:
        """Engines remember ids: each test has its own."""
        self.keys.append(Key(f"{name}-{uuid4().hex}", algorithm, **changed))
        return self.keys[-1]


@pytest.fixture(scope="module")
def address() -> Iterator[Published]:
    found = Published()
    thread = Thread(target=found.http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield found
    found.http.shutdown()
    found.http.server_close()
    thread.join()


@pytest.fixture
def published(address: Published) -> Published:
    """Nothing is published yet."""
    address.keys.clear()
    address.status = 200
    return address


def reading(published: Published, **more: Any) -> dict[str, Any]:
    return {
        "subscription_token": {"enabled": True, "hmac_secret_key": "", "jwks_public_endpoint": published.url, **more}
    }


@pytest.fixture(scope="module")
def server(kind: str, redis_url: str, address: Published) -> Iterator[Server]:
    with running(kind, redis_url, client=reading(address)) as server:
        yield server


async def subscribe(client: Raw, channel: str, given: str) -> Any:
    answer = await client.command(subscribe={"channel": channel, "token": given})
    return "subscribed" if isinstance(outcome(answer, "subscribe"), dict) else outcome(answer, "subscribe")


def unsigned(header: dict[str, Any], channel: str, sign: Callable[[bytes], bytes] = lambda text: b"") -> str:
    """A token that no library would make."""
    claims = {"sub": "alice", "channel": channel, "exp": now() + 3600}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    text = b".".join(parts)
    return (text + b"." + base64.urlsafe_b64encode(sign(text)).rstrip(b"=")).decode()


async def test_keys_of_each_kind_are_read_once_when_they_are_first_seen(server: Server, published: Published) -> None:
    async with server.connected() as alice:
        for algorithm in MAKERS:
            key = published.add(f"a-{algorithm}", algorithm)
            asked = published.asked
            for channel in (f"tenant:{algorithm}1", f"tenant:{algorithm}2"):
                assert await subscribe(alice, channel, key.grant(channel)) == "subscribed"
            assert published.asked == asked + 1


async def test_tokens_that_no_key_signed_are_refused(server: Server, published: Published) -> None:
    mine, rsa_key = published.add("mine"), published.add("rsa", "RS256")
    forger = Key(mine.kid)
    channel = "tenant:a"
    shown = hmac.new
    tokens = {
        "by another key under this id": forger.grant(channel),
        "by another key that comes with it": forger.grant(channel, kid="new"),
        "by this key under the id of another kind": mine.grant(channel, kid=rsa_key.kid),
        "by another kind under this id": rsa_key.grant(channel, kid=mine.kid),
        "by another hash than the key's": rsa_key.grant(channel, algorithm="RS512"),
        "by the public key as a secret": unsigned(
            {"alg": "HS256", "kid": mine.kid}, channel, lambda text: shown(mine.pem, text, hashlib.sha256).digest()
        ),
        "by nothing": unsigned({"alg": "none", "kid": mine.kid}, channel),
        "by nothing, said otherwise": unsigned({"alg": "NONE", "kid": mine.kid}, channel),
        "by the right algorithm and no signature": unsigned({"alg": "ES256", "kid": mine.kid}, channel),
        "without an id": mine.grant(channel, kid=None),
        "with a number as id": unsigned({"alg": "ES256", "kid": 5}, channel, lambda text: b"x" * 64),
        "with a list as id": unsigned({"alg": "ES256", "kid": [mine.kid]}, channel, lambda text: b"x" * 64),
        "with a path as id": mine.grant(channel, kid=f"../{mine.kid}"),
        "with a key in its header": jwt.encode(
            {"sub": "alice", "channel": channel},
            forger.private,
            algorithm="ES256",
            headers={"kid": "new", "jwk": forger.jwk, "jku": published.url},
        ),
        "expired, by another key": forger.grant(channel, exp=5),
    }
    async with server.connected() as alice:
        answers = {case: await subscribe(alice, channel, given) for case, given in tokens.items()}
        assert answers == dict.fromkeys(tokens, 103)
        assert await subscribe(alice, channel, mine.grant(channel, exp=5)) == 109
        assert await subscribe(alice, channel, mine.grant(channel)) == "subscribed"


@pytest.mark.parametrize("claims", [{"channel": "tenant:b"}, {"user": "bob"}, {"user": "alice.2"}])
async def test_a_good_signature_makes_it_nobody_elses(
    server: Server, published: Published, claims: dict[str, str]
) -> None:
    mine = published.add("mine")
    async with server.connected("alice.1") as alice:
        given = mine.grant(**{"channel": "tenant:a", "user": "alice.1"} | claims)
        assert await subscribe(alice, "tenant:a", given) == 3500


JWKS = {
    "without an algorithm": ({"alg": None}, "subscribed"),
    "for nothing": ({"use": None}, 103),
    "for encryption": ({"use": "enc"}, 103),
    "for an algorithm of another curve": ({"alg": "ES384"}, 103),
    "without a kind": ({"kty": None}, 103),
}


@pytest.mark.parametrize("case", JWKS)
async def test_a_published_key(server: Server, published: Published, case: str) -> None:
    changed, expected = JWKS[case]
    key = published.add("odd", **changed)
    async with server.connected() as alice:
        assert await subscribe(alice, "tenant:a", key.grant("tenant:a")) == expected


async def test_what_is_invented_hides_no_key_that_is_published_later(server: Server, published: Published) -> None:
    async with server.connected() as alice:
        for number in range(3):
            assert await subscribe(alice, "tenant:a", Key(f"invented{number}").grant("tenant:a")) == 103
        later = published.add("later")
        assert await subscribe(alice, "tenant:a", later.grant("tenant:a")) == "subscribed"


async def test_known_keys_outlast_an_outage_of_where_they_are_published(server: Server, published: Published) -> None:
    known = published.add("known")
    async with server.connected() as alice:
        assert await subscribe(alice, "tenant:a", known.grant("tenant:a")) == "subscribed"
        published.status = 500
        assert await subscribe(alice, "tenant:b", known.grant("tenant:b")) == "subscribed"
        unknown = published.add("unknown")
        assert await subscribe(alice, "tenant:c", unknown.grant("tenant:c")) == 103
        published.status = 200
        assert await subscribe(alice, "tenant:c", unknown.grant("tenant:c")) == "subscribed"


async def test_where_public_keys_are_configured_a_secret_counts_no_more(launch: Launch, published: Published) -> None:
    secret = "a-secret-that-is-configured-beside-the-keys"
    mine = published.add("mine")
    with launch(client=reading(published, hmac_secret_key=secret)) as server:
        async with server.connected() as alice:
            for headers in ({}, {"kid": mine.kid}):
                given = jwt.encode({"sub": "alice", "channel": "tenant:a"}, secret, algorithm="HS256", headers=headers)
                assert await subscribe(alice, "tenant:a", given) == 103
            assert await subscribe(alice, "tenant:a", mine.grant("tenant:a")) == "subscribed"


async def test_refreshing_by_a_key_that_is_new_or_by_one_that_is_none(server: Server, published: Published) -> None:
    old = published.add("old")
    async with server.connected() as alice:
        await subscribe(alice, "tenant:a", old.grant("tenant:a"))
        new = published.add("new")
        answer = await alice.command(sub_refresh={"channel": "tenant:a", "token": new.grant("tenant:a")})
        assert outcome(answer, "sub_refresh")["expires"] is True
        refused = {"channel": "tenant:a", "token": Key("invented").grant("tenant:a")}
        assert await alice.command(sub_refresh=refused) == 3500


async def test_keys_change_twice_and_no_client_notices(
    server: Server, published: Published, sdk: Sdk, unique: str
) -> None:
    """The old key's tokens hold on, the client refreshes with the new one's, and is never disconnected."""
    channel = f"tenant:{unique}"
    signing = published.add("first")
    used: list[str] = []

    def get_token(asked: dict[str, Any]) -> str:
        used.append(signing.kid)
        return signing.grant(asked["channel"], exp=now() + 3)

    sdk.answers["getToken"] = get_token
    sdk.client("alice", server.websocket_url, token=token())
    await sdk.event("connected")
    sdk.subscribe("alice", channel, asks=["getToken"])
    await sdk.event("subscribed")
    for number in range(2):
        former, signing = signing, published.add(f"next{number}")
        async with server.connected() as bob:
            assert await subscribe(bob, channel, former.grant(channel)) == "subscribed"
        await sdk.asks("getToken", len(used) + 1)
        server.publish(channel, number)
        await sdk.event("publication", data=number)
    assert set(used) == {key.kid for key in published.keys}
    said = [event["event"] for event in sdk.events]
    assert said.count("connected") == said.count("subscribed") == 1
