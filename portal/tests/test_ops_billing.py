"""What the platform's admin sees of everybody's billing: who needs help, and what was earned."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from django_scopes import scopes_disabled

from billing.models import Crossing, Invoice, Meter, Period
from portal.ops.billing import months

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def every_tenant():
    with scopes_disabled():
        yield


def invoice_of(tenant, number: int, status: str, minor: int, issued_at: datetime | None = None, **fields) -> Invoice:
    at = issued_at or timezone.now()
    return Invoice.objects.create(
        tenant=tenant,
        number=f"NS-{number:06}",
        status=status,
        total_minor=minor,
        currency="EUR",
        issued_at=at,
        due_at=at + timedelta(days=14),
        **fields,
    )


def page(person, url: str = "/ops/billing/") -> str:
    response = person.get(url)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def test_while_nothing_failed_nobody_needs_help(platform_admin):
    text = page(platform_admin)
    assert "Nobody needs help." in text
    assert "Nothing was invoiced yet." in text


def test_what_could_not_be_collected_stands_first_with_tenant_reason_and_amount(platform_admin, acme, globex):
    invoice_of(acme, 1, "failed", 12840, reason="The card was declined.")
    invoice_of(globex, 2, "paid", 5000)
    text = page(platform_admin)
    assert "1 invoice could not be collected." in text
    row = re.search(r'data-testid="failed-row".*?</tr>', text, re.DOTALL)[0]
    assert all(word in row for word in ("NS-000001", "Acme", "The card was declined.", "€128.40"))
    assert "<title>1 not collected" in text


def test_a_months_invoices_add_up_to_what_became_of_them(platform_admin, acme, globex):
    november = datetime(2026, 11, 15, tzinfo=UTC)
    invoice_of(acme, 1, "paid", 10000, november)
    invoice_of(globex, 2, "failed", 2000, november)
    invoice_of(globex, 3, "open", 500, november)
    invoice_of(globex, 4, "void", 99999, november)
    invoice_of(globex, 5, "paid", 700, datetime(2026, 10, 31, 23, 59, tzinfo=UTC))
    invoice_of(globex, 6, "paid", 800, datetime(2025, 11, 30, tzinfo=UTC))  # a year ago
    newest, older = months(datetime(2026, 11, 20, tzinfo=UTC))
    assert (newest.invoiced, newest.paid, newest.owed, newest.count) == (12500, 10000, 2500, 4)
    assert (older.month, older.paid) == (datetime(2026, 10, 1, tzinfo=UTC), 700)
    assert (newest.paid_width, newest.owed_width) == ("80.00%", "20.00%")


def test_what_was_given_back_was_not_earned_whenever_that_was(platform_admin, acme):
    october, november = datetime(2026, 10, 15, tzinfo=UTC), datetime(2026, 11, 15, tzinfo=UTC)
    kept_in_part = invoice_of(acme, 1, "paid", 10000, october)
    all_back = invoice_of(acme, 2, "refunded", 500, october)
    for number, minor, credits in ((3, -3000, kept_in_part), (4, -1000, kept_in_part), (5, -500, all_back)):
        invoice_of(acme, number, "paid", minor, november, kind="credit_note", credits=credits)
    (month,) = months(datetime(2026, 11, 20, tzinfo=UTC))
    assert (month.invoiced, month.paid, month.given_back) == (10500, 6000, 4500)


def test_who_has_used_most_of_what_is_included_is_named(platform_admin, acme):
    now = timezone.now()
    meter, _ = Meter.objects.get_or_create(
        slug="deployment_minutes", defaults={"name": "Deployment minutes", "unit": "minute"}
    )
    period = Period.objects.create(
        tenant=acme,
        month_starts_at=now - timedelta(days=9),
        starts_at=now - timedelta(days=9),
        ends_at=now + timedelta(days=9),
        zone="UTC",
    )
    for percent in (50, 80):
        Crossing.objects.create(tenant=acme, period=period, meter=meter, percent=percent)
    text = page(platform_admin)
    assert "80 % of Deployment minutes" in text
    assert "50 % of Deployment minutes" not in text


def test_any_tenants_invoice_can_be_opened(platform_admin, alice, acme):
    invoice_of(acme, 1, "paid", 100)
    assert "Invoice NS-000001" in page(platform_admin, "/ops/billing/invoices/NS-000001/")
    assert platform_admin.get("/ops/billing/invoices/NS-000002/").status_code == 404
    assert alice.get("/ops/billing/invoices/NS-000001/").status_code == 404
