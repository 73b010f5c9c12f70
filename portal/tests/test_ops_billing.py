"""What the platform's admin sees of everybody's billing: who needs help, and what was earned."""

import html
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from django_scopes import scopes_disabled

from billing import actions as billing
from billing import invoicing, payments
from billing.models import Crossing, Invoice, InvoiceLine, Meter, Period
from billing.revenue import months
from billing.tests.paying import fresh, open_invoice, pays_by, taken

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


def test_every_threshold_that_was_reached_is_named_page_by_page(platform_admin, acme):
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
    for percent in range(30, 51):
        Crossing.objects.create(tenant=acme, period=period, meter=meter, percent=percent)
    text, rest = page(platform_admin), page(platform_admin, "/ops/billing/?reached=2")
    assert "50 % of Deployment minutes" in text
    assert "?reached=2" in text
    assert re.findall(r"(\d+) % of Deployment minutes", rest) == ["30"]


def test_what_could_not_be_collected_goes_on_on_the_next_page(platform_admin, acme):
    for number in range(51):
        invoice_of(acme, number, "failed", 100, timezone.now() + timedelta(minutes=number))
    assert re.findall(r"(NS-\d+)</a>", page(platform_admin, "/ops/billing/?failed=2")) == ["NS-000050"]
    assert page(platform_admin, "/ops/billing/?failed=nonsense").count('data-testid="failed-row"') == 50


def test_ada_reads_when_it_is_tried_again_and_the_records_behind_a_line(platform_admin, acme, settings):
    settings.PAYMENT_GATEWAY = "local"
    began = timezone.now() - timedelta(days=40)
    billing.subscribe(acme, billing.offered("team"), at=began)
    billing.record(acme, [billing.Used("behind-it", "deployment_minutes", Decimal(5), began)])
    invoicing.close_what_is_over()
    pays_by(acme, "declines")
    invoice = Invoice.objects.get()
    payments.pay(invoice)
    text = page(platform_admin, of(invoice))
    assert "The card was declined. Next try" in text
    (address,) = re.findall(r'href="(/ops/billing/invoices/NS-\d+/lines/\d+/)"', text)
    assert "behind-it" in page(platform_admin, address)
    fee = InvoiceLine.objects.get(invoice=invoice, meter=None).position
    assert platform_admin.get(of(invoice, f"lines/{fee}/")).status_code == 404


# --- Giving back, giving up -------------------------------------------------------------------------------------------


@pytest.fixture
def owed(acme, settings) -> Invoice:
    """€128.40, which acme has to pay."""
    settings.PAYMENT_GATEWAY = "local"
    billing.ensure_subscribed(acme)
    return open_invoice(acme)


@pytest.fixture
def paid(owed) -> Invoice:
    payments.pay(owed)
    return fresh(owed)


def of(invoice: Invoice, step: str = "") -> str:
    return f"/ops/billing/invoices/{invoice.number}/{step}"


def sent(person, url: str, form: dict[str, object]) -> tuple[int, str]:
    response = person.post(url, form, follow=True)
    return response.status_code, " ".join(html.unescape(response.content.decode()).split())


def test_a_part_is_given_back_then_the_rest(platform_admin, alice, paid):
    assert "€128.40</strong> left" in page(platform_admin, of(paid, "refund/"))
    form = {"amount": "28.40", "reason": "Two seats too many", "left": "12840"}
    status, text = sent(platform_admin, of(paid, "refund/"), form)
    assert (status, fresh(paid).status, taken()) == (200, "paid", 10_000)
    assert "€28.40 were given back. Credit note CN-000001 says so." in text
    hers = page(alice, f"/t/acme/billing/invoices/{paid.number}/")
    assert "€28.40 of it given back" in hers
    assert "CN-000001" in hers
    sent(platform_admin, of(paid, "refund/"), {"amount": "100", "reason": "Sorry", "left": "10000"})
    assert (fresh(paid).status, taken()) == ("refunded", 0)
    assert platform_admin.get(of(paid, "refund/")).status_code == 409
    assert "refund/" not in page(platform_admin, of(paid))


def test_a_form_that_is_sent_twice_gives_back_once_and_says_the_difference(platform_admin, paid):
    form = {"amount": "28.40", "reason": "Two seats too many", "left": "12840"}
    sent(platform_admin, of(paid, "refund/"), form)
    status, text = sent(platform_admin, of(paid, "refund/"), form)
    assert (status, taken()) == (409, 10_000)
    assert "changed since you looked at it" in text
    assert re.search("Left to give back</th><td>€128.40</td><td><strong>€100.00", text)


@pytest.mark.parametrize(
    "wrong", [{"amount": "128.41"}, {"amount": "0"}, {"amount": "0.001"}, {"amount": "-1"}, {"reason": ""}]
)
def test_what_can_not_be_given_back_is_refused(platform_admin, paid, wrong):
    form = {"amount": "1", "reason": "Sorry", "left": "12840"} | wrong
    _, text = sent(platform_admin, of(paid, "refund/"), form)
    assert "Nothing was given back" in text
    assert taken() == 12_840


def test_what_nobody_has_paid_is_not_given_back_and_what_is_paid_not_given_up(platform_admin, owed):
    assert platform_admin.get(of(owed, "refund/")).status_code == 409
    payments.pay(owed)
    assert platform_admin.get(of(owed, "void/")).status_code == 409
    assert fresh(owed).status == "paid"


def test_an_invoice_is_given_up_with_a_reason_in_a_second_step(platform_admin, alice, owed):
    assert of(owed, "void/") in page(platform_admin, of(owed))
    assert "This can't be undone." in page(platform_admin, of(owed, "void/"))
    form = {"version": owed.version, "seen_status": "open"}
    assert "The invoice is owed as before." in sent(platform_admin, of(owed, "void/"), form | {"reason": " "})[1]
    status, text = sent(platform_admin, of(owed, "void/"), form | {"reason": "They are friends"})
    assert (status, fresh(owed).status) == (200, "void")
    assert "nobody owes it any more" in text
    assert "They are friends" in page(alice, f"/t/acme/billing/invoices/{owed.number}/")


def test_who_has_not_seen_that_it_failed_gives_nothing_up(platform_admin, acme, owed):
    form = {"version": owed.version, "seen_status": "open", "reason": "They are friends"}
    pays_by(acme, "declines")
    payments.pay(owed)
    status, text = sent(platform_admin, of(owed, "void/"), form)
    assert (status, fresh(owed).status) == (409, "failed")
    assert re.search("Status</th><td>Open</td><td><strong>Failed", text)


def test_any_tenants_invoice_can_be_opened(platform_admin, alice, acme):
    invoice_of(acme, 1, "paid", 100)
    assert "Invoice NS-000001" in page(platform_admin, "/ops/billing/invoices/NS-000001/")
    assert platform_admin.get("/ops/billing/invoices/NS-000002/").status_code == 404
    assert alice.get("/ops/billing/invoices/NS-000001/").status_code == 404
