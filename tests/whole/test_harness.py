"""The harness itself: people are signed in, companies are apart, and what was killed is there for the next test."""

import pytest


def test_people_are_signed_in_and_only_at_home(alice, charlie, acme):
    assert alice.get(acme.path).status_code == 200
    assert charlie.get(acme.path).status_code == 404


@pytest.mark.parametrize("when", ["killed by one test", "found again by the next"])
def test_a_killed_process_is_back_for_the_next_test(platform, when):
    assert all(process.poll() is None for process in platform.processes.values())
    platform.kill("beat")
