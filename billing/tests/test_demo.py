"""The demo has a past: what Alice, Charlie and Ada see of it on the first day."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_scopes import scopes_disabled

from accounts.models import User
from billing import dunning, invoicing
from billing.models import Crossing, Invoice, Subscription, UsageRecord
from conftest import Person
from events.models import Event

pytestmark = pytest.mark.django_db


@pytest.fixture
def demo(settings, django_capture_on_commit_callbacks) -> Callable[[], None]:
    settings.DEBUG = True
    settings.PAYMENT_GATEWAY = "local"

    def make() -> None:
        with django_capture_on_commit_callbacks(execute=True):
            call_command("demo")

    return make


@scopes_disabled()
def invoices(slug: str) -> list[tuple[str, str, bool]]:
    found = Invoice.objects.filter(tenant__slug=slug).order_by("created_at", "number")
    return [(one.kind, one.status, one.next_try_at is not None) for one in found]


ACME = [
    ("invoice", "paid", False),
    ("invoice", "paid", False),
    ("credit_note", "paid", False),
    ("invoice", "paid", False),
    ("invoice", "failed", True),
]


@pytest.mark.parametrize("day", [datetime(2026, 11, 15, 12), datetime(2026, 12, 1, 0, 30), datetime(2027, 1, 31, 23)])
def test_acme_has_four_months_of_invoices_and_globex_owes_one(demo, monkeypatch, day):
    monkeypatch.setattr(timezone, "now", lambda: day.replace(tzinfo=UTC))
    demo()
    assert invoices("acme") == ACME
    assert invoices("globex") == [("invoice", "open", False)]
    with scopes_disabled():
        failed = Invoice.objects.get(tenant__slug="acme", status="failed")
        assert failed.lines.filter(description__contains="reported late").exists()
        assert failed.next_try_at > timezone.now()
        assert Crossing.objects.filter(tenant__slug="acme", percent=90).exists()
        assert Subscription.objects.get(tenant__slug="acme").plan.slug == "team"
        times = Event.objects.filter(type="invoice_event").values_list("occurred_at", flat=True)
        assert min(times) < timezone.now() - timedelta(days=80)


def test_a_second_demo_adds_nothing_and_an_old_one_keeps_what_it_has(demo):
    demo()
    with scopes_disabled():
        before = UsageRecord.objects.count(), invoices("acme"), invoices("globex")
        demo()
        assert (UsageRecord.objects.count(), invoices("acme"), invoices("globex")) == before


def test_who_was_killed_half_way_goes_on(demo, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("billing.demo._this_month", interrupt)
        with pytest.raises(KeyboardInterrupt):
            demo()
    demo()
    assert invoices("acme") == ACME
    assert invoices("globex") == [("invoice", "open", False)]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_schedule_leaves_it_as_it_is_on_the_first_day_and_what_failed_is_paid_in_the_end(demo, monkeypatch):
    demo()
    dunning.run()
    invoicing.close_what_is_over()
    assert invoices("acme") == ACME
    later = timezone.now() + timedelta(days=16)
    monkeypatch.setattr(timezone, "now", lambda: later)
    dunning.run()
    assert "failed" not in {status for _, status, _ in invoices("acme")}


def test_its_people_see_it(demo, settings):
    demo()
    settings.DEBUG = False  # with it, pages refuse to be read inside a test's transaction
    alice = Person(User.objects.get(email="alice@acme.example"))
    assert "could not be collected" in alice.get("/t/acme/billing/").content.decode()
    ada = Person(User.objects.get(email="admin@neostack.example"))
    assert "1 invoice could not be collected" in ada.get("/ops/billing/").content.decode()
