"""Signing in and out, and what doesn't exist beside it."""

import re
from datetime import UTC, datetime

import pytest
import time_machine
from django.core import mail
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from accounts.management.commands import changepassword
from accounts.models import User
from conftest import PASSWORD
from events.models import Event

NEW = "another-good-passphrase"


def sign_in(client: Client, email: str, password: str = PASSWORD, **extra):
    return client.post("/accounts/login/", {"login": email, "password": password}, **extra)


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def generation(person) -> int:
    return User.objects.get(pk=person.user.pk).access_generation


def reasons() -> list[str]:
    return [event.payload["reason"] for event in Event.objects.with_scopes_disabled().order_by("id")]


def reset_link(client: Client, email: str) -> str:
    client.post("/accounts/password/reset/", {"email": email})
    return re.search(r"http://localhost:8000(/\S+)", mail.outbox[-1].body)[1]


@pytest.mark.parametrize("email", ["bob@acme.example", "Bob@ACME.example"])
def test_bob_signs_in_with_his_address_however_he_types_it(bob, email):
    client = Client()
    assert sign_in(client, email).status_code == 302
    assert is_signed_in(client)


def test_a_wrong_password_opens_nothing(bob):
    client = Client()
    assert sign_in(client, "bob@acme.example", "wrong").status_code == 200
    assert not is_signed_in(client)


def test_a_disabled_person_does_not_get_in(bob):
    User.objects.filter(pk=bob.user.pk).update(is_active=False)
    client = Client()
    assert sign_in(client, "bob@acme.example").url == "/accounts/inactive/"
    assert client.get("/accounts/inactive/").status_code == 200
    assert not is_signed_in(client)


def test_signing_out_takes_a_post_and_ends_the_connections(bob):
    assert bob.get("/accounts/logout/").status_code == 200
    assert is_signed_in(bob.client)
    assert generation(bob) == 1

    assert bob.post("/accounts/logout/").url == "/accounts/login/"
    assert not is_signed_in(bob.client)
    assert generation(bob) == 2
    assert reasons() == ["signed_out"]


def test_no_session_ends_without_the_connections_it_opened(bob, monkeypatch):
    """Signing out and the raise are one transaction."""

    def fails(*args, **kwargs):
        raise RuntimeError("the log is full")

    monkeypatch.setattr("accounts.signals.emit", fails)
    with pytest.raises(RuntimeError):
        bob.post("/accounts/logout/")
    monkeypatch.undo()
    assert generation(bob) == 1
    assert bob.get("/accounts/password/change/").status_code == 200, "still signed in"


def test_passwords_are_hashed_with_argon2(settings, bob):
    settings.PASSWORD_HASHERS = import_string("neostack.settings.PASSWORD_HASHERS")
    bob.user.set_password(PASSWORD)
    assert bob.user.password.startswith("argon2$argon2id$")


def test_an_older_hash_is_renewed_at_sign_in_without_ending_anything(settings, bob):
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    assert sign_in(Client(), "bob@acme.example").status_code == 302
    assert User.objects.get(pk=bob.user.pk).password.startswith("pbkdf2")
    assert generation(bob) == 1


@pytest.mark.parametrize(
    "path", ["signup/", "email/", "confirm-email/", "password/set/", "reauthenticate/", "3rdparty/"]
)
def test_what_is_not_offered_does_not_exist(bob, stranger, path):
    for visitor in (bob, stranger):
        for answer in (visitor.get(f"/accounts/{path}"), visitor.post(f"/accounts/{path}", {"email": "x@y.example"})):
            assert answer.status_code == 404
    with pytest.raises(NoReverseMatch):
        reverse("account_signup")


# --- Passwords --------------------------------------------------------------------------------------------------------


def test_changing_the_password_ends_every_other_session_and_connection(bob):
    elsewhere = Client()
    sign_in(elsewhere, "bob@acme.example")
    answer = bob.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    assert answer.status_code == 302
    assert generation(bob) == 2
    assert reasons() == ["password_changed"]
    assert bob.get("/accounts/password/change/").status_code == 200
    assert elsewhere.get("/accounts/password/change/").status_code == 302, "the other session has ended"


def test_a_weak_password_changes_nothing(bob):
    bob.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": "short", "password2": "short"})
    assert generation(bob) == 1
    assert User.objects.get(pk=bob.user.pk).check_password(PASSWORD)


def test_a_forgotten_password_is_set_anew_through_a_mailed_link(bob):
    client = Client()
    link = reset_link(client, "bob@acme.example")
    form = client.get(link)
    assert "set-password" in form.url
    assert client.post(form.url, {"password1": NEW, "password2": NEW}).url == "/accounts/password/reset/key/done/"
    assert not is_signed_in(client)
    assert generation(bob) == 2
    assert sign_in(Client(), "bob@acme.example", NEW).status_code == 302
    assert "set-password" not in (Client().get(link).headers.get("Location") or ""), "a link works once"


def test_a_link_expires(bob, settings):
    with time_machine.travel(datetime(2026, 11, 20, tzinfo=UTC), tick=False) as clock:
        link = reset_link(Client(), "bob@acme.example")
        clock.shift(settings.PASSWORD_RESET_TIMEOUT - 1)
        assert Client().get(link).status_code == 302
        clock.shift(2)
        assert Client().get(link).status_code == 200, "the page that says it no longer works"


