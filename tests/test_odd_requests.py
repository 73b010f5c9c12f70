"""What is not as anybody's page or script would send it is refused, and fails nowhere inside."""

import base64
import json
from urllib.parse import urlencode

import pytest

from conftest import Person
from deployments.tests.conftest import acme_deployment, stack  # noqa: F401  fixtures

pytestmark = pytest.mark.django_db
TAKES_JSON = [
    "/api/deployments",
    "/api/events/publish",
    "/api/realtime/subscriptions",
    "/api/monitoring/metrics",
    "/api/billing/usage",
    "/api/billing/subscription/change",
    "/api/billing/thresholds",
    "/api/monitoring/alerts",
    "/api/monitoring/alertmanager",
    "/api/monitoring/rules",
]
#: Whatever such a list is ordered by, no cursor of ours has this position: it leads nowhere.
LISTS = [
    "/api/deployments",
    "/api/notifications",
    "/api/monitoring/alerts",
    "/api/monitoring/silences",
    "/api/billing/invoices",
    "/api/billing/usage/records",
]
DEEP = "[" * 900 + "]" * 900
MANY_DIGITS = "9" * 5000


def send(person: Person, url: str, body: str) -> int:
    person.client.raise_request_exception = False
    headers = {"X-Tenant": "acme"}
    return person.client.post(url, data=body, content_type="application/json", headers=headers).status_code


@pytest.mark.parametrize("url", TAKES_JSON)
@pytest.mark.parametrize(
    "body",
    [
        '{"stack": "web", "parameters": {"TITLE": "\\ud800"}, "channels": ["\\ud800"]}',
        '{"stack": "web", "parameters": {"\\ud800": "x"}, "channels": ["\\ud800"], "channel": "\\ud800"}',
        '{"\\ud800": 1}',
        f'{{"stack": "web", "parameters": {{"TITLE": {DEEP}}}, "event": {DEEP}}}',
        "[" * 100_000,
        '{"stack": NaN}',
        "[]",
        '"x"',
        "",
    ],
    ids=["half a character", "as a name", "as a field", "deep", "without end", "NaN", "a list", "a text", "nothing"],
)
def test_json_that_could_not_be_written_again_is_refused(alice, stack, url, body):  # noqa: F811
    assert send(alice, url, body) == 400


@pytest.mark.parametrize("url", TAKES_JSON)
def test_a_body_too_large_is_refused_as_such(alice, settings, url):
    body = json.dumps({"x": "y" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE})
    assert send(alice, url, body) == 413


@pytest.mark.parametrize(
    "url",
    [
        f"/t/acme/deployments/1/log/lines/?after={MANY_DIGITS}",
        f"/t/acme/deployments/1/log/lines/?limit={MANY_DIGITS}",
        f"/t/acme/deployments/?before={MANY_DIGITS}&q=%00&stack=%00",
        "/api/deployments?cursor=cD1hYmM%3D",
        f"/api/deployments/{{id}}/log?after={2**63}",
        f"/api/events?after={MANY_DIGITS}",
        "/api/monitoring/alerts?cursor=cD1hYmM%3D",
        "/api/monitoring/alerts?name=%00&rule=x&state=%00",
        "/api/billing/invoices?cursor=cD1hYmM%3D",
        "/api/billing/invoices?kind=%00&status=%00",
        f"/api/billing/invoices/{{id}}/lines/{2**70}/records",
        f"/api/billing/invoices/{{id}}/lines/{MANY_DIGITS}/records",
    ],
)
def test_numbers_that_are_none_fail_nowhere(alice, acme_deployment, url):  # noqa: F811
    alice.client.raise_request_exception = False
    assert alice.api_get(url.format(id=acme_deployment.pk), tenant="acme").status_code < 500


@pytest.mark.parametrize("url", LISTS)
@pytest.mark.parametrize(
    "position", [MANY_DIGITS, "abc", "\0", "٣" * 30], ids=["long", "a text", "null", "of elsewhere"]
)
def test_a_cursor_that_is_none_of_ours_leads_nowhere(alice, url, position):
    cursor = base64.b64encode(urlencode({"p": position}).encode()).decode()
    assert alice.client.get(url, {"cursor": cursor}, headers={"X-Tenant": "acme"}).status_code == 404


@pytest.mark.parametrize("key", ["k" * 1000, "a\x00b"])
def test_a_key_that_no_form_of_ours_has_counts_as_none(alice, stack, key):  # noqa: F811
    """PostgreSQL takes neither."""
    form = {"stack": "web", "p_TITLE": "Acme", "idempotency_key": key}
    answer = alice.post("/t/acme/deployments/new/", form)
    assert (answer.status_code, answer["Location"]) == (302, "/t/acme/deployments/1/")


def test_the_theme_leads_back_to_addresses_only(alice):
    alice.client.raise_request_exception = False
    for back, leads_to in {
        "foo": "foo",
        "https://evil.example/": "/",
        "//evil.example": "/",
        "/t/acme/": "/t/acme/",
    }.items():
        answer = alice.post("/theme/", {"theme": "dark", "next": back})
        assert (answer.status_code, answer["Location"]) == (302, leads_to)


def test_a_parameters_help_is_text(alice, stack):  # noqa: F811
    type(stack).objects.filter(pk=stack.pk).update(parameters=[{"name": "TITLE", "help": "<b>not bold</b>"}])
    page = alice.get("/t/acme/deployments/new/?stack=web").content.decode()
    assert "&lt;b&gt;not bold" in page
    assert "<b>not bold" not in page
