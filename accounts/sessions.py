"""What follows when a person signs out or resets a password: Django and allauth say so by signals."""

from typing import Any

from allauth.account.signals import password_reset
from axes.utils import reset as end_lockout
from django.contrib.auth.signals import user_logged_out
from django.dispatch import receiver

from accounts.actions import raise_generation
from accounts.events import Reason
from accounts.models import User


@receiver(user_logged_out)
def end_connections(user: User | None, **_: Any) -> None:
    if user is not None:
        raise_generation(user, Reason.SIGNED_OUT, by=user)


@receiver(password_reset)
def unlock(user: User, **_: Any) -> None:
    """Whoever reads the person's mail is the person: guesses at the old password no longer count."""
    end_lockout(username=user.email)
