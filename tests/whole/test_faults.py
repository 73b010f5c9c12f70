"""kill -9, cut networks and long absences: what a subscriber has is what the log has, in order, each once.

Where a channel's history cannot bridge the gap, the subscriber is told so, reloads, and then has what the log has.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.whole.people import Company, Person
from tests.whole.platform import Platform, wait_until
from tests.whole.subscriber import Subscriber

pytestmark = pytest.mark.faults

EVENTS = 1000
CHUNK = 25  # events of one call
LINES = 10_000
HISTORY = 1000


class Sender:
    """Somebody who says something, one transaction each, not far ahead of `subscriber` until `hurry` is set."""

    def __init__(self, company: Company, by: Person, subscriber: Subscriber, count: int = EVENTS) -> None:
        self.company, self.by, self.subscriber, self.count = company, by, subscriber, count
        self.channel = company.channel("notifications")
        self.sent: list[str] = []
        self.hurry = threading.Event()
        self._outcome = ThreadPoolExecutor(1).submit(self._send)

    def _send(self) -> None:
        hands = self.company.platform.meanwhile
        while len(self.sent) < self.count:
            self.sent += hands.say(tenant=self.company.id, by=self.by.id, count=CHUNK)
            wait_until(lambda: self.hurry.is_set() or self._is_close(), "the subscriber keeps up")

    def _is_close(self) -> bool:
        return len(self.sent) - len(self.subscriber.ids[self.channel]) < 2 * CHUNK

    def wait_received(self, count: int) -> None:
        wait_until(lambda: len(self.subscriber.ids[self.channel]) >= count, f"{count} have arrived", 30)

    def wait_sent(self, count: int) -> None:
        wait_until(lambda: len(self.sent) >= count or self._outcome.done(), f"{count} have been sent", 60)
        if self._outcome.done():
            self._outcome.result()


def expect_what_the_log_has(platform: Platform, subscriber: Subscriber) -> None:
    platform.wait_caught_up()
    for channel in subscriber.channels:
        logged = platform.inside.logged(channel=channel)
        wait_until(lambda: subscriber.ids[channel][-1:] == logged[-1:], f"the last event arrives on {channel}")  # noqa: B023
        assert subscriber.ids[channel] == logged, f"{channel}, reloaded {subscriber.reloads[channel]} times"


@pytest.mark.parametrize("victim", ["relay", "engine", "web", "worker", "runner"])
def test_nothing_is_missing_or_doubled_after_kill_9(platform, acme, alice, subscribe, victim):
    channels = [acme.channel("notifications"), acme.channel("activity")]
    subscriber = subscribe(alice, acme, channels)
    sender = Sender(acme, alice, subscriber)
    sender.wait_received(EVENTS // 4)
    platform.kill(victim)
    sender.hurry.set()
    assert len(sender.sent) < EVENTS // 2
    sender.wait_sent(EVENTS * 3 // 4)
    platform.start(victim)
    sender.wait_sent(EVENTS)
    expect_what_the_log_has(platform, subscriber)
    assert platform.inside.dead_letters() == 0
    if victim != "engine":
        assert subscriber.reloads == dict.fromkeys(channels, 0)


def test_without_any_relay_celery_publishes_in_order(platform, acme, alice, subscribe):
    channels = [acme.channel("notifications"), acme.channel("activity")]
    subscriber = subscribe(alice, acme, channels)
    platform.kill_every("relay")
    platform.inside.say(tenant=acme.id, by=alice.id, count=EVENTS // 4)
    expect_what_the_log_has(platform, subscriber)
    assert subscriber.reloads == dict.fromkeys(channels, 0)


def test_a_log_is_whole_when_its_runner_is_killed(platform, acme, alice, subscribe):
    script = f"import time\nfor n in range({LINES}): print('line', n, flush=True); time.sleep(0.0005)"
    platform.inside.make_stack(
        slug=f"lines-{acme.slug}", name="Lines", steps=[{"name": "print", "command": [sys.executable, "-c", script]}]
    )
    deployment = platform.inside.deploy(tenant=acme.id, by=alice.id, stack=f"lines-{acme.slug}")
    lines = f"tenant:{acme.id}:deployments:{deployment['id']}"
    subscriber = subscribe(alice, acme, [lines, acme.channel("deployments"), acme.channel("dashboard")])
    wait_until(lambda: len(subscriber.ids[lines]) > 5, "the log moves", 30)
    platform.kill("runner")
    platform.start("runner")
    wait_until(
        lambda: platform.inside.deployment_status(deployment=deployment["id"]) == "lost", "it is lost", 60, every=0.2
    )
    expect_what_the_log_has(platform, subscriber)


@pytest.mark.parametrize(("missed", "reloads"), [(HISTORY - 1, 0), (HISTORY + 1, 1)])
def test_history_bridges_what_it_holds_and_says_so_when_it_does_not(platform, acme, alice, subscribe, missed, reloads):
    channel = acme.channel("notifications")
    subscriber = subscribe(alice, acme, [channel])
    platform.inside.say(tenant=acme.id, by=alice.id, count=1)
    wait_until(lambda: subscriber.ids[channel], "the first arrives")
    subscriber.go_away()
    platform.inside.say(tenant=acme.id, by=alice.id, count=missed)
    platform.wait_caught_up()
    subscriber.come_back()
    expect_what_the_log_has(platform, subscriber)
    assert subscriber.reloads[channel] == reloads


@pytest.mark.parametrize("minutes", [4, 6])
def test_an_outage_of_the_engine_doubles_nothing(platform, acme, alice, subscribe, minutes):
    """Frozen amid pushes whose fate the relay cannot know, for less and for more than an idempotency key lasts."""
    if platform.engine != "process":
        pytest.skip("only the embedded engine's clock can be set (NEO_ENGINE=process)")
    channels = [acme.channel("notifications"), acme.channel("activity")]
    subscriber = subscribe(alice, acme, channels)
    sender = Sender(acme, alice, subscriber)
    sender.wait_received(EVENTS // 4)
    platform.freeze("engine")
    sender.hurry.set()
    sender.wait_sent(EVENTS)
    platform.advance_engine_clock(minutes * 60)
    platform.thaw("engine")
    expect_what_the_log_has(platform, subscriber)
