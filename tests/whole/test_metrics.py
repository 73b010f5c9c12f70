"""Figures arrive: the newest always, whoever is killed, and never more than ten times a second."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.whole.people import Company
from tests.whole.platform import Platform, wait_until
from tests.whole.test_faults import expect_what_the_log_has

pytestmark = pytest.mark.faults


def wait_said(platform: Platform, company: Company) -> None:
    def is_said() -> bool:
        found = platform.inside.figures(tenant=company.id)
        return bool(found["said"] == found["newest"])

    wait_until(is_said, "the newest is said", 30)


def test_the_newest_value_arrives_although_pulse_was_killed_before_it_could_say_it(platform, acme, bob, subscribe):
    dashboard = acme.channel("dashboard")
    subscriber = subscribe(bob, acme, [dashboard])
    for _ in range(3):
        platform.kill("pulse")
        wait_until(lambda: platform.inside.measure(tenant=acme.id, name="load_1m", count=5), "one is left to be said")
        found = platform.inside.figures(tenant=acme.id)
        assert found["said"] != found["newest"]
        platform.start("pulse")
        wait_said(platform, acme)
    expect_what_the_log_has(platform, subscriber)


def test_two_that_measure_at_once_while_pulse_is_killed_lose_nothing(platform, acme, bob, subscribe):
    dashboard = acme.channel("dashboard")
    subscriber = subscribe(bob, acme, [dashboard])
    with ThreadPoolExecutor(2) as pool:
        machines = {"one": platform.inside, "other": platform.meanwhile}
        running = [pool.submit(hands.measure, tenant=acme.id, name=name, count=150) for name, hands in machines.items()]
        wait_until(lambda: len(subscriber.ids[dashboard]) >= 2, "figures arrive", 60)
        platform.kill("pulse")
        platform.start("pulse")
        for one in running:
            one.result()
    wait_said(platform, acme)
    found = platform.inside.figures(tenant=acme.id)
    assert set(found["said"]) == {"one", "other"}
    assert found["gap"] >= 0.1
    expect_what_the_log_has(platform, subscriber)
