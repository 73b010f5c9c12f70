"""The gate's copy of the access generations."""

from uuid import uuid4

import pytest

from events import generations
from events.generations import GenerationsAway
from tests import services


@pytest.fixture(scope="module")
def redis_url():
    try:
        with services.redis() as url:
            yield url
    except services.NotHere as reason:
        pytest.skip(str(reason))


def test_a_generation_rises_and_never_falls(redis_url, settings):
    settings.REDIS_URL = redis_url
    bob = uuid4()
    assert generations.read(bob) is None
    for written, kept in [(2, 2), (10, 10), (9, 10)]:
        generations.write(bob, written)
        assert generations.read(bob) == kept


def test_without_redis_there_are_none(settings):
    settings.REDIS_URL = ""
    generations.write(uuid4(), 2)
    assert generations.read(uuid4()) is None


def test_a_redis_that_is_away_is_said(settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    with pytest.raises(GenerationsAway):
        generations.write(uuid4(), 2)
    with pytest.raises(GenerationsAway):
        generations.read(uuid4())
