from datetime import time
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.models import User
from events.ids import new_id
from events.scoping import TenantManager
from notifications.kinds import About, Way, names_about
from tenants.models import UNPAID, Membership, Tenant, validate_time_zone


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


class Mail(models.Model):
    """An e-mail to one person that is to be sent, or was: the truth about it, which no lost message can lose.

    `key` and `window` name it: "daily" and the end of the day that it reports. It gathers notifications until it is
    tried for the first time; from then on nothing is added. Each try is one more in `attempts`, which is also its
    fence: who was overtaken by another changes nothing any more.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENDING = "sending", "Being sent"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Not sent"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mails")
    key = models.CharField(max_length=64, help_text="hourly, daily, quiet (what quiet hours held back), or event:{id}.")
    window = models.DateTimeField(help_text="It gathers what comes until then, and leaves then.")
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    due_at = models.DateTimeField(help_text="When it is tried next.")
    is_urgent = models.BooleanField(default=False, db_default=False, help_text="It comes in quiet hours, too.")
    lease_expires_at = models.DateTimeField(null=True, blank=True, help_text="Then who is sending it counts as dead.")
    attempts = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True, help_text="Why the last failed try did, or why there is none.")
    address = models.EmailField(blank=True, help_text="Where it went.")
    subject = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "key", "window"], name="one_mail_per_person_digest_and_window")
        ]
        indexes = [
            models.Index(fields=["due_at"], name="mails_to_send", condition=Q(state__in=["waiting", "sending"])),
            models.Index(fields=["user", "window"], name="mails_of_a_person"),
            models.Index(fields=["ended_at"], name="mails_ended", condition=Q(ended_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.key} to {self.user_id}"

    @property
    def title(self) -> str:
        """What it is, for as long as nobody has written it."""
        if self.key.startswith("event:"):
            return "One notification"
        return {"hourly": "Hourly digest", "daily": "Daily digest"}.get(self.key, "What quiet hours held back")

    @property
    def words(self) -> str:
        """How far it has come; the page adds when."""
        tries = f", {self.attempts} attempts" if self.attempts > 1 else ""
        if self.state == Mail.State.WAITING:
            return f"Tried {self.attempts} times. Next try" if self.attempts else "Leaves"
        return f"{self.get_state_display()}{tries}"

    @property
    def problem(self) -> str:
        """What is wrong, for its person: the mail server's own words are for those who look after the platform."""
        if self.state == Mail.State.CANCELLED:
            return self.error
        if self.state == Mail.State.FAILED:
            return "The mail server did not take it. What it told is in your inbox, unless you switched that off."
        return "The mail server could not take it yet." if self.state == Mail.State.WAITING and self.attempts else ""

    @property
    def gathers(self) -> bool:
        """Whether something may still be added to it."""
        return self.state == Mail.State.WAITING and not self.attempts


#: What only platform admins may see: of no tenant, and with a link into their portal.
OF_OPERATIONS = Q(tenant=None, link__startswith="/ops/")


class NotificationQuerySet(models.QuerySet["Notification"]):
    def in_reach(self) -> "NotificationQuerySet":
        """What each person may see now: of a tenant they belong to and that is not suspended (for what it owes: what is
        of its billing, where it pays), what leads to the operations portal while they are platform admins, and what is
        of neither."""
        membership = Membership.objects.with_scopes_disabled().filter(user=OuterRef("user"), tenant=OuterRef("tenant"))
        is_open = Exists(membership.filter(tenant__suspended_at=None))
        owes = Exists(membership.filter(tenant__suspended_reason__startswith=UNPAID))
        of_nobody = Q(tenant=None) & (~OF_OPERATIONS | Q(user__is_superuser=True))
        return self.filter(of_nobody | Q(is_open) | (Q(kind__in=names_about(About.BILLING)) & Q(owes)))

    def of(self, user: User) -> "NotificationQuerySet":
        """Everything of this person's inbox that they may see now, what they removed included."""
        return self.in_reach().filter(user=user, number__isnull=False)

    def kept(self) -> "NotificationQuerySet":
        """What is in an inbox or its archive."""
        return self.filter(removed_at=None, number__isnull=False)

    def archived(self, is_archived: bool = True) -> "NotificationQuerySet":
        return self.kept().filter(archived_at__isnull=not is_archived)

    def unread(self) -> "NotificationQuerySet":
        """What the bell counts: neither read, nor put away."""
        return self.archived(False).filter(read_at=None)


