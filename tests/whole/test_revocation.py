"""Access that was taken away is gone, whatever the client does; and only that access."""

import time
from collections.abc import Iterator

import pytest

from tests.whole.hostile import Hostile
from tests.whole.platform import Platform, wait_until

pytestmark = pytest.mark.spine

EVENTS = 1000
CHUNK = 50
#: From so long after a revocation nothing may leak.
GRACE_SECONDS = 2.0


@pytest.fixture
def bobs_other_job(platform: Platform, bob, globex) -> None:
    platform.inside.join(tenant=globex.id, person=bob.id, role="tenant_user")


@pytest.fixture
def hostile(bob, acme) -> Iterator[Hostile]:
    client = Hostile(bob, acme.channel("notifications"))
    yield client
    client.close()


def test_a_removed_member_who_keeps_every_token_receives_nothing_and_his_other_tenant_goes_on(
    platform, acme, globex, alice, bob, charlie, bobs_other_job, hostile, subscribe
):
    news, other_news = acme.channel("notifications"), globex.channel("notifications")
    alices_page = subscribe(alice, acme, [news])
    bobs_other_page = subscribe(bob, globex, [other_news])
    (before,) = platform.inside.say(tenant=acme.id, by=alice.id, count=1)
    hostile.wait_for(before)

    platform.inside.remove_member(tenant=acme.id, person=bob.id)
    time.sleep(GRACE_SECONDS)
    attempts, started = hostile.attempts, time.monotonic()
    secret, others = [], []
    while len(secret) < EVENTS:
        secret += platform.inside.say(tenant=acme.id, by=alice.id, count=CHUNK)
        others += platform.inside.say(tenant=globex.id, by=charlie.id, count=CHUNK // 5)
    wait_until(lambda: alices_page.ids[news][-1:] == secret[-1:], "Alice receives the last one", 30)
    wait_until(lambda: bobs_other_page.ids[other_news][-1:] == others[-1:], "Bob's other page goes on", 30)
    seen = hostile.attempts
    wait_until(lambda: hostile.attempts >= seen + 12, "it has tried everything once more")

    assert not hostile.ids & set(secret), hostile.answers
    assert alices_page.ids[news][-EVENTS:] == secret
    assert bobs_other_page.ids[other_news] == platform.inside.logged(channel=other_news)
    a_second = (hostile.attempts - attempts) / (time.monotonic() - started)
    assert a_second > 8, f"it came back only {a_second:.1f} times a second: {hostile.answers}"
