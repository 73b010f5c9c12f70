from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import models

from realtime import patterns
from realtime.patterns import InvalidPattern


class Holder(models.TextChoices):
    """Whom a policy is for: the platform's admins, a role in a tenant, an API key, or every person."""

    ADMIN = "admin", "Platform admin"
    TENANT_ADMIN = "tenant_admin", "Tenant admin"
    TENANT_USER = "tenant_user", "Tenant user"
    SERVICE = "service", "Service (API key)"
    EVERYONE = "everyone", "Everyone, for what is their own"


class Action(models.TextChoices):
    """What somebody may do with a channel. For a service, to subscribe is to read the feed."""

    SUBSCRIBE = "subscribe", "Subscribe"
    PUBLISH = "publish", "Publish"


class ChannelPolicy(models.Model):
    """One permission. Whatever no row allows is denied. Changed through `realtime.actions` only."""

    role = models.CharField(max_length=32, choices=Holder.choices)
    action = models.CharField(max_length=16, choices=Action.choices)
    pattern = models.CharField(
        max_length=200,
        help_text="A channel's template, or its beginning up to a colon and then *. "
        "{tenant_id} is a tenant in which this role is held now, {user_id} the person who holds it.",
    )

    class Meta:
        ordering = ["role", "action", "pattern"]
        verbose_name_plural = "channel policies"
        constraints = [models.UniqueConstraint(fields=["role", "action", "pattern"], name="one_row_per_permission")]

    def __str__(self) -> str:
        return f"{self.role} may {self.action} {self.pattern}"

    def clean(self) -> None:
        if self.role not in Holder.values:
            return  # the field's own message says so
        try:
            patterns.check(self.role, self.pattern)
        except InvalidPattern as problem:
            raise ValidationError({"pattern": str(problem)}) from problem


class SigningKey(models.Model):
    """A key pair for subscription tokens. Made and ended by `realtime.keys` only."""

    #: Published, and waiting for its time; signing; published until its last token has ended.
    NEXT, CURRENT, RETIRING = "next", "current", "retiring"

    kid = models.CharField("key id", max_length=36, primary_key=True)
    algorithm = models.CharField(max_length=16)
    public = models.JSONField("public key", help_text="A JSON Web Key, as it is published.")
    sealed_private = models.TextField(help_text="PKCS #8, encrypted. Empty when it signs no more.")
    created_at = models.DateTimeField(auto_now_add=True)
    signs_from = models.DateTimeField()
    signs_until = models.DateTimeField(null=True, help_text="Empty until a next key is made.")

    class Meta:
        ordering = ["-signs_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["algorithm"], condition=models.Q(signs_until=None), name="one_newest_signing_key"
            )
        ]

    def __str__(self) -> str:
        return self.kid

    def state_at(self, now: datetime) -> str:
        if now < self.signs_from:
            return self.NEXT
        return self.CURRENT if self.signs_until is None or now < self.signs_until else self.RETIRING


class IdempotencyKey(models.Model):
    """A publication that was asked for with an Idempotency-Key, so that asking again answers the same."""

    principal = models.CharField(max_length=80, help_text='"person:{uuid}" or "service:{uuid}".')
    key = models.CharField(max_length=255)
    body_digest = models.CharField(max_length=64, help_text="SHA-256 of the request, as hexadecimal digits.")
    event_uuid = models.UUIDField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["principal", "key"], name="one_publication_per_idempotency_key")]

    def __str__(self) -> str:
        return self.key
