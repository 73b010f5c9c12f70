"""The wire format: what an event looks like to browsers, services and webhooks. A contract with every client."""

from datetime import datetime
from typing import Any
from uuid import UUID

WIRE_VERSION = 1
ENVELOPE = frozenset({"id", "seq", "v", "type", "tenantId", "timestamp", "actor", "summary"})
#: The fields of the Event model that the wire format is made of, by the names `wire` takes them by.
WIRE_FIELDS = (
    "uuid",
    "type",
    "tenant_id",
    "occurred_at",
    "actor_kind",
    "actor_id",
    "actor_name",
    "summary",
    "payload",
)


def wire(
    seq: int,
    *,
    uuid: UUID,
    type: str,
    tenant_id: UUID | None,
    occurred_at: datetime,
    actor_kind: str,
    actor_id: UUID | None,
    actor_name: str,
    summary: str,
    payload: dict[str, Any],
) -> dict[str, Any]:
    """The envelope and, flat beside it, the type's fields."""
    return {
        "id": str(uuid),
        "seq": seq,
        "v": WIRE_VERSION,
        "type": type,
        "tenantId": str(tenant_id) if tenant_id else None,
        "timestamp": occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "actor": {"kind": actor_kind, "id": str(actor_id), "name": actor_name} if actor_kind else None,
        "summary": summary,
        **payload,
    }
