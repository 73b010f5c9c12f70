"""A rule fires once, whoever is killed while it waits, and everybody who follows it sees what the log has."""

import time
from typing import Any

import pytest

from tests.whole.people import Company, Person
from tests.whole.platform import wait_until
from tests.whole.test_faults import expect_what_the_log_has

pytestmark = pytest.mark.faults
PATIENCE_SECONDS = 60
#: Long enough to kill pulse while the rule waits.
RULE = {"name": "Busy", "metric": "load_1m", "threshold": 1, "forSeconds": 6, "windowSeconds": 300}


def measure(alice: Person, acme: Company, value: float) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    body = {"samples": [{"name": "load_1m", "value": value, "at": at}]}
    alice.post("/api/monitoring/metrics", tenant=acme.slug, json=body).raise_for_status()


def alerts(alice: Person, acme: Company) -> list[dict[str, Any]]:
    answer = alice.get("/api/monitoring/alerts", headers={"X-Tenant": acme.slug})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["results"]
    return found


def test_a_rule_that_waits_fires_once_although_pulse_is_killed_meanwhile(platform, acme, alice, subscribe):
    channel = acme.channel("monitoring")
    subscriber = subscribe(alice, acme, [channel])
    alice.post("/api/monitoring/rules", tenant=acme.slug, json=RULE).raise_for_status()
    measure(alice, acme, 7.0)
    for _ in range(2):
        platform.kill("pulse")
        platform.start("pulse")
    (alert,) = wait_until(lambda: alerts(alice, acme), "the rule fires", PATIENCE_SECONDS)
    assert (alert["state"], alert["version"], alert["message"]) == ("firing", 1, "load_1m is 7 (above 1)")
    body = {"note": "Looking"}
    answer = alice.post(f"/api/monitoring/alerts/{alert['id']}/acknowledge", tenant=acme.slug, json=body)
    assert answer.json()["state"] == "acknowledged"
    # The rule came, it fired, Alice acknowledged.
    wait_until(lambda: len(subscriber.ids[channel]) == 3, "all three arrive", PATIENCE_SECONDS)
    expect_what_the_log_has(platform, subscriber)
