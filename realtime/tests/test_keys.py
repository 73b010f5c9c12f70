"""The keys of subscription tokens: made once, rotated unnoticed, of no use to who has the database."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import jwt
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from events import channels
from realtime import keys, tokens
from realtime.models import SigningKey

LEAD = 30.0
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def own_keys(db, settings) -> Iterator[None]:
    """No key yet; afterwards the one this process had before, whose row may be another test's."""
    settings.SIGNING_KEY_LEAD_SECONDS = LEAD
    SigningKey.objects.all().delete()
    known, keys.ring = keys.ring, keys.KeyRing()
    yield
    keys.ring = known


@pytest.fixture
def passing(monkeypatch):
    """Lets time pass, for the clock and for what this process remembers."""
    now, monotonic = timezone.now(), 1000.0

    def passes(seconds: float) -> None:
        nonlocal now, monotonic
        now, monotonic = now + seconds * SECOND, monotonic + seconds

    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    monkeypatch.setattr("realtime.keys.time.monotonic", lambda: monotonic)
    return passes


def published() -> dict[str, jwt.PyJWK]:
    return {key["kid"]: jwt.PyJWK(key) for key in map(dict, keys.ring.public_keys())}


def kid_of(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


def states() -> list[str]:
    """From the newest to the oldest."""
    now = timezone.now()
    return [key.state_at(now) for key in SigningKey.objects.all()]


def bobs_token(bob) -> str:
    return tokens.subscription_token(bob.user, channels.inbox(bob.user.id)).token


def test_the_first_key_is_made_when_it_is_first_needed(bob):
    token = bobs_token(bob)
    claims = jwt.decode(token, published()[kid_of(token)].key, algorithms=["ES256"], audience="subscription")
    assert claims["channel"] == channels.inbox(bob.user.id).name
    assert states() == ["current"]


def test_what_is_published_says_nothing_of_the_private_half(bob):
    bobs_token(bob)
    (public,) = keys.ring.public_keys()
    assert public.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (public["kty"], public["crv"], public["alg"], public["use"]) == ("EC", "P-256", "ES256", "sig")


def test_signing_again_asks_the_database_nothing(bob, django_assert_num_queries):
    bobs_token(bob)
    with django_assert_num_queries(0):
        assert len({kid_of(bobs_token(bob)) for _ in range(10)}) == 1


def test_a_rotation_is_published_before_it_signs_and_the_old_key_outlives_its_tokens(bob, passing, settings):
    old = kid_of(bobs_token(bob))
    new = keys.rotate().kid
    assert states() == ["next", "current"]
    assert kid_of(bobs_token(bob)) == old  # this process has not even read it

    passing(LEAD / 3)
    assert kid_of(bobs_token(bob)) == old
    assert set(published()) == {old, new}

    passing(LEAD * 2 / 3)
    assert kid_of(bobs_token(bob)) == new
    assert states() == ["current", "retiring"]
    assert set(published()) == {old, new}

    passing(LEAD + 1)
    keys.forget_ended()
    assert SigningKey.objects.get(kid=old).sealed_private == ""  # nobody may sign with it any more
    passing(settings.SUBSCRIPTION_TOKEN_TTL_SECONDS - 2)
    keys.forget_ended()
    bobs_token(bob)
    assert set(published()) == {old, new}

    passing(2)
    keys.forget_ended()
    passing(LEAD)
    bobs_token(bob)
    assert set(published()) == {new}


def test_two_processes_change_at_the_same_moment_whenever_they_read(bob, passing):
    bobs_token(bob)
    here, there = keys.ring, keys.KeyRing()
    passing(LEAD / 4)
    there.signing_key()
    new = keys.rotate().kid
    for _ in range(int(LEAD)):
        passing(1)
        signer = here.signing_key()[0]
        assert there.signing_key()[0] == signer
        for ring in (here, there):
            assert signer in {key["kid"] for key in ring.public_keys()}
    assert signer == new


def test_a_rotation_while_another_waits_changes_nothing(bob, capsys):
    bobs_token(bob)
    call_command("rotate_realtime_keys")
    assert "is published, and signs from" in capsys.readouterr().out
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("rotate_realtime_keys")
    assert states() == ["next", "current"]


def test_rotating_where_nothing_was_ever_signed_makes_the_first_key():
    call_command("rotate_realtime_keys")
    assert states() == ["current"]


def test_the_database_alone_signs_nothing(bob, settings):
    bobs_token(bob)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM realtime_signingkey")
        assert "PRIVATE" not in str(cursor.fetchall())
    settings.SIGNING_KEY_SECRET = "another-secret-of-more-than-thirty-two-characters"
    keys.ring.forget()
    with pytest.raises(keys.CannotUnseal, match="SIGNING_KEY_SECRET"):
        bobs_token(bob)


def test_under_another_secret_a_key_is_made_only_when_that_is_said(bob, settings):
    old = kid_of(bobs_token(bob))
    settings.SIGNING_KEY_SECRET = "another-secret-of-more-than-thirty-two-characters"
    keys.ring.forget()
    with pytest.raises(CommandError, match="another SIGNING_KEY_SECRET"):
        call_command("rotate_realtime_keys")
    call_command("rotate_realtime_keys", "--replace-unreadable")
    assert kid_of(bobs_token(bob)) != old
    assert set(published()) == {old, kid_of(bobs_token(bob))}  # what the old one signed holds on


@pytest.mark.django_db(transaction=True)
def test_many_processes_that_need_the_first_key_at_once_have_the_same():
    rings = [keys.KeyRing() for _ in range(6)]
    together = threading.Barrier(len(rings))
    found = []

    def need(ring: keys.KeyRing) -> None:
        together.wait()
        try:
            found.append(ring.signing_key()[0])
        finally:
            connections.close_all()

    threads = [threading.Thread(target=need, args=(ring,)) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(rings)
    assert len(set(found)) == 1
    assert SigningKey.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_rotations_at_once_one_says_that_it_did_nothing():
    keys.ring.signing_key()
    together = threading.Barrier(2)
    outcomes = []

    def rotate() -> None:
        together.wait()
        try:
            keys.rotate()
            outcomes.append("done")
        except keys.AlreadyRotating:
            outcomes.append("nothing")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=rotate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "nothing"]
    assert states() == ["next", "current"]
