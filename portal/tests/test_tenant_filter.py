"""The tenant that a page of the operations portal is narrowed to, with few tenants and with many."""

import json
import re
from html import unescape
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deployments import actions as deployments
from deployments.models import Stack
from events import numbering
from portal.ops.tenant_filter import CANDIDATES_SHOWN, LISTED, NAMES_AT_ONCE
from tenants.models import Tenant

PAGES = ("/ops/deployments/", "/ops/events/", "/ops/activity/")
NAMES = "/ops/tenant-names/"

every_page = pytest.mark.parametrize("page", PAGES)


def text(response) -> str:
    assert response.status_code == 200
    return unescape(response.content.decode())


def named_in(page: str) -> dict[str, dict]:
    found = re.search(r'<script id="tenant-names" type="application/json">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def settle(count: int, name: str = "Crowd") -> None:
    Tenant.objects.bulk_create(Tenant(slug=f"{name.lower()}-{n}", name=f"{name} {n}") for n in range(count))


@pytest.fixture
def shops(acme, globex, alice, charlie, platform_admin) -> None:
    """Acme and Globex have deployed something."""
    steps = [{"name": "say", "command": ["echo", "hello"]}]
    stack = deployments.approve(Stack.objects.create(slug="web", name="Web", steps=steps), by=platform_admin.user)
    deployments.request_deployment(acme, stack, {}, by=alice.user, name="shop")
    deployments.request_deployment(globex, stack, {}, by=charlie.user, name="blog")
    numbering.number()


@pytest.fixture
def crowd(shops) -> None:
    """More tenants than are listed, of which only Acme and Globex have done anything."""
    settle(LISTED)


# --- Few --------------------------------------------------------------------------------------------------------------


@every_page
def test_few_tenants_are_all_offered_by_name(platform_admin, shops, page):
    shown = text(platform_admin.get(page))
    assert shown.index(">Acme</option>") < shown.index(">Globex</option>")
    shown = text(platform_admin.get(f"{page}?tenant=globex"))
    assert re.search(r'<option value="globex" [^>]*selected>Globex', shown)
    assert "blog" in shown
    assert "shop" not in shown


# --- Many -------------------------------------------------------------------------------------------------------------


@every_page
def test_of_many_tenants_only_those_on_the_page_are_in_it(platform_admin, acme, globex, crowd, page):
    shown = text(platform_admin.get(page))
    assert "Crowd" not in shown
    assert {one["name"] for one in named_in(shown).values()} == {"Acme", "Globex"}
    assert named_in(shown)[str(acme.id)] == {"name": "Acme", "version": acme.version}


@every_page
@pytest.mark.parametrize("typed", ["Globex", "GLOBEX", "lobe", " globex "])
def test_a_name_leads_to_the_address_of_the_one_tenant_it_means(platform_admin, crowd, page, typed):
    response = platform_admin.get(page, data={"tenant": typed, "before": "", "stack": "web", "q": ""})
    if typed.strip() != "globex":  # which is its address already
        assert response.status_code == 302
        assert response["Location"] == "?stack=web&tenant=globex"
        response = platform_admin.get(page + response["Location"])
    shown = text(response)
    assert "blog" in shown
    assert "shop" not in shown


@every_page
def test_the_chosen_tenant_is_shown_and_can_be_removed(platform_admin, globex, crowd, page):
    for asked in ("globex", str(globex.id)):
        response = platform_admin.get(f"{page}?kind=&tenant={asked}&type=deployment_update")
        shown = text(response)
        assert 'name="tenant" value="globex"' in shown
        assert f'<span data-tenant-name="{globex.id}" data-version="{globex.version}">Globex</span> only' in shown
        assert '<a class="quiet" href="?type=deployment_update" title="Show every tenant">' in shown


@every_page
def test_what_may_mean_several_tenants_offers_them_and_narrows_nothing(platform_admin, crowd, page):
    shown = text(platform_admin.get(f"{page}?tenant=d-9&type=deployment_update"))
    assert "More than 10 tenants have “d-9” in their name or address. That filter was left out: choose one" in shown
    assert shown.count('<a href="?type=deployment_update&tenant=crowd-9') == CANDIDATES_SHOWN
    assert 'name="tenant" value="d-9"' in shown
    assert "shop" in shown
    assert "blog" in shown


@every_page
def test_who_is_called_alike_is_told_apart_by_the_address(platform_admin, crowd, page):
    Tenant.objects.create(slug="globex-two", name="Globex")
    shown = text(platform_admin.get(f"{page}?tenant=Globex"))
    assert "2 tenants have “Globex”" in shown
    assert '<a href="?tenant=globex"><strong>Globex</strong><span class="muted">globex</span></a>' in shown
    assert '<a href="?tenant=globex-two">' in shown


@every_page
@pytest.mark.parametrize("typed", ["initech", str(UUID(int=9)), "<b>"])
def test_what_means_no_tenant_is_said_and_narrows_nothing(platform_admin, crowd, page, typed):
    response = platform_admin.get(page, data={"tenant": typed})
    assert "<b>" not in response.content.decode()
    shown = text(response)
    assert f"No tenant has “{typed}” in its name or address. That filter was left out" in shown
    assert "shop" in shown


@every_page
def test_a_page_costs_the_same_however_many_tenants_there_are(platform_admin, crowd, page):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            shown = text(platform_admin.get(f"{page}?tenant=acme"))
        assert "Crowd" not in shown
        return len(captured)

    few = queries()
    settle(3 * LISTED, "Crowded")
    assert queries() == few


# --- Names of rows that come live -------------------------------------------------------------------------------------


def ask(person, *ids: UUID | str):
    return person.get(NAMES, data={"id": [str(id) for id in ids]})


def test_a_page_asks_for_the_names_of_tenants_it_hears_of(platform_admin, acme, globex, django_assert_max_num_queries):
    with django_assert_max_num_queries(4):
        response = ask(platform_admin, acme.id, globex.id, uuid4())
    assert response.json() == {
        "names": {
            str(acme.id): {"name": "Acme", "version": acme.version},
            str(globex.id): {"name": "Globex", "version": globex.version},
        }
    }
    assert ask(platform_admin).json() == {"names": {}}


def test_what_is_no_id_and_more_than_one_request_answers_is_refused(platform_admin, acme):
    for ids in ([acme.id, "acme"], [uuid4() for _ in range(NAMES_AT_ONCE + 1)], ["\x00"]):
        response = ask(platform_admin, *ids)
        assert response.status_code == 400
        assert response.json()["detail"] == "Give up to 100 ids of tenants, each as id=."
    assert ask(platform_admin, *[uuid4() for _ in range(NAMES_AT_ONCE)]).status_code == 200
