"""Money moves, and everybody it concerns sees it: Alice's pages and the platform admin's, side by side."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.whole.accessibility import looked_at
from tests.whole.conftest import Window
from tests.whole.people import Company, Person
from tests.whole.platform import Platform, wait_until

pytestmark = pytest.mark.browser

PATIENCE = 60_000  # milliseconds


@pytest.fixture
def ada(platform: Platform) -> Person:
    """The platform's admin."""
    rights = {"is_staff": True, "is_superuser": True}
    email = f"ada-{uuid4().hex[:8]}@neostack.example"
    return Person(platform, **platform.inside.make_person(name="Ada", email=email, **rights))


@pytest.fixture
def billed(platform: Platform, acme: Company) -> Company:
    """Acme, on the plan Team since this morning, with 1,200 of 1,000 deployment minutes used."""
    platform.inside.begin_billing(tenant=acme.id, plan="team")
    platform.inside.use(tenant=acme.id, meter="deployment_minutes", quantity="1200")
    return acme


def live(page: Page) -> Page:
    expect(page.get_by_test_id("live-mark")).to_have_text("Live", timeout=PATIENCE)
    return page


def status_of(page: Page, number: str) -> object:
    return page.get_by_test_id("invoice-row").filter(has_text=number).get_by_test_id("status")


def test_an_invoice_is_issued_fails_and_is_paid_and_everybody_sees_it(window, platform, billed, alice, ada):
    hers = live(window(alice).open(f"{billed.path}billing/"))
    operations = live(window(ada).open("/ops/billing/"))

    # Usage moves the meter in place, and then what it costs.
    gauge = hers.get_by_test_id("gauge").filter(has_text="Deployment minutes")
    expect(gauge).to_contain_text("100 % reached")
    before = hers.get_by_test_id("projected").text_content()
    platform.inside.use(tenant=billed.id, meter="deployment_minutes", quantity="1000")
    expect(gauge.locator("[data-field=usage]")).to_have_text("2,200", timeout=PATIENCE)
    expect(hers.get_by_test_id("projected")).not_to_have_text(before, timeout=PATIENCE)

    # Issued: it waits in her list until she asks for it, and is owed at once.
    number = platform.inside.close_period(tenant=billed.id)
    expect(hers.get_by_test_id("owed")).to_contain_text(f"Invoice {number}", timeout=PATIENCE)
    pending = hers.get_by_test_id("pending")
    expect(pending).to_contain_text("1 new", timeout=PATIENCE)
    pending.get_by_role("link", name="Show").click()
    expect(status_of(hers, number)).to_have_text("Open")

    # Declined: why, on her page; among those who need help, on the platform's.
    platform.inside.choose_method(tenant=billed.id, method="declines")
    page = live(window(alice).open(f"{billed.path}billing/invoices/{number}/"))
    page.get_by_role("button", name=re.compile("^Pay ")).click()
    expect(page.get_by_test_id("status").first).to_have_text("Failed", timeout=PATIENCE)
    expect(page.get_by_test_id("reason")).to_contain_text("declined")
    expect(status_of(hers, number)).to_have_text("Failed", timeout=PATIENCE)
    bar = operations.locator("#failed [data-reread-pending]")
    expect(bar).to_contain_text("new", timeout=PATIENCE)
    bar.get_by_role("link", name="Show").click()
    row = operations.get_by_test_id("failed-row").filter(has_text=number)
    expect(row).to_contain_text("Acme")

    # Not paid for too long: everything is closed but what she owes. The pages that she has open say so.
    platform.inside.suspend_for_debt(tenant=billed.id)
    for each in (hers, page):
        expect(each.get_by_test_id("standing")).to_contain_text(f"Invoice {number}", timeout=PATIENCE)
        expect(each.get_by_test_id("live-mark")).to_have_text("No access: Acme is suspended.", timeout=PATIENCE)
    assert not looked_at(hers)
    assert "Look and pay" in alice.get(billed.path).text

    # Paid: everywhere, and she is back.
    platform.inside.choose_method(tenant=billed.id, method="pays")
    page.get_by_role("button", name=re.compile("^Pay ")).click()
    expect(page.get_by_test_id("status").first).to_have_text("Paid", timeout=PATIENCE)
    expect(live(hers).get_by_test_id("standing")).to_have_count(0)
    expect(status_of(hers, number)).to_have_text("Paid", timeout=PATIENCE)
    expect(hers.get_by_test_id("owed")).to_have_count(0)
    expect(bar).to_contain_text("1 gone", timeout=PATIENCE)


