from datetime import datetime
from typing import Any, Self

from django.db import models
from django.utils import timezone


class OneRow(models.Model):
    """A table that has one row, or none yet."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY, editable=False)

    class Meta:
        abstract = True

    @classmethod
    def now(cls) -> Self:
        """The row, or one that says nothing yet."""
        return cls._default_manager.filter(pk=cls.ONLY).first() or cls()

    @classmethod
    def locked(cls) -> Self:
        """The row, to change it in this transaction."""
        cls._default_manager.get_or_create(pk=cls.ONLY)
        return cls._default_manager.select_for_update().get(pk=cls.ONLY)


class PlatformHealth(OneRow):
    """The one row of what was last said about the platform's parts: by name their state, its reason, and since when.

    Written by `portal.ops.health.note`, together with the event that says it.
    """

    parts: "models.JSONField[dict[str, dict[str, str]]]" = models.JSONField(default=dict)
    version = models.PositiveBigIntegerField(default=0)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "platform health"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_platform_health")]

    def __str__(self) -> str:
        return f"version {self.version}"

    @property
    def states(self) -> dict[str, str]:
        return {name: part["state"] for name, part in self.parts.items()}


class PlatformFigures(OneRow):
    """The one row of the platform's own metrics: the newest of each, and how events a second went lately.

    Written by `portal.ops.watch`. `lately`: [[moment, events a second], ...], oldest first.
    """

    metrics: "models.JSONField[dict[str, float]]" = models.JSONField(default=dict)
    lately: "models.JSONField[list[list[Any]]]" = models.JSONField(default=list)
    version = models.PositiveBigIntegerField(default=0)
    as_of: "models.DateTimeField[datetime, datetime]" = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "platform figures"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_platform_figures")]

    def __str__(self) -> str:
        return f"version {self.version}"
