from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.utils import timezone

from events.actors import Actor
from events.ids import new_id

COUNTERS = frozenset({"access_generation", "access_version"})


class UserManager(BaseUserManager["User"]):
    """Creates people; e-mail addresses are kept in lower case, so that one address is one person."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person. What they may do in a tenant is a membership; a superuser is a platform admin."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=150)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False, help_text="May open the Django admin.")
    date_joined = models.DateTimeField(default=timezone.now)
    access_generation = models.PositiveBigIntegerField(
        default=1,
        editable=False,
        help_text="Raised whenever something is taken away; tokens of an older generation are refused.",
    )
    access_version = models.PositiveBigIntegerField(
        default=1, editable=False, help_text="Rises with every change of what this person may do."
    )

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["name"]

    objects: ClassVar[UserManager] = UserManager()

    def __str__(self) -> str:
        return self.name or self.email

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **options: Any) -> None:
        """Save everything but the access counters, which only rise, in the database: a stale copy would lower them."""
        if update_fields is None and not self._state.adding:
            names = {field.attname for field in self._meta.concrete_fields if not field.primary_key}
            update_fields = names - self.get_deferred_fields() - COUNTERS
        super().save(*args, update_fields=update_fields, **options)

    def get_full_name(self) -> str:
        return self.name

    @property
    def actor(self) -> Actor:
        return Actor(kind="person", id=self.id, name=self.name or self.email)

    @property
    def is_platform_admin(self) -> bool:
        return self.is_active and self.is_superuser


class Invitation(models.Model):
    """The mail that tells a person of being added. It is kept, so that one that could not be sent can be sent again."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="invitations")
    place = models.CharField(max_length=150, blank=True, help_text="The tenant's name; empty for the platform itself.")
    tenant_id = models.UUIDField(
        null=True, blank=True, editable=False, help_text="The tenant's id, where one is meant."
    )
    invited_by = models.CharField(max_length=150, blank=True, help_text="The name that the mail gives.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_at = models.DateTimeField(null=True, blank=True, editable=False)
    error = models.CharField(max_length=500, blank=True, editable=False, help_text="Why the last try failed.")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["tenant_id", "user"])]

    def __str__(self) -> str:
        return f"{self.user}: {self.state}"

    @property
    def state(self) -> str:
        """In words: not sent and why, waiting to be sent, sent, or accepted."""
        if self.error:
            return f"not sent: {self.error}"
        if self.sent_at is None:
            return "waiting to be sent"
        return "accepted" if self.user.has_usable_password() else "sent"
