"""What the platform's admins do about invoices in the Django admin: each says why, and the tenant reads it."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from django_scopes import scope

from billing import actions, payments
from billing.models import Invoice, Period, Plan, Subscription
from billing.tests.conftest import DECEMBER
from billing.tests.paying import fresh, open_invoice, pays_by, taken

pytestmark = pytest.mark.django_db

URL = reverse("admin:billing_invoice_changelist")


@pytest.fixture
def invoice(acme, subscription) -> Invoice:
    return open_invoice(acme)


def do(person, action: str, *invoices: Invoice, **more: str) -> str:
    data = {"action": action, "_selected_action": [str(invoice.pk) for invoice in invoices]} | more
    return person.post(URL, data, follow=True).content.decode()


def test_what_can_be_collected_is_and_what_cannot_is_said(acme, platform_admin, invoice):
    void = payments.void(open_invoice(acme), "Mistake", by=platform_admin.user)
    html = do(platform_admin, "collect", invoice, void)
    assert "NS-000001 is paid." in html
    assert "Invoice NS-000002 is void. Nothing was charged." in html


def test_a_declined_card_is_said_with_its_reason(acme, platform_admin, invoice):
    pays_by(acme, "declines")
    assert "NS-000001 is failed. The card was declined." in do(platform_admin, "collect", invoice)


@pytest.mark.parametrize(("action", "status"), [("take_by_hand", "paid"), ("void", "void")])
def test_a_reason_is_asked_for_first(acme, platform_admin, invoice, action, status):
    html = do(platform_admin, action, invoice)
    assert "Why? The tenant reads it." in html
    assert fresh(invoice).status == "open"
    do(platform_admin, action, invoice, reason="Transfer 4711")
    assert fresh(invoice).status == status


def test_what_was_paid_is_given_back_with_a_credit_note(acme, alice, platform_admin, invoice):
    payments.pay(invoice, by=alice.user)
    html = do(platform_admin, "refund", invoice, reason="The stack was down")
    assert "NS-000001 is refunded. The stack was down" in html
    assert taken() == 0
    assert "CN-000001" in platform_admin.get(URL).content.decode()


def test_an_offer_that_there_is_gets_no_other_first_version(platform_admin, plan):
    form = {"slug": plan.slug, "name": "Another", "description": "", "currency": "EUR", "prices": '{"fee": "9"}'}
    refused = platform_admin.post(reverse("admin:billing_plan_add"), form)
    assert "Make its next version." in refused.content.decode()
    assert Plan.objects.filter(slug=plan.slug).get() == plan


def test_a_subscription_that_has_ended_begins_again_and_one_that_goes_on_does_not(
    acme, platform_admin, subscription, monkeypatch
):
    """A tenant without one is told to ask the platform's staff for a plan: here they give it."""

    def begin_again() -> str:
        data = {"action": "begin_again", "_selected_action": [str(acme.pk)]}
        return platform_admin.post(reverse("admin:billing_subscription_changelist"), data, follow=True).content.decode()

    assert "has a subscription already" in begin_again()
    actions.cancel(acme)
    monkeypatch.setattr(timezone, "now", lambda: DECEMBER + timedelta(days=1))
    actions.begin_what_is_due()
    platform_admin.client.force_login(
        platform_admin.user, backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    begin_again()
    with scope(tenant=acme):
        again = Subscription.objects.get()
        assert (again.ended_at, again.started_at) == (None, timezone.now())
        assert Period.objects.latest("starts_at").starts_at == timezone.now()
