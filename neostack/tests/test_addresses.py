"""Addresses that lead nowhere, and those that lack a slash: the same with DEBUG on and off."""

import pytest

from tenants.access import api_not_found, not_found

pytestmark = pytest.mark.parametrize("debug", [True, False])


@pytest.mark.parametrize("address", ["/no/such/page/", "/t/acme/no-such-page/", "/t/never-used/", "/api/no-such"])
def test_an_address_that_leads_nowhere_is_the_one_page(alice, settings, debug, address):
    settings.DEBUG = debug
    page = api_not_found() if address.startswith("/api/") else not_found()
    answer = alice.get(address)
    assert (answer.status_code, answer.content) == (404, page.content)


def test_a_forgotten_slash_is_added(alice, settings, debug):
    settings.DEBUG = debug
    assert alice.get("/t/acme").headers["Location"] == "/t/acme/"
