"""What holds when many write at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from deployments import actions

pytestmark = pytest.mark.django_db(transaction=True)


def test_numbers_have_no_gap_and_no_double_however_many_deploy_at_once(acme, alice, stack):
    def deploy(_: int) -> int:
        try:
            return actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user).number
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as people:
        numbers = list(people.map(deploy, range(40)))
    assert sorted(numbers) == list(range(1, 41))


def test_the_same_key_used_at_once_makes_one_deployment(acme, alice, stack):
    def deploy(_: int) -> int:
        try:
            return actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user, idempotency_key="same").number
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as people:
        assert set(people.map(deploy, range(16))) == {1}
