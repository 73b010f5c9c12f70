"""The gate's copy of the access generations."""

from uuid import uuid4

import pytest

from events import generations
from events.generations import GenerationsAway
from tests import services
from tests.faults.servers import Redis


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


@pytest.fixture
def server(tmp_path, settings):
    try:
        server = Redis(tmp_path, "redis")
    except services.NotHere as reason:
        pytest.skip(str(reason))
    server.start()
    settings.REDIS_URL = server.url
    yield server
    server.close()


def test_what_a_redis_knows_that_came_back_with_older_data_counts_as_forgotten(server):
    bob, carol = uuid4(), uuid4()
    generations.write_many({bob: 2, carol: 5})
    server.save()
    generations.write(bob, 3)
    server.kill()
    server.start()
    assert generations.read_many({bob, carol}) == {}
    generations.write_many({bob: 3, carol: 4})  # a read of carol's row that was overtaken
    assert generations.read_many({bob, carol}) == {bob: 3}
    generations.write(carol, 5)
    assert generations.read(carol) == 5


def test_a_redis_that_kept_all_is_asked_anew_all_the_same(server):
    bob = uuid4()
    server.keep_all()
    generations.write(bob, 2)
    server.kill()
    server.start()
    assert generations.read(bob) is None
