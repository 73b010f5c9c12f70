"""What the embedded engine makes of tokens whose text was tampered with."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Token
from engine.jwks import Key as PublicKey
from engine.jwks import KeySet
from engine.tests.conformance.servers import now
from engine.tests.conformance.test_keys import Key
from engine.tokens import ExpiredToken, InvalidToken, Verifier

MINE = Key("mine")
GOOD = MINE.grant("tenant:a")


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    found = Verifier(Token(jwks_public_endpoint="http://127.0.0.1:9/"), clock=lambda: float(now()))
    found._keys = KeySet("http://127.0.0.1:9/")
    found._keys._keys = {"mine": PublicKey.of(MINE.jwk)}  # type: ignore[dict-item]
    return found


def test_the_token_itself_is_good(verifier: Verifier) -> None:
    assert verifier.subscription(GOOD).channel == "tenant:a"


@settings(max_examples=200, deadline=None)
@given(where=st.integers(min_value=0, max_value=len(GOOD) - 1), bit=st.integers(min_value=0, max_value=7))
def test_a_token_with_any_bit_changed_is_refused(verifier: Verifier, where: int, bit: int) -> None:
    raw = bytearray(GOOD.encode())
    raw[where] ^= 1 << bit
    changed = raw.decode("latin-1")
    if decoded(changed) != decoded(GOOD):  # base64 leaves some bits at the end of a part unused
        with pytest.raises((InvalidToken, ExpiredToken)):
            verifier.subscription(changed)


@settings(max_examples=50, deadline=None)
@given(st.text() | st.lists(st.binary(), min_size=3, max_size=3).map(lambda parts: joined(parts)))
def test_any_text_is_refused_and_nothing_else_happens(verifier: Verifier, text: str) -> None:
    with pytest.raises(InvalidToken):
        verifier.subscription(text)


def joined(parts: list[bytes]) -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def decoded(token: str) -> list[bytes] | None:
    try:
        return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")]
    except ValueError:
        return None
