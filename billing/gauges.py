"""How much of each meter a tenant has used in a period, of what its plan includes. `static/js/billing.js` says the same
words about a `usage_update`; `billing/tests/gauges.json` holds the two to each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from billing.actions import LEVELS, limit_of
from billing.models import InvoiceLine, Meter, Period, Plan, Threshold, Usage
from billing.money import shown

#: From here on a bar says that it is nearly full.
NEAR_PERCENT = 80


@dataclass(frozen=True, slots=True)
class Gauge:
    """One meter. `limit` is what is included in the period, None if nothing; `cost` what it costs so far."""

    meter: Meter
    quantity: Decimal
    limit: Decimal | None
    version: int
    levels: tuple[int, ...]
    cost: str

    @property
    def unit(self) -> str:
        return f"{self.meter.unit}s" if self.meter.unit.islower() else self.meter.unit

    @property
    def usage(self) -> str:
        return amount(self.quantity)

    @property
    def included(self) -> str:
        return "" if self.limit is None else amount(self.limit)

    @property
    def percentage(self) -> Decimal | None:
        """As `usage_update` says it."""
        return None if not self.limit else Decimal(str(round(float(self.quantity / self.limit * 100), 2)))

    @property
    def percent(self) -> str:
        return "" if self.percentage is None else f"{amount(self.percentage)} %"

    @property
    def width(self) -> str:
        return f"{min(self.percentage or Decimal(0), Decimal(100)).normalize():f}%"

    @property
    def reached(self) -> int | None:
        """The highest level that is reached now."""
        if not self.limit:
            return None
        return max((level for level in self.levels if self.quantity * 100 >= self.limit * level), default=None)

    @property
    def says(self) -> str:
        return f"{self.reached} % reached" if self.reached else ""

    @property
    def state(self) -> str:
        percentage = self.percentage or 0
        return "over" if percentage >= 100 else "near" if percentage >= NEAR_PERCENT else "well"


def amount(quantity: Decimal) -> str:
    """A quantity as bars say it: three decimals at most, half away from zero."""
    rounded = quantity.quantize(Decimal("0.001"), ROUND_HALF_UP)
    return f"{rounded.normalize():,f}" if rounded else "0"


def gauges(period: Period, plan: Plan, lines: Iterable[InvoiceLine]) -> list[Gauge]:
    """Every meter that the plan prices or the period has used, by name. `lines`: of the period's invoice so far."""
    prices = plan.price_list.meters
    used = {usage.meter_id: usage for usage in Usage.objects.filter(period=period)}
    own: dict[str, list[int]] = {}
    for threshold in Threshold.objects.filter(tenant=period.tenant):
        own.setdefault(threshold.meter_id, []).append(threshold.percent)
    costs: dict[str, int] = {}
    for line in lines:
        if line.meter_id:
            costs[line.meter_id] = costs.get(line.meter_id, 0) + line.amount_minor
    found = []
    for meter in Meter.objects.filter(slug__in={*prices, *used}).order_by("name"):
        usage = used.get(meter.slug)
        found.append(
            Gauge(
                meter=meter,
                quantity=usage.quantity if usage else Decimal(0),
                limit=limit_of(period, meter),
                version=usage.version if usage else 0,
                levels=tuple(sorted({*LEVELS, *own.get(meter.slug, [])})),
                cost=shown(costs.get(meter.slug, 0), plan.currency),
            )
        )
    return found
