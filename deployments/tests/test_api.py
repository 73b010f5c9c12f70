from uuid import uuid4

import pytest
from django_scopes import scope

from deployments import actions, leases
from deployments.models import Deployment, Status
from deployments.tests.conftest import fresh
from tenants.actions import create_api_key

URL = "/api/deployments"


@pytest.fixture
def key(acme, alice):
    """Make an API key of acme's with these scopes; returns the headers that present it."""

    def make(*scopes, tenant=acme):
        _, secret = create_api_key(tenant, "CI", list(scopes), alice.user)
        return {"Authorization": f"Api-Key {secret}"}

    return make


@pytest.fixture
def logged(acme, acme_deployment) -> Deployment:
    """Alice's deployment, started, with three lines."""
    lease = leases.claim("runner")
    at = acme_deployment.created_at
    blocks = [leases.OutputBlock(1, 2, "info", "one\ntwo", at), leases.OutputBlock(3, 1, "warning", "three", at)]
    leases.append_log(lease, blocks)
    return acme_deployment


def errors(response) -> dict[str, str]:
    return {error["attr"]: error["code"] for error in response.json()["errors"]}


# --- Who may ----------------------------------------------------------------------------------------------------------

CALLS = {
    "list": ("get", ""),
    "read": ("get", "/{id}"),
    "log": ("get", "/{id}/log"),
    "deploy": ("post", ""),
    "cancel": ("post", "/{id}/cancel"),
    "retry": ("post", "/{id}/retry"),
    "roll back": ("post", "/{id}/rollback"),
}
#: Status of each call above, in that order. 409: let in, and refused only since a running one can't be run again.
ALLOWED = {
    "alice": (200, 200, 200, 201, 200, 409, 409),
    "bob": (200, 200, 403, 403, 403, 403, 403),
    "charlie": (404, 404, 404, 404, 404, 404, 404),
    "platform_admin": (404, 404, 404, 404, 404, 404, 404),
    "stranger": (401, 401, 401, 401, 401, 401, 401),
    "key: deployments:read": (200, 200, 200, 403, 403, 403, 403),
    "key: deployments:write": (403, 403, 403, 201, 200, 409, 409),
    "key: events:read": (403, 403, 403, 403, 403, 403, 403),
}


def call(person, name, deployment, **headers):
    method, path = CALLS[name]
    url = URL + path.format(id=deployment.id)
    if method == "get":
        return person.api_get(url, **headers)
    return person.api_post(url, {"stack": "web", "parameters": {"TITLE": "A"}} if name == "deploy" else {}, **headers)


@pytest.mark.parametrize(
    ("who", "name", "status"),
    [(who, name, status) for who, row in ALLOWED.items() for name, status in zip(CALLS, row, strict=True)],
)
def test_who_may_do_what(request, key, stranger, logged, who, name, status):
    if who.startswith("key: "):
        response = call(stranger, name, logged, **key(who.removeprefix("key: ")))
    else:
        response = call(request.getfixturevalue(who), name, logged, tenant="acme")
    assert response.status_code == status, response.content


@pytest.mark.parametrize("name", ["read", "log", "cancel", "retry", "roll back"])
def test_another_tenants_deployment_is_the_404_of_what_never_existed(
    key, charlie, alice, globex, logged, stranger, name
):
    never = Deployment(id=uuid4())
    expected = call(charlie, name, never, tenant="globex")
    assert expected.status_code == 404
    assert call(charlie, name, logged, tenant="globex").content == expected.content
    scopes = ("deployments:read", "deployments:write")
    assert call(stranger, name, logged, **key(*scopes, tenant=globex)).content == expected.content
    assert fresh(logged).cancel_requested_at is None


# --- What they get ----------------------------------------------------------------------------------------------------


def test_a_deployment_reads_as_its_events_do(alice, acme_deployment):
    read = alice.api_get(f"{URL}/{acme_deployment.id}", "acme").json()
    assert read["id"] == str(acme_deployment.id)
    assert (read["title"], read["status"], read["version"], read["queuePosition"]) == ("web #1", "queued", 1, 1)
    assert (read["requestedBy"], read["stack"], read["digest"]) == ("Alice", "web", acme_deployment.release.digest)
    assert [step["status"] for step in read["steps"]] == ["pending"]


