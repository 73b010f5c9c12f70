"""Whatever is recorded, late, twice or by turns with changes of the plan: invoices come to what the records do.

The oracle knows the rules of docs/billing.md and the records, and nothing of the product: months by the calendar, what
a meter comes to in each part of one, prices tier by tier, and what becomes of a sum that is too little to charge.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from django.utils import timezone
from django_scopes import scopes_disabled
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from billing import actions, invoicing
from billing.actions import BadRecord, Used
from billing.gateways.local import LocalGateway
from billing.models import Invoice, InvoiceLine, Meter, Plan
from tenants.models import Tenant

pytestmark = pytest.mark.django_db

KINDS = {"minutes": "sum", "calls": "sum", "disk": "max", "seats": "last", "people": "unique"}
PLANS: dict[str, dict[str, Any]] = {
    "small": {
        "fee": "9.99",
        "meters": {
            "minutes": {"included": "100", "tiers": [{"up_to": "500", "unit": "0.023"}, {"unit": "0.0175"}]},
            "calls": {"flat": "7.77"},
            "disk": {"tiers": [{"unit": "0.111"}]},
            "seats": {"included": "3", "tiers": [{"up_to": "5", "unit": "9.00"}, {"unit": "7.01"}]},
        },
    },
    "large": {
        "fee": "100.00",
        "meters": {
            "minutes": {"tiers": [{"unit": "0.01"}]},
            "calls": {"included": "5", "flat": "1.00", "tiers": [{"up_to": "50", "unit": "0"}, {"unit": "0.005"}]},
            "seats": {"tiers": [{"unit": "5.55"}]},
            "people": {"included": "1", "tiers": [{"unit": "1.333"}]},
        },
    },
}
#: Clocks change in these months, by turns of the world, and some never do; where noon is no whole hour of UTC, too.
ZONES = ["UTC", "Europe/Lisbon", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu", "Africa/Cairo"]
BEGINNINGS = [
    datetime(2026, 3, 5, 7, tzinfo=UTC),
    datetime(2026, 9, 20, tzinfo=UTC),
    datetime(2026, 10, 17, tzinfo=UTC),
]
LONG_AFTER = timedelta(days=40)
#: The least that a gateway charges, in cents: months of the plans above come to less never, now and then, and mostly.
LEASTS = [0, 1_500, 12_000]


# --- The oracle -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Oracle:
    """Since when by which plan (oldest first), and what was used."""

    zone: str
    plans: list[tuple[datetime, str]]
    records: list[Used]

    def owed(self, until: datetime) -> int:
        """Cents, for all months that are over by then."""
        return sum(self._month(begins, ends) for begins, ends in pairwise(self._months(until)))

    def _months(self, until: datetime) -> list[datetime]:
        found = [self._month_start(self.plans[0][0])]
        while found[-1] <= until:
            found.append(self.month_end(found[-1]))
        return found[:-1]

    def _month_start(self, at: datetime, later: int = 0) -> datetime:
        """Of the month there into which this moment falls, or of one so many months later."""
        local = at.astimezone(ZoneInfo(self.zone))
        year, month = divmod(local.year * 12 + local.month - 1 + later, 12)
        return datetime(year, month + 1, 1, tzinfo=ZoneInfo(self.zone)).astimezone(UTC)

    def month_end(self, at: datetime) -> datetime:
        return self._month_start(at, later=1)

    def _month(self, begins: datetime, ends: datetime) -> int:
        """Each part, from one change of the plan to the next, is priced by itself."""
        changes = [since for since, _ in self.plans if begins < since < ends]
        first = max(begins, self.plans[0][0])
        cuts = sorted({first, *changes, ends})
        whole = _microseconds(ends - begins)
        return sum(
            self._part(begins, since, until, Fraction(_microseconds(until - since), whole))
            for since, until in pairwise(cuts)
        )

    def _part(self, begins: datetime, since: datetime, until: datetime, share: Fraction) -> int:
        plan = PLANS[[name for at, name in self.plans if at <= since][-1]]
        owed = _cents(Fraction(plan["fee"]) * share)
        for meter, price in plan["meters"].items():
            of_it = [one for one in self.records if one.meter == meter and begins <= one.at < until]
            quantity = _quantity(KINDS[meter], of_it, since)
            owed += _price(price, quantity, share, is_level=KINDS[meter] != "sum")
        return owed


def asked_for(sums: list[int], least: int) -> tuple[list[int], int]:
    """The totals of invoices whose own lines come to these sums, one after the other, and what the last one leaves."""
    totals, left = [], 0
    for own in sums:
        left += own
        totals.append(left if left >= max(least, 1) else 0)
        left -= totals[-1]
    return totals, left


def _quantity(kind: str, so_far: list[Used], since: datetime) -> Fraction:
    """Of a part that began at `since`, with what was used in its month until its end."""
    own = [one for one in so_far if one.at >= since]
    before = sorted((one.at, one.quantity) for one in so_far if one.at < since)[-1:]
    match kind:
        case "sum":
            return Fraction(sum(one.quantity for one in own))
        case "max":
            return Fraction(max([*(one.quantity for one in own), *(quantity for _, quantity in before)], default=0))
        case "last":
            newest = sorted((one.at, one.quantity) for one in own)[-1:] or before
            return Fraction(newest[0][1]) if newest else Fraction(0)
        case _:
            return Fraction(len({one.properties["person"] for one in own}))


def _price(price: dict[str, Any], used: Fraction, share: Fraction, *, is_level: bool) -> int:
    """What adds up has its tiers cut to the part of the month; a level has its price cut."""
    length, rate = (Fraction(1), share) if is_level else (share, Fraction(1))
    owed = _cents(Fraction(price["flat"]) * share) if "flat" in price and used else 0
    left = max(Fraction(0), used - Fraction(price.get("included", 0)) * length)
    below = Fraction(0)
    for tier in price.get("tiers", []):
        room = (Fraction(tier["up_to"]) - below) * length if "up_to" in tier else left
        taken = min(left, room)
        owed += _cents(taken * Fraction(tier["unit"]) * rate)
        left -= taken
        below = Fraction(tier.get("up_to", 0))
    return owed


def _cents(amount: Fraction) -> int:
    return floor(amount * 100 + Fraction(1, 2))


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


# --- The machine ------------------------------------------------------------------------------------------------------


class Billing(RuleBasedStateMachine):
    """One tenant. Each run is rolled back behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()

    @initialize(
        zone=st.sampled_from(ZONES),
        at=st.sampled_from(BEGINNINGS),
        plan=st.sampled_from(sorted(PLANS)),
        least=st.sampled_from(LEASTS),
        ends=st.booleans(),
    )
    def begin(self, zone: str, at: datetime, plan: str, least: int, ends: bool) -> None:
        """`ends`: behind everything that happens the tenant cancels."""
        self.it_is(at)
        self.least, self.ends = least, ends
        self.patch.setattr(LocalGateway, "least_minor", lambda gateway, currency: least)
        self.patch.setattr(django_settings, "PAYMENT_GATEWAY", LocalGateway.name)
        for slug, kind in KINDS.items():
            counted = "person" if kind == "unique" else ""
            Meter.objects.create(slug=slug, name=slug, unit="one", aggregation=kind, counted_property=counted)
        self.plans = {
            slug: actions.publish(Plan.objects.create(slug=slug, name=slug, currency="EUR", prices=prices))
            for slug, prices in PLANS.items()
        }
        self.tenant = Tenant.objects.create(slug="machine", name="Machine", time_zone=zone)
        actions.subscribe(self.tenant, self.plans[plan], at=at)
        self.oracle = Oracle(zone, [(at, plan)], [])

    def it_is(self, moment: datetime) -> None:
        self.now = moment
        self.patch.setattr(timezone, "now", lambda: moment)

    @rule(hours=st.floats(0.01, 500))
    def wait(self, hours: float) -> None:
        self.it_is(self.now + timedelta(hours=hours))

    @rule(
        meter=st.sampled_from(sorted(KINDS)),
        quantity=st.decimals(0, 900, places=3),
        hours_ago=st.one_of(st.floats(0, 24), st.floats(0, 1200)),
        person=st.sampled_from("abc"),
    )
    def record(self, meter: str, quantity: Decimal, hours_ago: float, person: str) -> None:
        """Late, too, as far as there was a subscription then."""
        at = max(self.now - timedelta(hours=hours_ago), self.oracle.plans[0][0])
        one = Used(f"key {len(self.oracle.records)}", meter, quantity, at, {"person": person})
        assert actions.record(self.tenant, [one]).stored == 1
        self.oracle.records.append(one)

    @precondition(lambda self: self.oracle.records)
    @rule(data=st.data())
    def record_again(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.oracle.records))
        assert actions.record(self.tenant, [one, one]).stored == 0
        with pytest.raises(BadRecord):
            actions.record(self.tenant, [Used(one.key, one.meter, one.quantity + 1, one.at, one.properties)])

    @rule(plan=st.sampled_from(sorted(PLANS)))
    def change(self, plan: str) -> None:
        self.it_is(self.now + timedelta(seconds=1))
        actions.change_plan(self.tenant, self.plans[plan])
        if plan != self.oracle.plans[-1][1]:
            self.oracle.plans.append((self.now, plan))

    @rule()
    def close(self) -> None:
        invoicing.close_what_is_over()

    @scopes_disabled()
    def teardown(self) -> None:
        """Once the next month is closed, too, everything that came late is on an invoice."""
        try:
            if not hasattr(self, "oracle"):
                return
            if self.ends:
                actions.cancel(self.tenant)
                ended_at = self.oracle.month_end(self.now)
            for _ in range(2):
                self.it_is(self.now + LONG_AFTER)
                while invoicing.close_what_is_over():
                    pass  # a month that nobody has begun is begun by one run and closed by the next
            invoices = [(one, list(one.lines.all())) for one in Invoice.objects.order_by("number")]
            assert all(one.total_minor == summed(lines) for one, lines in invoices)
            sums = [summed(line for line in lines if line.segment_id) for _, lines in invoices]
            assert sum(sums) == self.oracle.owed(ended_at if self.ends else self.now - timedelta(hours=1))
            totals, left = asked_for(sums, self.least)
            assert [one.total_minor for one, _ in invoices] == totals
            assert all(one.status == ("open" if one.total_minor else "paid") for one, _ in invoices)
            # The tenant keeps its credit; of what it owes too little for, nothing is kept once no invoice follows.
            assert invoicing.credit_of(self.tenant) == -(min(left, 0) if self.ends else left)
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)
            self.patch.undo()


def summed(lines: Iterable[InvoiceLine]) -> int:
    return sum(line.amount_minor for line in lines)


def test_invoices_come_to_what_the_records_do_to_the_cent():
    few = settings(max_examples=8, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Billing, settings=few)
