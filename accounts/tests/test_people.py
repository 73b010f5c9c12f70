"""Adding people, telling them, and taking their access away."""

import re

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import transaction
from django.test import Client

from accounts import actions
from accounts.actions import Refused
from accounts.events import Reason
from accounts.models import Invitation, User
from accounts.signals import disabling
from events.models import Event

NEW = "another-good-passphrase"


@pytest.fixture
def mails(django_capture_on_commit_callbacks):
    """What is sent while a block runs and commits."""

    def sent(action, *args, **kwargs):
        before = len(mail.outbox)
        with django_capture_on_commit_callbacks(execute=True):
            action(*args, **kwargs)
        return mail.outbox[before:]

    return sent


def link_in(message) -> str:
    return re.search(r"http://localhost:8000(/\S+)", message.body)[1]


def choose_password(link: str) -> Client:
    client = Client()
    form = client.get(link)
    client.post(form.url, {"password1": NEW, "password2": NEW})
    return client


def last_reason() -> str:
    return Event.objects.with_scopes_disabled().filter(type="access_changed").latest("id").payload["reason"]


def test_somebody_new_gets_a_link_and_no_password(platform_admin, mails):
    [message] = mails(actions.add_person, "Dora@Acme.example", "Dora", by=platform_admin.user)

    dora = User.objects.get(email="dora@acme.example")
    assert message.to == ["dora@acme.example"]
    assert message.subject == "Ada invites you to NEO_STACK"
    assert not dora.has_usable_password()
    assert last_reason() == "invited"

    choose_password(link_in(message))
    signed_in = Client().post("/accounts/login/", {"login": "dora@acme.example", "password": NEW})
    assert signed_in.status_code == 302
    assert Invitation.objects.get().state == "accepted"


def test_an_invitation_links_once(platform_admin, mails):
    [message] = mails(actions.add_person, "dora@acme.example", "Dora", by=platform_admin.user)
    choose_password(link_in(message))
    assert Client().get(link_in(message)).status_code == 200, "the page that says the link no longer works"


def test_an_address_belongs_to_one_person(bob, platform_admin):
    with pytest.raises(Refused, match="has an account already"):
        actions.add_person("BOB@acme.example", "Robert", by=platform_admin.user)
    with pytest.raises(ValidationError):
        actions.add_person("not an address", "Nobody", by=platform_admin.user)


def test_nothing_is_mailed_before_the_commit(platform_admin, mails, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        actions.add_person("dora@acme.example", "Dora", by=platform_admin.user)
        transaction.set_rollback(True)
    assert mail.outbox == []


def test_a_mail_server_that_fails_loses_no_invitation(platform_admin, mails, settings):
    working = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    assert mails(actions.add_person, "dora@acme.example", "Dora", by=platform_admin.user) == []

    invitation = Invitation.objects.get()
    assert invitation.state.startswith("not sent: ")
    assert "refused" in invitation.state

    settings.EMAIL_BACKEND = working
    [message] = mails(actions.resend_invitation, invitation)
    assert message.to == ["dora@acme.example"]
    invitation.refresh_from_db()
    assert invitation.state == "sent"


def test_an_accepted_invitation_is_not_sent_again(platform_admin, mails):
    [message] = mails(actions.add_person, "dora@acme.example", "Dora", by=platform_admin.user)
    choose_password(link_in(message))
    with pytest.raises(Refused, match="accepted already"):
        actions.resend_invitation(Invitation.objects.get())


def test_disabling_ends_sessions_and_connections(bob, alice, platform_admin):
    assert bob.get("/accounts/password/change/").status_code == 200
    actions.disable_person(bob.user, by=platform_admin.user)
    assert bob.get("/accounts/password/change/").status_code == 302
    assert User.objects.get(pk=bob.user.pk).access_generation == 2
    assert last_reason() == "disabled"

    actions.enable_person(bob.user, by=platform_admin.user)
    assert User.objects.get(pk=bob.user.pk).access_generation == 2
    assert last_reason() == "enabled"


def test_disabling_twice_says_so_once(bob, platform_admin):
    actions.disable_person(bob.user, by=platform_admin.user)
    actions.disable_person(bob.user, by=platform_admin.user)
    assert Event.objects.with_scopes_disabled().count() == 1


def test_disabling_gives_way_to_a_change_at_the_same_moment(bob, alice, platform_admin):
    """What was decided from what Bob could do before is not done to what he can do now."""

    def promote(user, **_):
        actions.announce_access(User.objects.get(pk=user.pk), Reason.PROMOTED, by=alice.user)

    disabling.connect(promote)
    try:
        with pytest.raises(actions.ChangedMeanwhile):
            actions.disable_person(bob.user, by=platform_admin.user)
    finally:
        disabling.disconnect(promote)
    assert User.objects.get(pk=bob.user.pk).is_active
    assert not Event.objects.with_scopes_disabled().exists()


def test_the_platform_keeps_an_admin(platform_admin, bob):
    with pytest.raises(Refused, match="last admin"):
        actions.disable_person(platform_admin.user, by=platform_admin.user)
    with pytest.raises(Refused, match="last admin"):
        actions.take_platform_admin(platform_admin.user, by=platform_admin.user)

    actions.grant_platform_admin(bob.user, by=platform_admin.user)
    assert last_reason() == "platform_admin_granted"
    actions.take_platform_admin(platform_admin.user, by=bob.user)
    assert last_reason() == "platform_admin_taken"
    ada = User.objects.get(pk=platform_admin.user.pk)
    assert (ada.is_superuser, ada.is_staff, ada.access_generation) == (False, False, 2)


def test_a_reason_that_gives_raises_nothing_by_mistake(bob):
    with pytest.raises(ValueError):
        actions.raise_generation(bob.user, Reason.PROMOTED, by=None)
