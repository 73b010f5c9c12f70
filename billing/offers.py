"""The plans a tenant can choose from, and their prices in words."""

from dataclasses import dataclass
from decimal import Decimal

from billing.explaining import number, units
from billing.models import Meter, Plan
from billing.money import shown_unit
from billing.prices import MeterPrice


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan with its prices in sentences, one for each meter."""

    plan: Plan
    fee: str
    prices: list[tuple[str, str]]


def offer(plan: Plan, meters: dict[str, Meter]) -> Offer:
    prices = plan.price_list
    fee = f"{shown_unit(str(prices.fee), plan.currency)} a month" if prices.fee else "No monthly fee"
    lines = [
        (meters[slug].name, in_words(price, meters[slug], plan.currency))
        for slug, price in prices.meters.items()
        if slug in meters
    ]
    return Offer(plan, fee, lines)


def in_words(price: MeterPrice, meter: Meter, currency: str) -> str:
    """ "500 minutes included, then €0.02 a minute for the next 1,000, then €0.015"."""
    parts = []
    if price.flat:
        parts.append(f"{shown_unit(str(price.flat), currency)} a month once used")
    if price.included:
        parts.append(f"{number(price.included)} {units(meter, price.included)} included")
    before = Decimal(0)
    for place, tier in enumerate(price.tiers):
        each = "" if place else f" a {meter.unit}"
        bound = "" if tier.up_to is None else f" for the {'next' if parts else 'first'} {number(tier.up_to - before)}"
        parts.append(f"{shown_unit(str(tier.unit), currency)}{each}{bound}")
        before = tier.up_to or before
    return ", then ".join(parts)
