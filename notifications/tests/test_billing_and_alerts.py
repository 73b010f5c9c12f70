"""What billing and monitoring say reaches whom, and what is over says so.

The events as those apps write them: apps know each other by events only, and so do their tests.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from accounts.models import User
from conftest import make_person
from events import handling
from events.models import Event
from notifications import actions, mails
from notifications.models import Cause, Mail, Notification
from notifications.tests.conftest import emitted, titles
from tenants import actions as tenants
from tenants.models import Membership, Role, Tenant

INVOICE, ALERT = UUID(int=7), UUID(int=8)
Says = Callable[..., Event]


@pytest.fixture
def says(db) -> Says:
    """An event of this type: `says("alert", acme, state="firing")`."""

    def one(kind: str, tenant: Tenant | None, /, **facts: Any) -> Event:
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
        "Invoice A-7 was refunded: 128.40 EUR · Acme",
        "Solved · Invoice A-7 over 128.40 EUR · Acme",
    ]


def test_an_invoice_that_was_paid_says_so_and_a_credit_note_asks_for_nothing(invoice, handle, alice):
    invoice("created", 1)
    invoice("created", 1, invoiceId=str(ALERT), number="CN-1", kind="credit_note", amount="-28.40")
    invoice("paid", 2)
    handle()
    solved = dict(Notification.objects.filter(user=alice.user).values_list("title", "solved_by"))
    assert solved == {
        "Invoice A-7 over 128.40 EUR": "invoice A-7 was paid",
        "Invoice A-7 was paid: 128.40 EUR": "",
        "Credit note CN-1 over -28.40 EUR": "",
    }
    assert not Notification.objects.get(title__startswith="Credit").cause_key


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
    assert Notification.objects.get(user=platform_admin.user).link == "/ops/billing/invoices/A-7/"
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


def test_a_threshold_is_over_when_usage_is_below_it_again(says, handle, acme, globex, alice):
    """Acme takes a plan that includes more; then another period begins. Another meter's and another company's stay."""
    meter = {"resource": "api_calls", "limit": 500}
    says("usage_update", acme, **meter, version=7, usage=255, percentage=51.0, threshold=50)
    says("usage_update", acme, **meter, version=9, usage=501, percentage=100.2, threshold=100)
    says("usage_update", acme, resource="api_calls_eu", limit=5, version=9, usage=5, percentage=100.0, threshold=100)
    says("usage_update", globex, **meter, version=99, usage=0, percentage=0.0, threshold=None)
    handle()

    def solved() -> list[str]:
        return list(Notification.objects.filter(user=alice.user).order_by("number").values_list("solved_by", flat=True))

    assert solved() == ["", "", ""]
    says("usage_update", acme, resource="api_calls", limit=900, version=10, usage=501, percentage=55.67, threshold=None)
    handle()
    assert solved() == ["", "api calls are at 55.67 %", ""]
    says("usage_update", acme, **meter, version=11, usage=1, percentage=0.2, threshold=None)
    handle()
    assert solved() == ["api calls are at 0.2 %", "api calls are at 55.67 %", ""]


# --- Monitoring -------------------------------------------------------------------------------------------------------


def test_an_alert_that_fires_reaches_the_tenants_admins_and_so_does_its_end(alert, handle, alice, bob, platform_admin):
    alert("firing", 1)
    for version, state in ((2, "acknowledged"), (3, "silenced")):
        alert(state, version)
    handle()
    assert titles(alice) == ["High CPU fires"]
    one = Notification.objects.get()
    assert (one.level, one.message, one.link) == ("error", "CPU is at 97 %.", f"/t/acme/monitoring/alerts/{ALERT}/")
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
    assert Notification.objects.get().link == f"/ops/monitoring/alerts/{ALERT}/"
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


# --- In whatever order ------------------------------------------------------------------------------------------------


def test_an_escalation_handled_after_the_end_says_that_it_is_over_and_pages_nobody(alert, handle, dave, mailoutbox):
    """Alerts and escalations have a cursor each: neither waits for the other."""
    called = {"kind": "alert_escalated", "people": [str(dave.user.pk)], "step": 1}
    alert("firing", 1)
    alert("resolved", 3)
    handle()
    alert("firing", 2, **called, ways=["in_app", "email"])
    alert("firing", 2, **called, ways=["email"])
    handle()
    assert titles(dave)[0] == "High CPU still fires"
    paged = Notification.objects.get(kind="alert_escalated")
    assert (paged.solved_by, paged.mail) == ("the alert is over", None)
    assert paged.solved_at == Notification.objects.get(kind="alert_firing", user=dave.user).solved_at
    mails.send_due(10)
    assert not any("still fires" in mail.subject for mail in mailoutbox)


def test_an_alert_that_fires_again_pages_again(alert, handle, dave, mailoutbox):
    alert("resolved", 3)
    alert("firing", 5, kind="alert_escalated", people=[str(dave.user.pk)], ways=["email"], step=1)
    handle()
    mails.send_due(10)
    assert [mail.subject for mail in mailoutbox] == ["High CPU still fires · Acme"]


def test_a_page_that_waits_while_its_alert_ends_is_not_sent(alert, handle, dave, mailoutbox):
    alert("firing", 2, kind="alert_escalated", people=[str(dave.user.pk)], ways=["email"], step=1)
    handle()
    alert("resolved", 3)
    handle()
    mails.send_due(10)
    assert [mail.subject for mail in mailoutbox] == []
    assert Mail.objects.get().error.endswith("what it called for is over.")


def test_whatever_the_order_of_handling_the_same_is_solved(alert, invoice, dave, alice):
    """Each event once, in every order: also what a dead letter tells days later."""
    people = {"people": [str(dave.user.pk)], "ways": ["in_app"], "step": 1}
    events = [
        ("notify_of_alerts", alert("firing", 1)),
        ("notify_of_escalations", alert("firing", 2, kind="alert_escalated", **people)),
        ("notify_of_alerts", alert("resolved", 3)),
        ("notify_of_alerts", alert("firing", 4, metadata={"name": "High CPU", "previous": "resolved"})),
    ]
    for order in permutations(events):
        for name, event in order:
            handling.get(name).function(event, 1)
        firing = Notification.objects.exclude(kind="alert_resolved").filter(user=dave.user).order_by("cause_order")
        assert list(firing.values_list("cause_order", "solved_by")) == [
            (1, "the alert is over"),
            (2, "the alert is over"),
            (4, ""),
        ]
        assert not firing.exclude(solved_by="").filter(solved_at=None).exists()
        Notification.objects.all().delete()
        Cause.objects.all().delete()


def test_a_failure_told_again_after_the_payment_is_solved_at_once_on_the_page_too(invoice, handle, alice):
    """As when its dead letter is retried."""
    invoice("paid", 3)
    handle()
    invoice("failed", 2)
    handle()
    late = Notification.objects.get(kind="invoice_failed", user=alice.user)
    assert late.solved_by == "invoice A-7 was paid"
    said = emitted("inbox_update")[-2:]
    assert [str(late.pk)] in [update["solved"] for update in said]
    assert {update["solvedBy"] for update in said} == {"invoice A-7 was paid"}


def test_what_was_solved_is_forgotten_when_what_it_solved_is(invoice, handle, acme):
    invoice("paid", 3)
    handle()
    actions.forget_old()
    assert Cause.objects.get().tenant == acme
    Cause.objects.update(solved_at=timezone.now() - timedelta(days=91))
    actions.forget_old()
    assert not Cause.objects.exists()
