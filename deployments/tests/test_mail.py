import pytest

from deployments import actions, leases
from deployments.handlers import mail_failed_deployment
from deployments.models import Deployment
from events.models import Event
from tenants.models import Membership


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


def test_who_asked_for_a_deployment_that_failed_gets_one_mail_however_often_the_event_comes(failed, mailoutbox):
    handle_all(times=3)
    (mail,) = mailoutbox
    assert mail.to == ["alice@acme.example"]
    assert mail.subject == "Failed · web #1"
    assert "Step build ended with exit code 3." in mail.body
    assert "/t/acme/deployments/1/" in mail.body


def test_who_left_the_tenant_gets_no_mail_about_it(failed, alice, mailoutbox):
    Membership.objects.with_scopes_disabled().filter(user=alice.user).delete()
    handle_all()
    assert mailoutbox == []


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
