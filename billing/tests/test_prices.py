"""What things cost: tiers, what is included, parts of a period, and that nothing is lost in rounding."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import UnknownCurrency, from_minor, shown, to_minor
from billing.prices import MeterPrice, Prices, charges, fee, total

pytestmark = pytest.mark.once

WHOLE = Fraction(1)
MINUTES = MeterPrice.model_validate(
    {"included": "500", "tiers": [{"up_to": "1000", "unit": "0.02"}, {"unit": "0.015"}]}
)


def cost(price: MeterPrice, quantity: str, share: Fraction = WHOLE) -> list[tuple[str, int]]:
    return [(str(one.quantity), one.minor) for one in charges(price, Decimal(quantity), share, "EUR")]


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ("0", []),
        ("500", [("500", 0)]),
        ("501", [("500", 0), ("1", 2)]),
        ("1500", [("500", 0), ("1000", 2000)]),
        ("1500.5", [("500", 0), ("1000", 2000), ("1/2", 1)]),
        ("2500", [("500", 0), ("1000", 2000), ("1000", 1500)]),
    ],
)
def test_what_is_included_is_free_and_each_tier_prices_its_own_part(used, expected):
    assert cost(MINUTES, used) == expected


def test_half_a_period_includes_half_and_its_tiers_are_half_as_long():
    assert cost(MINUTES, "800", Fraction(1, 2)) == [("250", 0), ("500", 1000), ("50", 75)]


def test_a_level_is_as_high_in_half_a_period_and_costs_half():
    seats = MeterPrice.model_validate({"included": "3", "tiers": [{"up_to": "10", "unit": "9.00"}, {"unit": "8.00"}]})
    found = charges(seats, Decimal(15), Fraction(1, 2), "EUR", is_level=True)
    assert [(str(one.quantity), one.minor) for one in found] == [("3", 0), ("10", 4500), ("2", 800)]


def test_a_flat_price_is_for_using_it_at_all():
    support = MeterPrice.model_validate({"flat": "20.00"})
    assert cost(support, "0") == []
    assert cost(support, "7") == [("None", 2000)]


def test_a_fee_is_for_the_part_of_the_period_that_the_plan_was_there():
    prices = Prices.parse({"fee": "49.00"})
    assert fee(prices, WHOLE, "EUR") == 4900
    assert fee(prices, Fraction(1, 3), "EUR") == 1633


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"fee": "-1"}, "fee: Input should be greater than or equal to 0"),
        ({"fee": "NaN"}, "fee: Input should be a finite number"),
        ({"meters": {"x": {}}}, "meters.x: Value error, A meter's price has tiers, or a flat amount, or both."),
        ({"meters": {"x": {"tiers": [{"up_to": "5", "unit": "1"}]}}}, "meters.x.tiers: Value error, The last tier"),
        (
            {"meters": {"x": {"tiers": [{"up_to": "5", "unit": "1"}, {"up_to": "5", "unit": "1"}, {"unit": "1"}]}}},
            "meters.x.tiers: Value error, Each tier's up_to must be above",
        ),
        ({"meters": {"x": {"included": "5", "flat": "1"}}}, "meters.x: Value error, Included units need tiers"),
        ({"discount": "1"}, "discount: Extra inputs are not permitted"),
        ([], "prices: Input should be a valid dictionary"),
    ],
)
def test_prices_that_make_no_sense_are_refused_with_where_they_stand(raw, complaint):
    with pytest.raises(ValueError, match="^" + complaint.replace(".", r"\.").replace("(", r"\(")):
        Prices.parse(raw)


quantities = st.decimals(min_value=0, max_value=10**9, places=6)
units = st.decimals(min_value=0, max_value=1000, places=8)


@st.composite
def meter_prices(draw):
    bounds = sorted(draw(st.sets(st.integers(1, 10**6), max_size=4)))
    tiers = [{"up_to": str(bound), "unit": str(draw(units))} for bound in bounds] + [{"unit": str(draw(units))}]
    return MeterPrice.model_validate({"included": str(draw(st.integers(0, 10**6))), "tiers": tiers})


@given(meter_prices(), quantities, st.fractions(min_value=Fraction(1, 100), max_value=1))
def test_every_unit_is_charged_once_and_no_charge_is_off_by_more_than_half_a_cent(price, quantity, share):
    found = list(charges(price, quantity, share, "EUR"))
    assert sum(one.quantity for one in found) == Fraction(quantity)
    assert all(abs(one.quantity * Fraction(one.unit) * 100 - one.minor) <= Fraction(1, 2) for one in found)
    assert all(before.up_to == after.since for before, after in pairwise(found))


@given(meter_prices(), quantities, quantities)
def test_more_never_costs_less(price, one, other):
    fewer, more = sorted([one, other])
    prices = Prices(meters={"x": price})
    # Rounding of each of up to six charges may hide a cent.
    assert total(prices, {"x": fewer}, WHOLE, "EUR") <= total(prices, {"x": more}, WHOLE, "EUR") + 6


def test_a_tier_that_costs_nothing_is_not_included():
    price = MeterPrice.model_validate({"included": "2", "tiers": [{"up_to": "3", "unit": "0"}, {"unit": "1"}]})
    found = list(charges(price, Decimal(6), WHOLE, "EUR"))
    assert [(one.quantity, one.is_included) for one in found] == [(2, True), (3, False), (1, False)]


def test_what_has_no_price_is_free():
    assert total(Prices.parse({}), {"unknown": Decimal(5)}, WHOLE, "EUR") == 0


# --- Money ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "minor", "words"),
    [
        ("128.4", "EUR", 12840, "€128.40"),
        ("0.005", "EUR", 1, "€0.01"),
        ("-0.005", "EUR", -1, "-€0.01"),
        ("1999.5", "JPY", 2000, "¥2,000"),
        ("1.2345", "KWD", 1235, "KWD1.235"),
    ],
)
def test_money_has_as_many_decimals_as_its_currency(amount, currency, minor, words):
    assert to_minor(Decimal(amount), currency) == minor
    assert shown(minor, currency) == words


@given(st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "KWD", "USD"]))
def test_what_is_stored_comes_back(minor, currency):
    assert to_minor(from_minor(minor, currency), currency) == minor


def test_a_currency_that_does_not_exist_is_refused():
    with pytest.raises(UnknownCurrency, match="'EURO' is not a currency"):
        to_minor(Decimal(1), "EURO")