def euros(page: Page, name: str) -> Decimal:
    """A figure of /ops/billing/ as it stands; nothing is in euros where there was none yet."""
    found = re.search(r"€([\d,]+\.\d\d)", page.get_by_test_id(name).text_content() or "")
    return Decimal(found[1].replace(",", "")) if found else Decimal(0)


def expect_euros(page: Page, name: str, amount: Decimal) -> None:
    figure = page.get_by_test_id(name)
    if amount:
        expect(figure).to_contain_text(f"€{amount:,.2f}", timeout=PATIENCE)
    else:
        expect(figure).not_to_contain_text(re.compile("€0*[1-9]"), timeout=PATIENCE)


def expect_unread(page: Page, count: int) -> None:
    expect(page.get_by_test_id("bell").locator("[data-field=count]")).to_have_text(str(count), timeout=PATIENCE)


def test_an_issued_and_a_paid_invoice_reach_alice_and_move_the_platforms_figures(window, platform, acme, alice, ada):
    told = wait_until(lambda: platform.inside.inbox(person=alice.id)["stored"], "she is told that she was added", 60)
    hers = live(window(alice).open(f"{acme.path}billing/"))
    operations = live(window(ada).open("/ops/billing/"))
    invoiced, paid, owed = (euros(operations, name) for name in ("invoiced", "paid", "owed"))
    this_month = operations.get_by_test_id("month").filter(has_text=f"{datetime.now(UTC):%b %Y}")

    # Issued: in Alice's inbox, and among what is owed on the platform's page.
    number, amount = platform.inside.issue_invoice(tenant=acme.id, minor=128_40), Decimal("128.40")
    expect_unread(hers, told + 1)
    for name, value in (("invoiced", invoiced + amount), ("paid", paid), ("owed", owed + amount)):
        expect_euros(operations, name, value)
    expect(this_month.locator("[data-label=Invoiced]")).to_have_text(f"€{invoiced + amount:,.2f}", timeout=PATIENCE)

    # Paid: in her inbox once more, what told her to pay says so, and on the platform's page it is earned.
    platform.inside.choose_method(tenant=acme.id, method="pays")
    page = live(window(alice).open(f"{acme.path}billing/invoices/{number}/"))
    page.get_by_role("button", name=re.compile("^Pay ")).click()
    expect_unread(hers, told + 2)
    for name, value in (("invoiced", invoiced + amount), ("paid", paid + amount), ("owed", owed)):
        expect_euros(operations, name, value)
    expect(this_month.locator("[data-label=Paid]")).to_have_text(f"€{paid + amount:,.2f}", timeout=PATIENCE)
    newest = alice.get("/api/notifications").json()["results"][:2]
    assert [one["title"].partition(" over ")[0].partition(" was ")[0] for one in newest] == [f"Invoice {number}"] * 2
    assert newest[1]["solvedBy"] == f"invoice {number} was paid"


@pytest.mark.once
def test_no_page_of_billing_keeps_anybody_out(window, platform, billed, alice, ada):
    own = f"{billed.path}billing/"
    one: Window = window(alice)
    line = re.search(r"projected/lines/\d+/", alice.get(f"{own}projected/").text)
    assert line
    found = {address: looked_at(one.open(own + address)) for address in ("projected/", line[0], "plan/?plan=business")}
    number = platform.inside.close_period(tenant=billed.id)
    for address in ("", "invoices/", f"invoices/{number}/", f"invoices/{number}/lines/3/"):
        found[address] = looked_at(one.open(own + address))
    staff: Window = window(ada)
    invoice = f"/ops/billing/invoices/{number}/"
    found |= {each: looked_at(staff.open(each)) for each in ("/ops/billing/", invoice, f"{invoice}void/")}
    platform.inside.pay(number=number)
    found["refund"] = looked_at(staff.open(f"{invoice}refund/"))
    assert not {address: problems for address, problems in found.items() if problems}
