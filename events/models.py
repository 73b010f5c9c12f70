import uuid
from typing import Any, ClassVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor
from django.utils import timezone

from events.ids import new_id
from events.scoping import TenantManager
from events.wire import WIRE_FIELDS, wire


class _GoneIsNone(ForwardManyToOneDescriptor):  # type: ignore[type-arg]  # not subscriptable at run time
    """What an id of the log names may have been deleted: then it is None, as where there never was one."""

    def get_object(self, instance: models.Model) -> models.Model | None:  # type: ignore[override]
        try:
            return super().get_object(instance)
        except ObjectDoesNotExist:
            return None


class LoggedTenant(models.ForeignKey):  # type: ignore[type-arg]
    """The tenant an event speaks of: the log outlives it. Its id stays, no constraint holds it, nothing cascades."""

    forward_related_accessor_class = _GoneIsNone

    def __init__(self, to: Any, **options: Any) -> None:
        options |= {"on_delete": models.DO_NOTHING, "db_constraint": False, "null": True, "blank": True}
        super().__init__(to, **options)


class Event(models.Model):
    """Something that happened, written in the transaction of the change it reports. Never changed afterwards.

    `id` is the database's order, taken under the lock of the row the event speaks of; `uuid` is the public id.
    The order of the log is `Entry.seq`.
    """

    id = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(default=new_id, unique=True, editable=False)
    type = models.CharField(max_length=64)
    tenant = LoggedTenant("tenants.Tenant", related_name="+")
    occurred_at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16, blank=True)
    actor_id = models.UUIDField(null=True, blank=True)
    actor_name = models.CharField(max_length=200, blank=True)
    summary = models.CharField(max_length=500)
    payload = models.JSONField(help_text="The type's fields, by their names on the wire.")
    channels = models.JSONField(help_text="Names of the channels it goes to, resolved when it was emitted.")
    revokes = models.JSONField(
        default=list, blank=True, help_text="[person's id, new access generation] of everyone it takes something from."
    )

    objects: ClassVar[TenantManager["Event"]] = TenantManager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["type", "id"])]

    def __str__(self) -> str:
        return f"{self.type} {self.uuid}"

    def wire(self, seq: int) -> dict[str, Any]:
        """The event as every consumer gets it: see `events.wire`."""
        return wire(seq, **{name: getattr(self, name) for name in WIRE_FIELDS})


_ACTIVITY = models.Q(is_activity=True)
_ACTED = models.Q(is_activity=True, actor_id__isnull=False)


class Entry(models.Model):
    """A committed event's place in the log. Insert-only: `seq` is given after the commit, without gaps, in order.

    It repeats what the log is searched by, so that a page of it in the order of `seq` is one walk along one index,
    however long the log is (see `events.log.activity`). Log lines and metrics are in none of these indexes.
    """

    seq = models.BigIntegerField(primary_key=True)
    event = models.OneToOneField(Event, on_delete=models.CASCADE, related_name="entry")
    numbered_at = models.DateTimeField(default=timezone.now)
    type = models.CharField(max_length=64)
    tenant_id = models.UUIDField(null=True)
    actor_id = models.UUIDField(null=True)
    occurred_at = models.DateTimeField()
    is_activity = models.BooleanField(help_text="False for log lines and metrics, as on the platform's own channel.")

    class Meta:
        ordering = ["seq"]
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["seq"], name="entry_activity", condition=_ACTIVITY),
            models.Index(fields=["type", "seq"], name="entry_type", condition=_ACTIVITY),
            models.Index(fields=["tenant_id", "seq"], name="entry_tenant", condition=_ACTIVITY),
            models.Index(fields=["occurred_at", "seq"], name="entry_day", condition=_ACTIVITY),
            models.Index(fields=["tenant_id", "seq"], name="entry_tenant_acts", condition=_ACTED),
            models.Index(fields=["actor_id", "seq"], name="entry_actor", condition=_ACTED),
        ]

    def __str__(self) -> str:
        return str(self.seq)