def test_the_link_names_our_own_site_whatever_host_was_asked(bob, settings):
    settings.ALLOWED_HOSTS = ["*"]
    Client().post("/accounts/password/reset/", {"email": "bob@acme.example"}, headers={"Host": "evil.example"})
    assert "evil.example" not in mail.outbox[-1].body
    assert settings.SITE_URL in mail.outbox[-1].body


def test_asking_for_a_link_tells_nobody_who_has_an_account(bob):
    known = Client().post("/accounts/password/reset/", {"email": "bob@acme.example"})
    unknown = Client().post("/accounts/password/reset/", {"email": "nobody@acme.example"})
    assert (known.status_code, known.url) == (unknown.status_code, unknown.url)
    assert [message.to for message in mail.outbox] == [["bob@acme.example"]]


def test_nor_does_a_mail_server_that_is_down(bob, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    known = Client().post("/accounts/password/reset/", {"email": "bob@acme.example"})
    assert (known.status_code, known.url) == (302, "/accounts/password/reset/done/")


def test_the_command_that_changes_a_password_ends_everything_too(bob, monkeypatch):
    monkeypatch.setattr(changepassword, "getpass", lambda prompt="": NEW)
    call_command("changepassword", "bob@acme.example")
    assert User.objects.get(pk=bob.user.pk).check_password(NEW)
    assert generation(bob) == 2
    assert reasons() == ["password_changed"]
    with pytest.raises(CommandError, match="Nobody"):
        call_command("changepassword", "nobody@acme.example")
    monkeypatch.setattr(changepassword, "getpass", lambda prompt="": "short")
    with pytest.raises(CommandError, match="too short"):
        call_command("changepassword", "bob@acme.example")
    assert generation(bob) == 2


# --- Lockout ----------------------------------------------------------------------------------------------------------


def fail(email: str, times: int, **extra) -> list[int]:
    return [sign_in(Client(), email, f"wrong-{n}", **extra).status_code for n in range(times)]


def test_five_wrong_passwords_lock_the_right_one_out_and_say_until_when(bob):
    with time_machine.travel(datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC), tick=False) as clock:
        assert fail("bob@acme.example", 5) == [200, 200, 200, 200, 429]
        clock.shift(60)
        client = Client()
        locked = sign_in(client, "BOB@acme.example")
        assert locked.status_code == 429
        assert not is_signed_in(client)
        assert "15:19:05" in locked.content.decode()
        assert locked["Retry-After"] == str(14 * 60)

        clock.shift(14 * 60 + 1)
        assert sign_in(client, "bob@acme.example").status_code == 302, "tries meanwhile did not lengthen it"


def test_the_lock_is_for_one_person_from_one_address(alice, bob):
    fail("bob@acme.example", 5)
    assert sign_in(Client(), "alice@acme.example").status_code == 302
    assert sign_in(Client(), "bob@acme.example", REMOTE_ADDR="203.0.113.9").status_code == 302


def test_another_browser_is_no_way_round_the_lock(bob):
    for n in range(5):
        fail("bob@acme.example", 1, headers={"User-Agent": f"browser {n}"})
    assert sign_in(Client(), "bob@acme.example", headers={"User-Agent": "a sixth"}).status_code == 429


def test_nor_is_an_address_that_the_visitor_makes_up(bob):
    for n in range(5):
        fail("bob@acme.example", 1, headers={"X-Forwarded-For": f"198.51.100.{n}"})
    assert sign_in(Client(), "bob@acme.example", headers={"X-Forwarded-For": "198.51.100.9"}).status_code == 429


def test_signing_in_forgets_the_failures_before_it(bob):
    for _ in range(3):
        assert 429 not in fail("bob@acme.example", 4)
        assert sign_in(Client(), "bob@acme.example").status_code == 302


def test_setting_a_new_password_by_mail_ends_the_lock(bob):
    fail("bob@acme.example", 5)
    client = Client()
    form = client.get(reset_link(client, "bob@acme.example"))
    client.post(form.url, {"password1": NEW, "password2": NEW})
    assert sign_in(Client(), "bob@acme.example", NEW).status_code == 302


def test_nobodys_mailbox_is_flooded_with_links(bob):
    cache.clear()  # where the requests are counted
    answers = [Client().post("/accounts/password/reset/", {"email": "bob@acme.example"}) for _ in range(6)]
    cache.clear()
    assert [answer.status_code for answer in answers] == [302] * 5 + [429]
    assert "Too many requests from here" in answers[-1].content.decode()
    assert len(mail.outbox) == 5


def test_the_admin_has_no_sign_in_of_its_own(platform_admin, bob):
    assert Client().get("/admin/", follow=True).redirect_chain[-1][0].startswith("/accounts/login/?next=")
    answer = Client().post("/admin/login/", {"username": "admin@neostack.example", "password": PASSWORD})
    assert answer.status_code == 302
    assert answer.url.startswith("/accounts/login/")
    assert bob.get("/admin/", follow=True).status_code == 403
    assert platform_admin.get("/admin/").status_code == 200


def test_signing_out_of_the_admin_ends_the_connections_too(platform_admin):
    platform_admin.post("/admin/logout/")
    assert generation(platform_admin) == 2
