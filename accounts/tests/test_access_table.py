"""Every URL about a person's own account, and what each visitor gets there."""

import pytest

from accounts.urls import urlpatterns

IN = "/accounts/login/?next="
#: URL name: (address, what somebody signed in gets, what a stranger gets): a status, or where it leads.
TABLE = {
    "account_login": ("/accounts/login/", "/", 200),
    "account_logout": ("/accounts/logout/", 200, "/accounts/login/"),
    "account_inactive": ("/accounts/inactive/", 200, 200),
    "account_change_password": ("/accounts/password/change/", 200, IN + "/accounts/password/change/"),
    "account_reset_password": ("/accounts/password/reset/", 200, 200),
    "account_reset_password_done": ("/accounts/password/reset/done/", 200, 200),
    "account_reset_password_from_key": (f"/accounts/password/reset/key/{'0' * 32}-no-such-key/", 200, 200),
    "account_reset_password_from_key_done": ("/accounts/password/reset/key/done/", 200, 200),
}


def test_every_url_stands_in_the_table():
    assert {pattern.name for pattern in urlpatterns} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_what_each_visitor_gets(name, alice, bob, charlie, platform_admin, stranger):
    address, signed_in, nobody = TABLE[name]
    for visitor in (alice, bob, charlie, platform_admin):
        assert outcome(visitor.get(address)) == signed_in
    assert outcome(stranger.get(address)) == nobody


def outcome(response):
    return response.url if response.status_code == 302 else response.status_code