class Notification(models.Model):
    """Something one person is told. It is the person's, not a tenant's, hence no tenant scope: ask `of(user)`.

    `number` is the inbox's version at its arrival: the order within the inbox. None: its person wants this kind by
    mail only, and it is in no inbox.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    number = models.PositiveBigIntegerField(null=True, blank=True)
    source = models.UUIDField(help_text="The event it came of: one event notifies a person once.")
    kind = models.CharField(max_length=64)
    title = models.CharField(max_length=150)
    message = models.TextField(max_length=2000, blank=True)
    level = models.CharField(max_length=16, choices=Level.choices, default=Level.INFO)
    link = models.CharField(max_length=500, blank=True, help_text="Where to look: a path on this site.")
    object_key = models.CharField(max_length=100, help_text="The thing it speaks of: deployment:{id}.")
    group_key = models.CharField(max_length=200, help_text="What stands together in the inbox.")
    cause_key = models.CharField(
        max_length=100, blank=True, default="", db_default="", help_text="What it is a failure of: see actions.solve."
    )
    cause_order = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="Which of that thing's states it reports: a later one can solve it."
    )
    mail = models.ForeignKey(
        Mail, on_delete=models.SET_NULL, null=True, blank=True, related_name="notifications", help_text="Its e-mail."
    )
    created_at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    solved_at = models.DateTimeField(null=True, blank=True, help_text="When its cause was over.")
    solved_by = models.CharField(
        max_length=150, blank=True, default="", db_default="", help_text="What ended its cause, in words."
    )

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
            models.Index(fields=["source"], name="notifications_source"),
            models.Index(  # also by how a key begins
                fields=["cause_key"],
                name="notifications_unsolved",
                condition=Q(solved_at=None) & ~Q(cause_key=""),
                opclasses=["varchar_pattern_ops"],
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_read(self) -> bool:
        return self.read_at is not None


class Cause(models.Model):
    """What notifications can be failures of, by `cause_key`: which of its states are over, and what ended them.

    Kept by itself, because one of those states may be told late. Its lock makes who tells and who solves take turns.
    """

    key = models.CharField(max_length=100, primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    solved_order = models.PositiveBigIntegerField(default=0, help_text="The states before this one are over.")
    solved_at = models.DateTimeField(null=True, blank=True)
    solved_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class Preference(models.Model):
    """What a person chose about one kind of notification and one way. Without a row: as `notifications.kinds` says."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notification_preferences"
    )
    kind = models.CharField(max_length=64)
    way = models.CharField(max_length=16, choices=Way.choices)
    choice = models.CharField(max_length=16, help_text="In app: on, off. By e-mail: off, now, hourly, daily.")

    class Meta:
        ordering = ["user", "kind", "way"]
        constraints = [models.UniqueConstraint(fields=["user", "kind", "way"], name="one_choice_per_kind_and_way")]

    def __str__(self) -> str:
        return f"{self.kind} {self.way}: {self.choice}"


class Habits(models.Model):
    """When mail suits a person, by the clock where they are. Without a row: at any time, digests at 08:00 where their
    first company is (preferences.habits_of)."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="notification_habits"
    )
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    digest_at = models.TimeField(default=time(8), help_text="When the daily digest leaves.")
    quiet_from = models.TimeField(null=True, blank=True, help_text="From then on e-mails wait.")
    quiet_until = models.TimeField(null=True, blank=True, help_text="Then what has waited comes as one mail.")
    urgent_anyway = models.BooleanField(default=True, help_text="What is urgent comes in quiet hours, too.")

    class Meta:
        ordering = ["user"]
        verbose_name_plural = "habits"
        constraints = [
            models.CheckConstraint(
                condition=Q(quiet_from=None, quiet_until=None)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False) & ~Q(quiet_from=models.F("quiet_until")),
                name="quiet_hours_begin_and_end",
            )
        ]

    def __str__(self) -> str:
        return f"habits of {self.user_id}"
