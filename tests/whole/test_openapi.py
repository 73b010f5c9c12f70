"""Whatever the API's description lets somebody send, every answer is one that it describes, and no fault of ours."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    status_code_conformance,
)

from tests.described import undescribed
from tests.whole.people import Company, Person
from tests.whole.platform import Platform

#: Of each operation, so many requests of each caller: the same ones each time, so that a failure is a change of ours.
EXAMPLES = 3
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
]
SCOPES = ["events:read", "events:publish", "deployments:read", "deployments:write", "metrics:write", "usage:write"]
SCOPES += ["alerts:write"]

Caller = dict[str, Any]  # what httpx sends along


@pytest.fixture
def things(platform: Platform, acme: Company, alice: Person) -> dict[str, Callable[[], str]]:
    """By the beginning of an address: something of acme's with an id. A new one each time where a call may end it."""
    inside, stack = platform.inside, f"say-{acme.slug}"
    inside.make_stack(slug=stack, name="Say", steps=[{"name": "say", "command": ["echo", "hello"]}])
    inside.begin_billing(tenant=acme.id, plan="team")
    deployment = inside.deploy(tenant=acme.id, by=alice.id, stack=stack)["id"]
    invoice = inside.invoice_id(tenant=acme.id, number=inside.close_period(tenant=acme.id))
    notification = inside.notify(person=alice.id, title="Hello")
    here = {"tenant": acme.id}
    return {
        "/api/deployments/": lambda: deployment,
        "/api/billing/invoices/": lambda: invoice,
        "/api/notifications/": lambda: notification,
        "/api/monitoring/alerts/": lambda: inside.raise_alert(
            **here, key=f"api:{uuid4()}", name="Disk", severity="error", message="97 %"
        ),
        "/api/monitoring/rules/": lambda: inside.make_rule(**here, name=str(uuid4()), metric="load_1m", threshold=1),
        "/api/monitoring/silences/": lambda: inside.make_silence(**here, by=alice.id),
        "/api/monitoring/escalation-policies/": lambda: inside.make_policy(**here, name=str(uuid4())),
    }


@pytest.fixture
def callers(platform: Platform, acme: Company, alice: Person) -> dict[str, Caller]:
    """Who may do the most: in acme, as a service of acme's, and on the platform."""
    ada = platform.inside.make_person(name="Ada", email=f"ada@{acme.slug}.example", is_staff=True, is_superuser=True)
    key = platform.inside.make_api_key(tenant=acme.id, scopes=SCOPES)

    def signed_in(session: str) -> Caller:
        headers = {"X-CSRFToken": "a" * 32, "Origin": platform.url, "X-Tenant": acme.slug}
        return {"headers": headers, "cookies": {"sessionid": session, "csrftoken": "a" * 32}}

    return {
        "alice": signed_in(alice.session),
        "a service": {"headers": {"Authorization": f"Api-Key {key}", "X-Tenant": acme.slug}},
        "ada": signed_in(ada["session"]),
    }


def test_every_answer_is_one_that_is_described_and_no_fault_of_the_server(platform, things, callers):
    schema = httpx.get(f"{platform.url}/api/schema?format=json", verify=False, timeout=60)
    described = schemathesis.openapi.from_dict(schema.json())
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 60
    faults = [
        fault
        for operation in operations
        for who, caller in callers.items()
        for fault in faults_of(operation, who, caller, platform.url, things)
    ]
    assert faults == [], "\n\n".join(faults)


def faults_of(
    operation: schemathesis.APIOperation, who: str, caller: Caller, url: str, things: dict[str, Callable[[], str]]
) -> list[str]:
    """What is wrong with the answers: to one request as it was made up, and to others about something that exists."""
    found: list[str] = []
    real = next((make() for start, make in things.items() if operation.path.startswith(start + "{")), None)
    asked = 0

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
        nonlocal asked
        asked += 1
        if real and asked > 1:
            case.path_parameters |= dict.fromkeys(case.path_parameters.keys() & {"id", "invoice_id"}, real)
        response = case.call(base_url=url, timeout=60, verify=False, **caller)
        # Schemathesis knows no tuples (`prefixItems`) in what is answered: the body is compared as in every other test.
        wrong = undescribed(operation.path, operation.method, response)
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as failed:
            wrong += [str(one)[:300] for one in failed.exceptions]
        if wrong:
            found.append(f"{who}: {'; '.join(wrong)}\n{case.as_curl_command()}")

    ask()
    return found
