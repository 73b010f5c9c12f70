"""An invoice on paper: what is owed and why, and nothing of the page around it."""

import re

import pytest
from playwright.sync_api import expect

from tests.whole.people import Company
from tests.whole.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.once]

#: Of a sheet of A4 within its margins, in CSS pixels: narrower than a tablet, and yet no telephone.
PAPER = {"width": 673, "height": 1000}


def test_an_invoice_prints_without_the_page_around_it_and_its_head_repeats(
    window, platform: Platform, acme: Company, alice
):
    platform.inside.begin_billing(tenant=acme.id, plan="team")
    platform.inside.use(tenant=acme.id, meter="deployment_minutes", quantity="7200")
    number = platform.inside.close_period(tenant=acme.id)
    page = window(alice).open(f"{acme.path}billing/invoices/{number}/")
    pay = page.get_by_role("button", name=re.compile("^Pay "))
    expect(pay).to_be_visible()
    page.set_viewport_size(PAPER)
    page.emulate_media(media="print")
    for left_out in (".bar", ".side", ".crumbs", ".head-actions", ".no-print"):
        for element in page.locator(left_out).all():
            expect(element).to_be_hidden()
    expect(pay).to_be_hidden()
    expect(page.get_by_text("NEO_STACK", exact=True).locator("visible=true")).to_have_count(1)
    expect(page.get_by_test_id("buyer")).to_be_visible()
    expect(page.get_by_test_id("total")).to_be_visible()
    head = page.locator(".lines thead")
    expect(head).to_be_visible()
    expect(head).to_have_css("display", "table-header-group")  # what a browser prints on every sheet
    expect(page.locator(".lines tbody tr").first).to_have_css("break-inside", "avoid")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
