import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from accounts import actions, mail
from accounts.models import User

log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    """What differs from allauth's habits: no sign-up, and a new password ends what the old one opened."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def set_password(self, user: User, password: str) -> None:
        actions.change_password(user, password, by=user)

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Under SITE_URL, never under the host that the request named."""
        user_id, _, token = key.partition("-")
        return mail.password_url(user_id, token)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """A mail server that fails must not tell a visitor which addresses have an account: it is logged."""
        try:
            super().send_mail(template_prefix, email, context)
        except OSError:
            log.exception("%s could not be sent.", template_prefix)