class LogState(models.Model):
    """The one row that says how far the log is numbered. Its lock makes numbering happen one at a time."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY, editable=False)
    epoch = models.UUIDField(
        default=uuid.uuid4, editable=False, help_text="This log's id: sequence numbers mean something within it only."
    )
    last_seq = models.BigIntegerField(default=0)
    last_event_id = models.BigIntegerField(default=0)
    holes = models.JSONField(default=list, help_text="Event ids passed over: they may still commit. See numbering.")
    pruned_seq = models.BigIntegerField(default=0, help_text="Up to here something has been pruned.")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_log")]

    def __str__(self) -> str:
        return f"log {self.epoch} at {self.last_seq}"


class Cursor(models.Model):
    """How far one consumer has come in the log, and who may move it now.

    `fence` rises each time the lease changes hands; whoever moves the cursor names the fence it was given, so that a
    process that lost its lease without noticing can't move anything. See `events.cursors`.
    """

    name = models.CharField(max_length=100, primary_key=True)
    position = models.BigIntegerField(default=0, help_text="The last sequence number dealt with.")
    owner = models.CharField(max_length=200, blank=True)
    fence = models.BigIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0, help_text="How often the entry after `position` has failed.")
    next_try_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Push(models.Model):
    """A batch of entries, `first_seq` to `last_seq`, that was given to the engine. Insert-only.

    One row a batch and not one an entry: a third of the relay's time went into the latter. `outcomes` maps each seq to
    its channels, and these to the offset the event got there, to "repeat" (the engine had it already) or to "refused"
    (a dead letter has the reason).
    """

    first_seq = models.BigIntegerField(primary_key=True)
    last_seq = models.BigIntegerField()
    at = models.DateTimeField(default=timezone.now)
    outcomes = models.JSONField()

    class Meta:
        verbose_name_plural = "pushes"

    def __str__(self) -> str:
        return f"{self.first_seq} to {self.last_seq}"

    @classmethod
    def of(cls, seq: int) -> "Push | None":
        """The batch that contained this entry; None if it was not pushed yet."""
        batch = cls.objects.filter(first_seq__lte=seq).order_by("-first_seq").first()
        return batch if batch and seq <= batch.last_seq else None


class Handled(models.Model):
    """A handler has dealt with an entry. Insert-only."""

    entry = models.ForeignKey(Entry, on_delete=models.CASCADE, related_name="handled")
    handler = models.CharField(max_length=100)
    attempts = models.PositiveIntegerField(help_text="How often it was called.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["entry", "handler"], name="a_handler_handles_an_entry_once")]

    def __str__(self) -> str:
        return f"{self.entry_id} handled by {self.handler}"


class DeadLetter(models.Model):
    """What a cursor gave up on and left behind: an event for a handler, or an event for one channel."""

    class Resolution(models.TextChoices):
        RETRIED = "retried", "Delivered later"
        SKIPPED = "skipped", "Skipped"

    cursor = models.CharField(max_length=100)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="dead_letters")
    channel = models.CharField(max_length=200, blank=True, help_text="Empty for a handler's.")
    error = models.TextField()
    attempts = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)
    resolution = models.CharField(max_length=16, choices=Resolution.choices, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["cursor", "event", "channel"], name="one_dead_letter_for_each_failure")
        ]

    def __str__(self) -> str:
        return f"{self.cursor}: {self.event_id} {self.channel}".rstrip()

    @property
    def is_waiting(self) -> bool:
        return not self.resolution


class DueDisconnect(models.Model):
    """A person's older connections are to be ended once more, for one that was being checked at the first time."""

    user_id = models.UUIDField()
    generation = models.PositiveBigIntegerField(help_text="The new one; the connections are those of the one before.")
    due_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.user_id}.{self.generation - 1}"


class Heartbeat(models.Model):
    """A process that said it is alive, until `expires_at` passes without another word. See `events.heartbeats`."""

    kind = models.CharField(max_length=20)
    name = models.CharField(max_length=200, help_text="Its machine and number.")
    detail = models.CharField(max_length=300, blank=True, help_text="What it does, in its own words.")
    at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "name"], name="one_heartbeat_per_process")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
