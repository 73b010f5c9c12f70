"""Mails to people. No password is ever in one: who has none yet gets a link that expires."""

import logging

from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from accounts.models import Invitation, User

log = logging.getLogger(__name__)


def password_url(user_id: str, token: str) -> str:
    """Where a password is set with this token."""
    return settings.SITE_URL + reverse("account_reset_password_from_key", kwargs={"uidb36": user_id, "key": token})


def password_link(user: User) -> str:
    """A link to set a password. It ends with its first use, or after PASSWORD_RESET_TIMEOUT seconds."""
    return password_url(user_pk_to_url_str(user), default_token_generator.make_token(user))


def deliver(invitation_id: int) -> None:
    """Send an invitation's mail, outside any transaction, and keep on its row whether that worked."""
    invitation = Invitation.objects.select_related("user").get(pk=invitation_id)
    try:
        _send(invitation)
    except Exception as error:  # whatever the mail backend raises: the row must say so
        log.exception("The invitation of %s could not be sent.", invitation.user.pk)
        invitation.error = (str(error) or type(error).__name__)[:500]
        invitation.save(update_fields=["error"])
        return
    invitation.sent_at, invitation.error = timezone.now(), ""
    invitation.save(update_fields=["sent_at", "error"])


def _send(invitation: Invitation) -> None:
    user = invitation.user
    is_new = not user.has_usable_password()
    kind = "invitation" if is_new else "added"
    context = {
        "user": user,
        "place": invitation.place or "NEO_STACK",
        "invited_by": invitation.invited_by or "An admin",
        "link": password_link(user) if is_new else f"{settings.SITE_URL}/",
        "days": settings.PASSWORD_RESET_TIMEOUT // 86_400,
    }
    subject = " ".join(render_to_string(f"account/email/{kind}_subject.txt", context).split())
    body = render_to_string(f"account/email/{kind}_message.txt", context)
    send_mail(subject, body, None, [user.email])
