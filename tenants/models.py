import zoneinfo
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey, BaseAPIKeyManager

from events.actors import Actor
from events.ids import new_id
from events.scoping import TenantManager


class Role(models.TextChoices):
    """What a person may be in a tenant. The platform's own admins have no membership: see User.is_platform_admin."""

    TENANT_ADMIN = "tenant_admin", "Tenant admin"
    TENANT_USER = "tenant_user", "Tenant user"


class Scope(models.TextChoices):
    """What an API key may be allowed to do in its tenant."""

    EVENTS_READ = "events:read", "Read events"
    EVENTS_PUBLISH = "events:publish", "Publish events"
    DEPLOYMENTS_READ = "deployments:read", "Read deployments"
    DEPLOYMENTS_WRITE = "deployments:write", "Start and cancel deployments"
    METRICS_WRITE = "metrics:write", "Send metrics"
    USAGE_WRITE = "usage:write", "Record usage"
    ALERTS_WRITE = "alerts:write", "Raise alerts"


def validate_scopes(scopes: Any) -> None:
    if not isinstance(scopes, list):
        raise ValidationError("Scopes are a list of names.")
    if unknown := [scope for scope in scopes if scope not in Scope.values]:
        raise ValidationError(f"Unknown scope {unknown[0]!r}. Known are {', '.join(Scope.values)}.")


def validate_time_zone(name: str) -> None:
    if name not in zoneinfo.available_timezones():
        raise ValidationError(f"{name!r} is not a time zone. Use a name like Europe/Lisbon.")


#: How the reason begins of a suspension that ends by itself when what is owed is paid. Billing gives it.
UNPAID = "Unpaid: "


class Tenant(models.Model):
    """A company that shares the platform and sees nothing of the others."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.SlugField(
        max_length=50,
        unique=True,
        validators=[
            RegexValidator(r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$", "Use lower-case letters, digits and hyphens.")
        ],
        help_text="Its place in addresses: /t/{slug}/.",
    )
    name = models.CharField(max_length=150)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    deployments_at_once = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(50)],
        help_text="How many of its deployments may run together. Empty: as many as the platform gives everybody.",
    )
    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    suspended_reason = models.CharField(max_length=300, blank=True, editable=False, help_text="Its people read it.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    version = models.PositiveBigIntegerField(default=1, editable=False)

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["name", "id"], name="tenant_by_name")]  # as lists are cut

    def __str__(self) -> str:
        return self.name

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at is not None


class Membership(models.Model):
    """A person's role in a tenant, while it lasts."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=32, choices=Role.choices)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    version = models.PositiveBigIntegerField(default=1, editable=False)

    objects: ClassVar[TenantManager["Membership"]] = TenantManager()

    class Meta:
        ordering = ["user__name", "id"]
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="one_membership_per_person_and_tenant")]

    def __str__(self) -> str:
        return f"{self.user} in {self.tenant} ({self.role})"


class ApiKeyManager(TenantManager, BaseAPIKeyManager):  # type: ignore[type-arg]
    def assign_key(self, obj: "ApiKey") -> str:  # type: ignore[override]
        """Give a key that is not saved yet its secret, which is returned and kept nowhere."""
        secret, obj.prefix, obj.hashed_key = self.key_generator.generate()
        return str(secret)

    def get_usable_keys(self) -> "models.QuerySet[ApiKey]":
        return self.filter(revoked=False).select_related("tenant")


class ApiKey(AbstractAPIKey):
    """A service's way in: one tenant, some scopes. Stored hashed; its id is public."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)  # type: ignore[assignment]
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="api_keys")
    scopes = models.JSONField(default=list, validators=[validate_scopes])
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="To the minute.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[ApiKeyManager] = ApiKeyManager()  # type: ignore[assignment]

    class Meta(AbstractAPIKey.Meta):
        ordering = ("-created",)
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    @property
    def actor(self) -> Actor:
        return Actor(kind="service", id=self.id, name=self.name)

    def allows(self, scope: str) -> bool:
        return scope in self.scopes

    def note_use(self) -> None:
        """Keep when it was last used, with one write a minute at most."""
        now = timezone.now()
        if self.last_used_at and now - self.last_used_at < timedelta(seconds=settings.API_KEY_USE_NOTED_SECONDS):
            return
        ApiKey.objects.with_scopes_disabled().filter(pk=self.pk).update(last_used_at=now)
        self.last_used_at = now
