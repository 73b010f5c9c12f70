"""The keys of subscription tokens change while pages are open, and no page notices."""

import jwt

from tests.whole.people import Person
from tests.whole.platform import wait_until


def key_of(token: str) -> str:
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


def new_token(person: Person, channel: str) -> str:
    answer = person.post("/api/realtime/subscriptions", json={"channels": [channel]})
    token: str = answer.json()["tokens"][channel]
    return token


def test_two_rotations_disconnect_nobody_and_old_tokens_hold_until_they_end(platform, acme, alice, bob, subscribe):
    news = acme.channel("notifications")
    pages = [subscribe(alice, acme, [news])]
    keys = [key_of(new_token(bob, news))]
    for _ in range(2):
        platform.manage("rotate_realtime_keys")
        wait_until(lambda: key_of(new_token(bob, news)) not in keys, "the new key signs", 30, every=0.2)
        keys.append(key_of(new_token(bob, news)))
        pages.append(subscribe(bob, acme, [news]))  # a page that is opened now, with the new key's token
        (event,) = platform.inside.say(tenant=acme.id, by=alice.id, count=1)
        wait_until(lambda: all(event in page.ids[news] for page in pages), "every page receives it", 30)  # noqa: B023
    assert [page.connections for page in pages] == [1, 1, 1]

    first = pages[0]
    first.disconnect()
    wait_until(lambda: first.connections == 2, "Alice's page is back")
    first.wait_subscribed()  # with the token it had, of the first key
    assert key_of(first.tokens[news]) == keys[0]
    assert [refusal for page in pages for refusal in page.refusals if "refused" in refusal or "push" in refusal] == []
