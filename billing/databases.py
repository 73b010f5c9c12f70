"""What billing tells PostgreSQL and SQLite each in its own words: a whole batch of records in one statement.

Models for a hundred rows, each column of each prepared by itself, took longer than everything else about a batch. Here
the rows are one parameter, a JSON document.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson
from django.db import connection
from django.utils import timezone

from billing.fields import QuantityField
from billing.models import Period
from tenants.models import Tenant

if TYPE_CHECKING:
    from billing.actions import Used

_INSERT = {
    "postgresql": """
        INSERT INTO billing_usagerecord
            (tenant_id, recorded_at, is_late, period_id, key, digest, meter_id, quantity, at, properties)
        SELECT %s, %s, late, period, key, digest, meter, quantity, at, properties
        FROM json_to_recordset(%s) AS given
            (late boolean, period bigint, key text, digest text, meter text, quantity bigint, at timestamptz,
             properties jsonb)
    """,
    "sqlite": """
        INSERT INTO billing_usagerecord
            (tenant_id, recorded_at, is_late, period_id, key, digest, meter_id, quantity, at, properties)
        SELECT %s, %s, value ->> 'late', value ->> 'period', value ->> 'key', value ->> 'digest', value ->> 'meter',
            value ->> 'quantity', value ->> 'at', value -> 'properties'
        FROM json_each(%s)
    """,
}
_quantity = QuantityField()


def insert_records(tenant: Tenant, placed: Sequence[tuple[Period, Used]]) -> None:
    """Store records of usage, each in its period, in their order."""
    if not placed:
        return
    ops = connection.ops
    rows = [
        {
            "late": period.is_closed,
            "period": period.pk,
            "key": used.key,
            "digest": used.digest,
            "meter": used.meter,
            "quantity": _quantity.get_prep_value(used.quantity),
            "at": str(ops.adapt_datetimefield_value(used.at)),
            "properties": used.properties,
        }
        for period, used in placed
    ]
    whose = tenant.pk if connection.features.has_native_uuid_field else tenant.pk.hex
    now = ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(_INSERT[connection.vendor], [whose, now, orjson.dumps(rows).decode()])
