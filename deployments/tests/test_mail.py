from smtplib import SMTPRecipientsRefused

import pytest
from django.core.mail import send_mail

from accounts.actions import add_person
from accounts.models import User
from deployments import actions, handlers, leases
from deployments.handlers import mail_failed_deployment
from deployments.models import Deployment
from events.models import Event
from tenants.actions import join
from tenants.models import Membership, Role


@pytest.fixture
def failed(acme_deployment) -> Deployment:
    lease = leases.claim("runner")
    leases.step_begins(lease, 0)
    leases.fail(lease, "Step build ended with exit code 3.")
    return acme_deployment


def handle_all(times: int = 1) -> None:
    for _ in range(times):
        for seq, event in enumerate(Event.objects.with_scopes_disabled().order_by("id"), start=1):
            if event.type == "deployment_update":
                mail_failed_deployment(event, seq)


@pytest.fixture
def dave(acme, alice) -> User:
    """Another tenant_admin of acme."""
    person = add_person("dave@acme.example", "Dave", by=alice.user)
    join(acme, person, Role.TENANT_ADMIN, by=alice.user)
    return person


def test_who_asked_for_a_deployment_that_failed_gets_one_mail_however_often_the_event_comes(failed, mailoutbox):
    handle_all(times=3)
    (mail,) = mailoutbox
    assert mail.to == ["alice@acme.example"]
    assert "You asked for it." in mail.body
    assert mail.subject == "Failed · web #1"
    assert "Step build ended with exit code 3." in mail.body
    assert "/t/acme/deployments/1/" in mail.body


def test_who_left_the_tenant_gets_no_mail_about_it(failed, alice, mailoutbox):
    Membership.objects.with_scopes_disabled().filter(user=alice.user).delete()
    handle_all()
    assert mailoutbox == []


def test_the_tenants_admins_are_mailed_too_and_nobody_else(failed, dave, bob, charlie, mailoutbox):
    handle_all(times=2)
    assert sorted(mail.to[0] for mail in mailoutbox) == ["alice@acme.example", "dave@acme.example"]
    assert "Alice asked for it." in next(mail.body for mail in mailoutbox if mail.to == ["dave@acme.example"])


def test_one_that_is_lost_is_mailed_in_its_own_words(acme, acme_deployment, mailoutbox):
    leases.claim("runner")
    Deployment.objects.with_scopes_disabled().update(lease_expires_at="2020-01-01T00:00Z")
    leases.mark_lost()
    handle_all()
    (mail,) = mailoutbox
    assert mail.subject == "Lost · web #1"
    assert mail.body.startswith("web #1 is lost. Runner silent since")


def test_whoever_cannot_be_reached_keeps_nobody_else_from_hearing(failed, dave, mailoutbox, monkeypatch):
    refusals: list[Exception] = [SMTPRecipientsRefused({"alice@acme.example": (550, b"No such person")})]

    def refuse_once(subject, body, sender, to):
        if to == ["alice@acme.example"] and refusals:
            raise refusals.pop()
        return send_mail(subject, body, sender, to)

    monkeypatch.setattr(handlers, "send_mail", refuse_once)
    with pytest.raises(SMTPRecipientsRefused):
        handle_all()
    assert [mail.to[0] for mail in mailoutbox] == ["dave@acme.example"]
    handle_all()
    assert sorted(mail.to[0] for mail in mailoutbox) == ["alice@acme.example", "dave@acme.example"]


def test_a_cancelled_one_is_no_failure(alice, acme_deployment, mailoutbox):
    actions.cancel(acme_deployment, by=alice.user)
    handle_all()
    assert mailoutbox == []


def test_when_the_mail_cannot_be_sent_it_is_tried_again(failed, mailoutbox, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_PORT = 9  # nothing listens on the discard port
    with pytest.raises(OSError):
        handle_all()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    handle_all()
    assert len(mailoutbox) == 1