def test_a_list_is_read_in_pages_newest_first_and_each_deployment_once(alice, acme, stack, settings):
    settings.DEPLOYMENT_QUEUE_LIMIT = 200
    for _ in range(60):
        actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user)
    first = alice.api_get(URL, "acme").json()
    second = alice.api_get(first["next"], "acme").json()
    numbers = [one["number"] for page in (first, second) for one in page["results"]]
    assert numbers == list(range(60, 0, -1))
    assert second["next"] is None
    places = [one["queuePosition"] for one in first["results"]]
    assert places == [None] * 10 + list(range(50, 10, -1))  # further behind, no place would be told in time


def test_a_list_costs_the_same_however_long_it_is(alice, acme, stack, django_assert_max_num_queries):
    for _ in range(20):
        actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user)
    with django_assert_max_num_queries(6):
        assert len(alice.api_get(URL, "acme").json()["results"]) == 20


def test_a_list_is_filtered_by_status_and_stack(alice, acme, logged, stack):
    waiting = actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user)
    found = alice.api_get(f"{URL}?status=queued&stack=web", "acme").json()["results"]
    assert [one["id"] for one in found] == [str(waiting.id)]
    assert errors(alice.api_get(f"{URL}?status=done", "acme")) == {"status": "invalid_choice"}


def test_a_list_is_filtered_by_name_and_time(alice, acme, stack):
    shop = actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user, name="shop")
    web = actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user)

    def found(query: str) -> list[str]:
        return [one["id"] for one in alice.api_get(f"{URL}?{query}", "acme").json()["results"]]

    assert found("name=shop") == [str(shop.id)]
    since = web.created_at.isoformat().replace("+00:00", "Z")
    assert (found(f"since={since}"), found(f"until={since}")) == ([str(web.id)], [str(shop.id)])


def test_who_asks_again_hears_of_a_deployment_only_what_is_new(alice, acme, acme_deployment, stack):
    waiting = actions.request_deployment(acme, stack, {"TITLE": "A"}, by=alice.user)
    here = f"{URL}/{waiting.id}"
    first = alice.api_get(here, "acme")
    assert alice.api_get(here, "acme", if_none_match=first["ETag"]).status_code == 304
    actions.cancel(acme_deployment, by=alice.user)
    moved_up = alice.api_get(here, "acme", if_none_match=first["ETag"])
    assert (moved_up.status_code, moved_up.json()["queuePosition"]) == (200, 1)


def test_deploying_over_the_api_queues_it(alice, acme, stack):
    response = alice.api_post(URL, {"stack": "web", "parameters": {"TITLE": "A"}, "name": "shop"}, "acme")
    assert response.status_code == 201
    assert (response.json()["title"], response.json()["status"]) == ("shop #1", "queued")


def test_a_service_deploys_in_its_own_name(key, stranger, stack):
    response = stranger.api_post(URL, {"stack": "web", "parameters": {"TITLE": "A"}}, **key("deployments:write"))
    assert response.json()["requestedBy"] == "CI"


def test_every_wrong_field_is_named(alice, acme, stack):
    body = {"stack": "web", "parameters": {"PAGES": 11, "TOKEN": "short", "X": 1}, "name": "a/b"}
    response = alice.api_post(URL, body, "acme")
    assert response.status_code == 400
    assert set(errors(response)) == {"name", "parameters.TITLE", "parameters.PAGES", "parameters.TOKEN", "parameters.X"}
    assert set(errors(alice.api_post(URL, {"stack": "none"}, "acme"))) == {"stack"}
    assert set(errors(alice.api_post(URL, {"stack": "web", "parameter": {}}, "acme"))) == {"parameter"}
    assert set(errors(alice.api_post(URL, {"parameters": []}, "acme"))) == {"stack", "parameters"}
    assert alice.api_post(URL, [1], "acme").status_code == 400
    with scope(tenant=acme):
        assert not Deployment.objects.exists()


