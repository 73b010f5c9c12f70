"""The Django admin in a real browser, under our Content-Security-Policy: what is not allowed, the console would say."""

from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.whole.people import Person

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds


@pytest.fixture
def ada(platform) -> Person:
    rights = {"is_staff": True, "is_superuser": True}
    email = f"ada-{uuid4().hex[:8]}@neostack.example"
    return Person(platform, **platform.inside.make_person(name="Ada", email=email, **rights))


@pytest.mark.once
def test_an_events_journey_is_followed_to_its_push(window, platform, ada, acme, alice):
    (event,) = platform.inside.send_notices(tenant=acme.id, by=alice.id, count=1)
    platform.wait_caught_up()
    page = window(ada).open(f"/admin/events/event/?q={event}")
    page.locator("#result_list tbody th a").click()
    journey = page.locator(".field-journey")
    expect(journey).to_contain_text("Numbered")
    expect(journey).to_contain_text(f"Pushed on {acme.channel('notifications')} at offset 1")


@pytest.mark.once
def test_a_tenant_is_renamed(window, ada, acme):
    page = window(ada).open(f"/admin/tenants/tenant/{acme.id}/change/")
    page.get_by_label("Name:").fill("Acme & Sons")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_role("heading", name="Acme & Sons")).to_be_visible()


def test_a_tenant_goes_when_its_name_is_typed_and_its_open_pages_with_it(window, ada, acme, alice):
    open_page = window(alice)
    open_page.expects_outage = True  # Chromium says of the page that is gone that it "failed to load" it
    home = open_page.open(acme.path)
    expect(home.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)
    page = window(ada).open(f"/admin/tenants/tenant/{acme.id}/change/")
    page.get_by_role("link", name="Delete").click()
    delete = page.get_by_role("button", name="Delete Acme")
    page.get_by_label("To delete it, type its name").fill("acme")
    delete.click()
    expect(page.get_by_text("That is not its name. Nothing was changed.")).to_be_visible()
    expect(page.get_by_text("1 memberships")).to_be_visible()
    page.get_by_label("To delete it, type its name").fill("Acme")
    delete.click()
    expect(page.locator(".messagelist .success")).to_contain_text("Acme was deleted")
    expect(home.get_by_test_id("ended")).to_contain_text("Nothing more comes to this page", timeout=PATIENCE)
    assert alice.get(acme.path).status_code == 404


@pytest.mark.once
def test_a_new_keys_secret_is_shown_once_and_lets_a_service_in(window, platform, ada, acme):
    page = window(ada).open("/admin/tenants/apikey/add/")
    page.get_by_label("Tenant:").fill(acme.id)
    page.get_by_label("Name:").fill("ci")
    page.get_by_label("Read events").check()
    page.get_by_role("button", name="Save", exact=True).click()
    secret = page.locator(".messagelist .warning").inner_text().rpartition(": ")[2]
    page.reload()
    expect(page.locator("body")).not_to_contain_text(secret)
    stranger = Person(platform, id="", name="", email="", session="")
    assert stranger.get("/api/events", headers={"Authorization": f"Api-Key {secret}"}).status_code == 200


@pytest.mark.once
def test_every_list_opens(window, ada):
    shown = window(ada)
    page = shown.open("/admin/")
    addresses = page.eval_on_selector_all("th[scope=row] a", "links => links.map(link => link.getAttribute('href'))")
    assert len(addresses) > 10
    for address in addresses:
        expect(shown.open(address).locator("#changelist")).to_be_visible()
