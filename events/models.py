from typing import Any, ClassVar

from django.db import models

from events.catalogue import WIRE_VERSION
from events.ids import new_id
from events.scoping import TenantManager


class Event(models.Model):
    """Something that happened, written in the transaction of the change it reports. Never changed afterwards.

    `id` is the database's order, taken under the lock of the row the event speaks of; `uuid` is the public id.
    The order of the log is `Entry.seq`.
    """

    id = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(default=new_id, unique=True, editable=False)
    type = models.CharField(max_length=64)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    occurred_at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16, blank=True)
    actor_id = models.UUIDField(null=True, blank=True)
    actor_name = models.CharField(max_length=200, blank=True)
    summary = models.CharField(max_length=500)
    payload = models.JSONField(help_text="The type's fields, by their names on the wire.")
    channels = models.JSONField(help_text="Names of the channels it goes to, resolved when it was emitted.")

    objects: ClassVar[TenantManager["Event"]] = TenantManager()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["tenant", "id"]),
            models.Index(fields=["type", "id"]),
            models.Index(fields=["actor_id", "id"]),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.uuid}"

    def wire(self, seq: int) -> dict[str, Any]:
        """The event as every consumer gets it: the envelope and, flat beside it, the type's fields."""
        return {
            "id": str(self.uuid),
            "seq": seq,
            "v": WIRE_VERSION,
            "type": self.type,
            "tenantId": str(self.tenant_id) if self.tenant_id else None,
            "timestamp": self.occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "actor": (
                {"kind": self.actor_kind, "id": str(self.actor_id), "name": self.actor_name}
                if self.actor_kind
                else None
            ),
            "summary": self.summary,
            **self.payload,
        }


class Entry(models.Model):
    """A committed event's place in the log. Insert-only: `seq` is given after the commit, without gaps, in order."""

    seq = models.BigIntegerField(primary_key=True)
    event = models.OneToOneField(Event, on_delete=models.CASCADE, related_name="entry")

    class Meta:
        ordering = ["seq"]
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return str(self.seq)