def test_the_same_idempotency_key_answers_the_same_and_another_body_is_a_conflict(alice, acme, stack):
    def deploy(title):
        return alice.api_post(URL, {"stack": "web", "parameters": {"TITLE": title}}, "acme", Idempotency_Key="k1")

    first, again, other = deploy("A"), deploy("A"), deploy("B")
    assert first.json()["id"] == again.json()["id"]
    assert (other.status_code, errors(other)) == (409, {None: "idempotency_conflict"})
    bad = alice.api_post(URL, {"stack": "web"}, "acme", Idempotency_Key="x" * 256)
    assert errors(bad) == {"Idempotency-Key": "invalid"}


def test_a_change_that_expects_an_older_version_says_what_is_different(alice, logged):
    response = alice.api_post(f"{URL}/{logged.id}/cancel", {"expectedVersion": 1}, "acme")
    assert (response.status_code, errors(response)) == (409, {"version": "stale_version"})
    assert "it is starting now" in response.json()["errors"][0]["detail"]
    assert fresh(logged).cancel_requested_at is None


def test_a_lost_one_is_retried_over_the_api(alice, acme, logged):
    with scope(tenant=acme):
        Deployment.objects.update(lease_expires_at="2020-01-01T00:00Z")
    leases.mark_lost()
    response = alice.api_post(f"{URL}/{logged.id}/retry", {}, "acme")
    assert (response.status_code, response.json()["retryOf"]) == (201, logged.number)


def test_what_can_be_deployed_is_listed_with_its_parameters(alice, bob, key, stranger, stack, platform_admin):
    draft = actions.new_version(stack)
    (offered,) = alice.api_get("/api/stacks", "acme").json()["results"]
    assert (offered["slug"], offered["version"], offered["steps"]) == ("web", 1, ["step 1"])
    assert [(one["name"], one["type"], one["required"]) for one in offered["parameters"]][:2] == [
        ("TITLE", "string", True),
        ("PAGES", "integer", False),
    ]
    assert "command" not in str(offered)
    actions.approve(draft, by=platform_admin.user)
    (offered,) = stranger.api_get("/api/stacks", **key("deployments:read")).json()["results"]
    assert offered["version"] == 2
    assert bob.api_get("/api/stacks", "acme").status_code == 403
    assert stranger.api_get("/api/stacks", **key("deployments:write")).status_code == 403


def test_a_log_is_read_from_a_line_on(alice, logged):
    def read(query=""):
        return alice.api_get(f"{URL}/{logged.id}/log{query}", "acme").json()

    assert [(line["line"], line["level"], line["text"]) for line in read()["lines"]] == [
        (1, "info", "one"),
        (2, "info", "two"),
        (3, "warning", "three"),
    ]
    assert [line["line"] for line in read("?after=1&limit=1")["lines"]] == [2]
    assert read("?after=1&limit=1")["next"] == 2
    assert (read("?after=3")["lines"], read("?after=3")["next"], read()["ended"]) == ([], 3, False)
    bad = alice.api_get(f"{URL}/{logged.id}/log?after=x&limit=0", "acme")
    assert set(errors(bad)) == {"after", "limit"}


def test_the_table_above_covers_every_address():
    from deployments.api_urls import urlpatterns

    methods = [
        (method.lower(), str(url.pattern).removeprefix("deployments").replace("<uuid:id>", "{id}"))
        for url in urlpatterns
        for method in url.callback.view_class.rules
        if str(url.pattern).startswith("deployments")
    ]
    assert sorted(methods) == sorted(CALLS.values())


def test_a_cancelled_one_says_so(alice, acme_deployment):
    response = alice.api_post(f"{URL}/{acme_deployment.id}/cancel", {}, "acme")
    assert response.json()["status"] == Status.CANCELLED
    again = alice.api_post(f"{URL}/{acme_deployment.id}/cancel", {}, "acme")
    assert (again.status_code, errors(again)) == (409, {None: "not_cancellable"})
