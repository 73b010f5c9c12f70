"""What billing and monitoring say reaches whom, and what is over says so.

The events as those apps write them: apps know each other by events only, and so do their tests.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from accounts.models import User
from conftest import make_person
from events.models import Event
from notifications import mails
from notifications.models import Notification
from notifications.tests.conftest import titles
from tenants import actions as tenants
from tenants.models import Membership, Role, Tenant

INVOICE, ALERT = UUID(int=7), UUID(int=8)
Says = Callable[..., Event]


@pytest.fixture
def says(db) -> Says:
    """An event of this type: `says("alert", acme, state="firing")`."""

    def one(kind: str, tenant: Tenant | None, **facts: Any) -> Event:
        return Event.objects.create(
            type=kind, tenant=tenant, occurred_at=timezone.now(), summary="", payload=facts, channels=[]
        )

    return one


@pytest.fixture
def invoice(says, acme) -> Says:
    def one(event: str, version: int, **more: Any) -> Event:
        facts = {"invoiceId": str(INVOICE), "version": version, "event": event, "number": "A-7", "reason": ""}
        return says("invoice_event", acme, **facts | {"amount": "128.40", "currency": "EUR"} | more)

    return one


@pytest.fixture
def alert(says, acme) -> Says:
    def one(state: str, version: int, tenant: Tenant | None = acme, severity: str = "error", **more: Any) -> Event:
        facts = {"alertId": str(ALERT), "version": version, "severity": severity, "message": "CPU is at 97 %."}
        metadata = {"name": "High CPU", "value": 97, "labels": {}}
        return says(more.pop("kind", "alert"), tenant, **facts | {"state": state, "metadata": metadata} | more)

    return one


@pytest.fixture
def dave(acme) -> Any:
    """Another tenant_admin of acme."""
    person = make_person("Dave", "dave@acme.example")
    Membership.objects.create(tenant=acme, user=person.user, role=Role.TENANT_ADMIN)
    return person


# --- Billing ----------------------------------------------------------------------------------------------------------


def test_invoices_and_their_money_reach_the_tenants_admins(
    invoice, handle, alice, bob, charlie, platform_admin, mailoutbox
):
    for version, event in enumerate(("created", "paid", "refunded"), start=1):
        invoice(event, version)
    handle()
    assert titles(alice) == [
        "Invoice A-7 was refunded: 128.40 EUR",
        "Invoice A-7 was paid: 128.40 EUR",
        "Invoice A-7 over 128.40 EUR",
    ]
    assert titles(bob) == titles(charlie) == titles(platform_admin) == []
    one = Notification.objects.filter(user=alice.user).first()
    assert one.link == f"/t/acme/billing/invoices/{INVOICE}/"
    mails.send_due(10)
    assert sorted(mail.subject for mail in mailoutbox) == [
        "Invoice A-7 over 128.40 EUR · Acme",
        "Invoice A-7 was refunded: 128.40 EUR · Acme",
    ]


def test_a_payment_that_failed_reaches_the_platforms_admins_too_and_is_solved_when_it_is_paid(
    invoice, handle, acme, alice, platform_admin
):
    acme.time_zone = "Europe/Lisbon"
    acme.save()
    invoice("failed", 2, reason="The card was declined.", nextTryAt="2026-07-26T08:00:00.000Z")
    handle()
    assert titles(alice) == ["Payment of invoice A-7 failed: 128.40 EUR"]
    assert titles(platform_admin) == ["Acme: Payment of invoice A-7 failed: 128.40 EUR"]
    hers = Notification.objects.get(user=alice.user)
    assert hers.message == "The card was declined. Next try: 26 Jul 2026, 09:00 Europe/Lisbon."
    assert (hers.level, hers.solved_by) == ("error", "")
    assert Notification.objects.get(user=platform_admin.user).link == "/ops/billing/"
    invoice("paid", 3)
    handle()
    assert set(Notification.objects.filter(kind="invoice_failed").values_list("solved_by", flat=True)) == {
        "invoice A-7 was paid"
    }


def test_the_last_try_says_when_access_ends(invoice, handle, acme, alice):
    invoice("failed", 5, reason="The card was declined.", accessEndsAt="2026-07-26T08:00:00.000Z")
    handle()
    assert Notification.objects.get(user=alice.user).message == (
        "The card was declined. It is not tried again by itself. Unless it is paid, access to Acme ends "
        "26 Jul 2026, 08:00 UTC."
    )


def test_who_is_suspended_for_what_it_owes_hears_of_that_and_of_its_billing_and_of_nothing_else(
    says, invoice, alert, handle, acme, alice, bob, mailoutbox
):
    invoice("created", 1)
    alert("firing", 1)
    handle()
    tenants.suspend(acme, None, reason="Unpaid: A-7 over 128.40 EUR.")
    says("subscription_update", acme, change="suspended", version=3, plan="team")
    invoice("failed", 2)
    alert("firing", 2, metadata={"louder": True})
    handle()
    heard = ["Payment of invoice A-7 failed: 128.40 EUR", "Acme is suspended: it has not paid"]
    assert sorted(titles(alice)) == sorted([*heard, "Invoice A-7 over 128.40 EUR"])
    assert titles(bob) == []
    mails.send_due(10)
    assert "Acme is suspended: it has not paid · Acme" in [mail.subject for mail in mailoutbox]
    says("subscription_update", acme, change="returned", version=4, plan="team")
    tenants.resume(acme, None)
    handle()
    assert "Acme is open again" in titles(alice)
    assert "High CPU fires" in titles(alice)
    assert Notification.objects.get(kind="billing_suspended").solved_by == "what was owed is settled"


def test_who_is_suspended_for_something_else_hears_of_no_invoice(invoice, handle, acme, alice, platform_admin):
    tenants.suspend(acme, platform_admin.user, reason="Mined coins")
    invoice("failed", 2)
    handle()
    assert titles(alice) == []


def test_an_invoice_declared_void_is_no_news_but_nobody_has_to_pay_it(invoice, handle, alice):
    invoice("failed", 2)
    invoice("voided", 3)
    handle()
    assert len(titles(alice)) == 1
    assert Notification.objects.get(user=alice.user).solved_by == "invoice A-7 was declared void"


def test_usage_is_told_when_it_reaches_a_threshold_and_then_once(says, handle, acme, alice, bob):
    usage = {"resource": "deployment_minutes", "limit": 500, "version": 7}
    says("usage_update", acme, **usage, usage=251.0, percentage=50.2)
    for reached, used in ((50, 251.0), (80, 412.5), (100, 1500.0)):
        says("usage_update", acme, **usage, usage=used, percentage=used / 5, threshold=reached)
    says("usage_update", acme, **usage, usage=1501.0, percentage=300.2, threshold=None)
    handle()
    assert titles(alice) == [
        "Deployment minutes: 100 % reached",
        "Deployment minutes: 80 % reached",
        "Deployment minutes: 50 % reached",
    ]
    assert titles(bob) == []
    told = Notification.objects.filter(user=alice.user).order_by("number")
    assert [one.level for one in told] == ["info", "warning", "error"]
    assert told[2].message == "1,500 of 500 deployment minutes used in this period."


# --- Monitoring -------------------------------------------------------------------------------------------------------


def test_an_alert_that_fires_reaches_the_tenants_admins_and_so_does_its_end(alert, handle, alice, bob, platform_admin):
    alert("firing", 1)
    for version, state in ((2, "acknowledged"), (3, "silenced")):
        alert(state, version)
    handle()
    assert titles(alice) == ["High CPU fires"]
    one = Notification.objects.get()
    assert (one.level, one.message, one.link) == ("error", "CPU is at 97 %.", "/t/acme/monitoring/")
    alert("resolved", 4)
    handle()
    assert titles(alice) == ["High CPU is over", "High CPU fires"]
    assert Notification.objects.get(kind="alert_firing").solved_by == "the alert is over"
    assert titles(bob) == titles(platform_admin) == []


def test_one_that_says_the_same_with_other_numbers_is_no_news_unless_it_became_worse(alert, handle, alice):
    alert("firing", 1)
    again = {"name": "High CPU", "previous": "firing"}
    alert("firing", 2, metadata=again | {"louder": False})
    handle()
    assert titles(alice) == ["High CPU fires"]
    alert("firing", 3, severity="critical", metadata=again | {"louder": True})
    handle()
    assert titles(alice) == ["High CPU fires", "High CPU fires"]


def test_the_end_of_what_nobody_heard_of_is_no_news(alert, handle, alice):
    alert("resolved", 4)
    handle()
    assert titles(alice) == []


def test_the_platforms_own_alerts_reach_its_admins(alert, handle, alice, platform_admin):
    alert("firing", 1, tenant=None, severity="critical")
    handle()
    assert titles(platform_admin) == ["High CPU fires"]
    assert Notification.objects.get().link == "/ops/monitoring/"
    assert titles(alice) == []


def test_who_may_see_alerts_no_more_does_not_hear_of_their_end(alert, handle, acme, alice, dave, platform_admin):
    alert("firing", 1)
    alert("firing", 1, tenant=None, kind="alert", alertId=str(INVOICE))
    handle()
    Membership.objects.with_scopes_disabled().filter(user=dave.user).update(role=Role.TENANT_USER)
    User.objects.filter(pk=platform_admin.user.pk).update(is_superuser=False, is_staff=False)
    alert("resolved", 2)
    alert("resolved", 2, tenant=None, alertId=str(INVOICE))
    handle()
    assert titles(alice) == ["High CPU is over", "High CPU fires"]
    assert titles(dave) == ["High CPU fires"]
    assert titles(platform_admin) == [], "what fired neither: it was of the platform"


def test_an_alert_of_a_company_that_was_deleted_is_not_taken_for_the_platforms(alert, handle, acme, platform_admin):
    alert("firing", 1)
    alert("firing", 2, kind="alert_escalated", people=[str(platform_admin.user.pk)], ways=["in_app"], step=1)
    acme.delete()
    handle()
    assert titles(platform_admin) == []


def test_an_escalation_reaches_its_people_in_its_ways_whatever_they_prefer(
    alert, handle, alice, dave, charlie, mailoutbox
):
    people = [str(person.user.pk) for person in (dave, charlie)]
    alert("firing", 2, kind="alert_escalated", people=people, ways=["email"], step=2)
    handle()
    mails.send_due(10)
    assert [(mail.to, mail.subject) for mail in mailoutbox] == [(["dave@acme.example"], "High CPU still fires · Acme")]
    assert titles(dave) == titles(alice) == []
    alert("firing", 3, kind="alert_escalated", people=people, ways=["in_app"], step=3)
    handle()
    assert titles(dave) == ["High CPU still fires"]
    assert len(mailoutbox) == 1
