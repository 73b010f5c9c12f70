"""Whatever the API's own description lets somebody send, no answer is a fault of the server."""

from collections.abc import Callable
from http import HTTPStatus

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.whole.people import Company, Person
from tests.whole.platform import Platform

pytestmark = pytest.mark.once

#: Of each operation, so many requests: the same ones each time, so that a failure is a change of ours.
EXAMPLES = 6
Send = Callable[[schemathesis.Case], int]


@pytest.fixture
def send(platform: Platform, acme: Company, alice: Person) -> Send:
    """Send a request as Alice, who may do the most in Acme. Returns the answer's status."""
    headers = {"X-CSRFToken": "a" * 32, "Origin": platform.url, "X-Tenant": acme.slug}
    cookies = {"sessionid": alice.session, "csrftoken": "a" * 32}

    def as_alice(case: schemathesis.Case) -> int:
        return case.call(base_url=platform.url, headers=headers, cookies=cookies, timeout=60).status_code

    return as_alice


def test_nothing_that_the_description_allows_is_a_fault_of_the_server(platform: Platform, send: Send):
    described = schemathesis.openapi.from_dict(httpx.get(f"{platform.url}/api/schema?format=json").json())
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 20
    faults = [fault for operation in operations for fault in faults_of(operation, send)]
    assert faults == []


def faults_of(operation: schemathesis.APIOperation, send: Send) -> list[str]:
    """The requests, as curl would send them, that a fault of the server answered."""
    found: list[str] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        if send(case) >= HTTPStatus.INTERNAL_SERVER_ERROR:
            found.append(case.as_curl_command())

    ask()
    return found
