"""Money is an exact number of a currency's minor units, such as cents: never a float, on no database.

`moneyed` (ISO 4217) knows how many of them make one: 100 for EUR, 1 for JPY, 1000 for KWD.
"""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from babel.numbers import format_currency
from moneyed import CurrencyDoesNotExist, get_currency

LOCALE = "en"


class UnknownCurrency(ValueError):
    def __init__(self, code: str) -> None:
        super().__init__(f"{code[:20]!r} is not a currency. Use a code of ISO 4217, such as EUR.")


def minor_per_unit(currency: str) -> int:
    """How many minor units make one unit. Raises UnknownCurrency."""
    try:
        return int(get_currency(currency).sub_unit)
    except CurrencyDoesNotExist:
        raise UnknownCurrency(currency) from None


def to_minor(amount: Fraction | Decimal, currency: str) -> int:
    """The nearest whole number of minor units; what lies in the middle goes away from zero, as on invoices."""
    exact = Fraction(amount) * minor_per_unit(currency)
    # A fraction such as 1/3 has no end as a Decimal: compare halves, so that nothing is rounded twice.
    whole, left = divmod(abs(exact), 1)
    rounded = int(whole) + (left >= Fraction(1, 2))
    return rounded if exact >= 0 else -rounded


def exact_minor(amount: Decimal, currency: str) -> int:
    """What somebody wrote, in minor units. Raises ValueError for a fraction of one, and for nothing or less."""
    minor = amount * minor_per_unit(currency)
    if minor <= 0 or minor != int(minor):
        raise ValueError(f"Give an amount of {currency} above nothing, without fractions.")
    return int(minor)


def from_minor(minor: int, currency: str) -> Decimal:
    """Whole units with all the currency's decimals: 12840 of EUR is 128.40."""
    per_unit = minor_per_unit(currency)
    places = len(str(per_unit)) - 1
    return (Decimal(minor) / per_unit).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def shown(minor: int, currency: str) -> str:
    """As pages and mails write it, in full: €128.40."""
    return str(format_currency(from_minor(minor, currency), currency, locale=LOCALE))


def shown_unit(amount: str, currency: str) -> str:
    """A price of one unit, with all the decimals it has and no fewer than the currency: €0.015."""
    exact = Decimal(amount)
    places = max(len(str(minor_per_unit(currency))) - 1, -int(exact.normalize().as_tuple().exponent))
    pattern = f"¤#,##0.{'0' * places}" if places else "¤#,##0"
    return str(format_currency(exact, currency, pattern, locale=LOCALE, currency_digits=False))
