"""The demo has a past: what Alice, Charlie and Ada see of it on the first day."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_scopes import scopes_disabled

from accounts.models import User
from billing import dunning, invoicing
from billing.models import Crossing, Invoice, InvoiceLine, Payment, Subscription, UsageRecord
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
        reached = Crossing.objects.filter(tenant__slug="acme", period__closed_at=None).order_by("percent")
        assert [each.percent for each in reached if each.meter_id == "deployment_minutes"] == [50, 80, 90]
        assert len({each.at for each in reached}) == 3, "each when it was"
        assert Subscription.objects.get(tenant__slug="acme").plan.slug == "team"
        times = Event.objects.filter(type="invoice_event").values_list("occurred_at", flat=True)
        assert min(times) < timezone.now() - timedelta(days=80)


def test_reconcile_agrees_with_all_of_it_and_finds_what_is_altered_afterwards(demo, capsys):
    """In no tenant's scope, as the command runs."""
    demo()
    call_command("reconcile")
    with scopes_disabled():
        acme = Invoice.objects.filter(tenant__slug="acme")
        acme.filter(kind="credit_note").update(total_minor=-1)
        InvoiceLine.objects.filter(description__contains="reported late").update(amount_minor=500)
        failed = acme.get(status="failed")
        failed.total_minor = sum(failed.lines.values_list("amount_minor", flat=True))
        failed.save()
        Payment.objects.filter(invoice=acme.get(number="NS-000001")).delete()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        call_command("reconcile")
    said = capsys.readouterr().out
    for words in (
        "NS-000001: it is paid, and no payment paid it (needs a person)",
        "CN-000001: its sum is -1, its lines come to -1500 minor units (needs a person)",
        "CN-000001: it credits 1 minor units, 1500 were given back (needs a person)",
        f"{failed}: its sum is {failed.total_minor} minor units, the log says",
    ):
        assert words in said


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
