from decimal import Decimal
from typing import Any

from django.db import models

from billing.prices import QUANTITY_PLACES

SCALE = 10**QUANTITY_PLACES


class QuantityField(models.DecimalField):
    """A Decimal with six places, stored as whole millionths: exact in sums too, also on SQLite, whose DECIMAL floats.

    Up to 9,223,372,036,854 either way. An aggregate over it is of the same kind: `Sum("quantity")` is a Decimal.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"max_digits": 19, "decimal_places": QUANTITY_PLACES})

    def get_internal_type(self) -> str:
        return "BigIntegerField"

    def from_db_value(self, value: int | Decimal | None, *_: Any) -> Decimal | None:
        # PostgreSQL sums bigints as numeric.
        return None if value is None else Decimal(int(value)).scaleb(-QUANTITY_PLACES)

    def get_prep_value(self, value: Any) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return value
        scaled = Decimal(value) * SCALE
        if scaled != int(scaled):
            raise ValueError(f"{value} has more than {QUANTITY_PLACES} decimal places.")
        return int(scaled)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if prepared else self.get_prep_value(value)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return self.get_prep_value(value)
