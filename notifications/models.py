from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.models import User
from events.ids import new_id
from events.scoping import TenantManager
from tenants.models import Membership, Tenant


class Level(models.TextChoices):
    INFO = "info", "Info"
    SUCCESS = "success", "Success"
    WARNING = "warning", "Warning"
    ERROR = "error", "Error"


class Notice(models.Model):
    """What somebody told everybody in a tenant. Never changed afterwards."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="notices")
    title = models.CharField(max_length=150)
    message = models.TextField(max_length=2000, blank=True)
    level = models.CharField(max_length=16, choices=Level.choices, default=Level.INFO)
    sender_name = models.CharField(max_length=200, blank=True, help_text="A person's or an API key's.")
    sent_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[TenantManager["Notice"]] = TenantManager()

    class Meta:
        ordering = ["-sent_at", "-id"]
        indexes = [models.Index(fields=["tenant", "-sent_at", "-id"])]

    def __str__(self) -> str:
        return self.title


class Inbox(models.Model):
    """A person's notifications as a whole. Its lock gives their changes one order.

    `version` rises by one with each change, of whatever kind; `unread` counts what the person may see now.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="inbox"
    )
    unread = models.PositiveIntegerField(default=0)
    version = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["user"]
        verbose_name_plural = "inboxes"

    def __str__(self) -> str:
        return f"inbox of {self.user_id}"


class NotificationQuerySet(models.QuerySet["Notification"]):
    def in_reach(self) -> "NotificationQuerySet":
        """What each person may see now: of no tenant, or of one they belong to and that is not suspended."""
        membership = Membership.objects.with_scopes_disabled().filter(
            user=OuterRef("user"), tenant=OuterRef("tenant"), tenant__suspended_at=None
        )
        return self.filter(Q(tenant=None) | Exists(membership))

    def of(self, user: User) -> "NotificationQuerySet":
        """Everything of this person's that they may see now, what they removed included."""
        return self.in_reach().filter(user=user)

    def kept(self) -> "NotificationQuerySet":
        return self.filter(removed_at=None)

    def unread(self) -> "NotificationQuerySet":
        return self.filter(removed_at=None, read_at=None)


class Notification(models.Model):
    """Something one person is told. It is the person's, not a tenant's, hence no tenant scope: ask `of(user)`.

    `number` is the inbox's version at its arrival: the order within the inbox.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    number = models.PositiveBigIntegerField()
    source = models.UUIDField(help_text="The event it came of: one event notifies a person once.")
    kind = models.CharField(max_length=64)
    title = models.CharField(max_length=150)
    message = models.TextField(max_length=2000, blank=True)
    level = models.CharField(max_length=16, choices=Level.choices, default=Level.INFO)
    link = models.CharField(max_length=500, blank=True, help_text="Where to look: a path on this site.")
    object_key = models.CharField(max_length=100, help_text="The thing it speaks of: deployment:{id}.")
    group_key = models.CharField(max_length=200, help_text="What stands together in the inbox.")
    created_at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager["Notification"]] = NotificationQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "source"], name="an_event_notifies_a_person_once"),
            models.UniqueConstraint(fields=["user", "number"], name="an_inbox_numbers_what_arrives"),
        ]
        indexes = [
            models.Index(fields=["user"], name="notifications_unread", condition=Q(read_at=None, removed_at=None)),
            models.Index(fields=["removed_at"], name="notifications_removed", condition=Q(removed_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_read(self) -> bool:
        return self.read_at is not None
