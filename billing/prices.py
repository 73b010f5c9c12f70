"""What a plan costs, and what a quantity comes to at its prices. Exact arithmetic; nothing here knows a database.

A plan's prices as they are stored and edited (numbers are strings: JSON's would be floats):

    {"fee": "49.00",
     "meters": {"deployment_minutes": {"included": "500",
                                       "tiers": [{"up_to": "1000", "unit": "0.02"}, {"unit": "0.015"}]},
                "seats": {"included": "3", "tiers": [{"unit": "9.00"}]},
                "support": {"flat": "20.00"}}}

`fee` is for each period, `flat` for each period in which the meter was used at all. `included` units cost nothing; what
is used beyond them goes through the tiers, each of which prices its own part only (graduated). One tier is a price per
unit.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from billing.money import to_minor

UNIT_PLACES = 12  # of a unit's price: a billionth of a cent
QUANTITY_PLACES = 6

Amount = Annotated[Decimal, Field(ge=0, max_digits=24, decimal_places=UNIT_PLACES, allow_inf_nan=False)]
Quantity = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=QUANTITY_PLACES, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tier(_Part):
    """Units beyond the tier before it, up to and with `up_to` (none: without end), at `unit` each."""

    up_to: Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=QUANTITY_PLACES)] | None = None
    unit: Amount


class MeterPrice(_Part):
    included: Quantity = Decimal(0)
    tiers: tuple[Tier, ...] = ()
    flat: Amount = Decimal(0)

    @field_validator("tiers")
    @classmethod
    def _go_up_without_end(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        bounds = [tier.up_to for tier in tiers]
        if tiers and (bounds[-1] is not None or None in bounds[:-1]):
            raise ValueError("The last tier, and only that one, has no up_to: whatever is used has a price.")
        if any(lower >= upper for lower, upper in pairwise(bounds[:-1])):  # type: ignore[operator]
            raise ValueError("Each tier's up_to must be above that of the tier before.")
        return tiers

    @model_validator(mode="after")
    def _prices_something(self) -> Self:
        if not self.tiers and not self.flat:
            raise ValueError("A meter's price has tiers, or a flat amount, or both.")
        if self.included and not self.tiers:
            raise ValueError("Included units need tiers: they say what the others cost.")
        return self


class Prices(_Part):
    """All prices of a plan, in its currency, for one whole period."""

    fee: Amount = Decimal(0)
    meters: dict[str, MeterPrice] = {}

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Raises ValueError, a line for each thing that is wrong, which begins with where it stands."""
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            lines = (f"{'.'.join(map(str, one['loc'])) or 'prices'}: {one['msg']}" for one in error.errors())
            raise ValueError("\n".join(lines)) from None


@dataclass(frozen=True, slots=True)
class Charge:
    """So many units at one price, for a part of the period where it is a level. `since` and `up_to` bound the tier.

    What is flat has no quantity: `unit` is its price for a whole month.
    """

    quantity: Fraction | None
    unit: Decimal
    minor: int
    since: Fraction = Fraction(0)
    up_to: Fraction | None = None
    is_included: bool = False


def rounded(exact: Fraction) -> Decimal:
    """A quantity to six places, for showing it."""
    decimal = Decimal(exact.numerator) / Decimal(exact.denominator)
    return decimal.quantize(Decimal(1).scaleb(-QUANTITY_PLACES), rounding=ROUND_HALF_UP)


def fee(prices: Prices, share: Fraction, currency: str) -> int:
    """The plan's fee for this share of a period, in minor units."""
    return to_minor(Fraction(prices.fee) * share, currency)


def charges(
    price: MeterPrice, quantity: Decimal, share: Fraction, currency: str, *, is_level: bool = False
) -> Iterator[Charge]:
    """What a quantity costs that was used in this share of a period (above 0, at most 1), part by part.

    Of what adds up, such as minutes, half a period includes half, and its tiers are half as long. A level, such as
    seats, is as high in half a period as in all of it: there its price is half. Each charge is rounded by itself, so
    that an invoice is the sum of what stands on it.
    """
    used, length, rate = Fraction(quantity), (Fraction(1) if is_level else share), (share if is_level else Fraction(1))
    if price.flat and used:
        yield Charge(None, price.flat, to_minor(Fraction(price.flat) * share, currency))
    if not price.tiers:
        return
    included = Fraction(price.included) * length
    if included and used:
        yield Charge(min(used, included), Decimal(0), 0, Fraction(0), included, is_included=True)
    begin = included
    for tier in price.tiers:
        end = None if tier.up_to is None else included + Fraction(tier.up_to) * length
        taken = (used if end is None else min(used, end)) - begin
        if taken <= 0:
            return
        yield Charge(taken, tier.unit, to_minor(taken * Fraction(tier.unit) * rate, currency), begin, end)
        begin = end or begin


def total(
    prices: Prices, used: dict[str, Decimal], share: Fraction, currency: str, *, levels: Collection[str] = ()
) -> int:
    """What a plan costs for this share of a period with these quantities, in minor units. What has no price is free.

    `levels` are the meters whose quantity is a level.
    """
    found = fee(prices, share, currency)
    for meter, quantity in used.items():
        if price := prices.meters.get(meter):
            parts = charges(price, quantity, share, currency, is_level=meter in levels)
            found += sum(charge.minor for charge in parts)
    return found
