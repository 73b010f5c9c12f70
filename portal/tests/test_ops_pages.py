"""The operations portal over all tenants: deployments, events with their journey, dead letters, who may see what."""

from uuid import uuid4

import pytest
from django_scopes import scopes_disabled

from deployments import actions as deployments
from deployments.models import Deployment, Stack
from deployments.rows import PAGE_SIZE
from events.models import Event

LIST = "/ops/deployments/"


def text(response) -> str:
    return response.content.decode()


@pytest.fixture
def stack(platform_admin) -> Stack:
    steps = [{"name": "say", "command": ["echo", "hello"]}]
    return deployments.approve(Stack.objects.create(slug="web", name="Web", steps=steps), by=platform_admin.user)


@pytest.fixture
def acme_deployment(acme, alice, stack) -> Deployment:
    return deployments.request_deployment(acme, stack, {}, by=alice.user, name="shop")


@pytest.fixture
def globex_deployment(globex, charlie, stack) -> Deployment:
    return deployments.request_deployment(globex, stack, {}, by=charlie.user, name="blog")


# --- Deployments ------------------------------------------------------------------------------------------------------


def test_ada_sees_the_deployments_of_every_tenant_newest_first(platform_admin, acme_deployment, globex_deployment):
    page = text(platform_admin.get(LIST))
    assert page.index("blog #1") < page.index("shop #1")
    assert f'href="{LIST}{acme_deployment.id}/"' in page


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("?tenant=acme", {"shop"}),
        ("?tenant=never-used", set()),
        ("?stack=web", {"shop", "blog"}),
        ("?q=blo", {"blog"}),
        ("?status=failed", set()),
        ("?status=active&tenant=globex", {"blog"}),
        ("?tenant=%00acme&status=nonsense", {"shop"}),
        ("?before=nonsense", {"shop", "blog"}),
    ],
)
def test_she_filters_them(platform_admin, acme_deployment, globex_deployment, address, found):
    page = text(platform_admin.get(LIST + address))
    assert {name for name in ("shop", "blog") if f"{name} #1" in page} == found


def test_each_waits_in_its_own_tenants_queue(platform_admin, acme, alice, stack, acme_deployment, globex_deployment):
    deployments.request_deployment(acme, stack, {}, by=alice.user)
    page = text(platform_admin.get(LIST))
    assert page.count("1st in the queue") == 2
    assert page.count("2nd in the queue") == 1


def test_pages_are_cut_between_tenants_without_a_gap(platform_admin, acme, globex, alice, charlie, stack):
    for _ in range(PAGE_SIZE // 2 + 2):
        deployments.request_deployment(acme, stack, {}, by=alice.user)
        deployments.request_deployment(globex, stack, {}, by=charlie.user)
    with scopes_disabled():
        expected = [str(pk) for pk in Deployment.objects.order_by("-id").values_list("id", flat=True)]
    first = platform_admin.get(LIST).context["page"]
    second = platform_admin.get(f"{LIST}?before={first.older}").context["page"]
    assert [row.id for row in first.rows + second.rows] == expected
    assert [row.id for row in platform_admin.get(f"{LIST}?after={second.newer}").context["page"].rows] == [
        row.id for row in first.rows
    ]


def test_one_deployment_shows_its_steps_digest_and_the_journey_of_its_last_event(platform_admin, acme_deployment):
    page = text(platform_admin.get(f"{LIST}{acme_deployment.id}/"))
    assert acme_deployment.release.digest in page
    assert "Waits to be numbered" in page
    with scopes_disabled():
        event = Event.objects.get(type="deployment_update")
    assert f"/ops/events/{event.uuid}/" in page


def test_one_that_never_was_is_not_there(platform_admin):
    assert platform_admin.get(f"{LIST}{uuid4()}/").status_code == 404
