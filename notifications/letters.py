"""What an e-mail says: its subject, its text, its HTML and its headers."""

from collections.abc import Sequence
from email.utils import parseaddr
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse

from notifications import unsubscribing
from notifications.kinds import Pace
from notifications.models import Mail, Notification
from notifications.preferences import habits_of

#: So many notifications a digest tells in full; the inbox has the others.
TOLD_AT_MOST = 50
_DIGESTS = {Pace.HOURLY: "in the last hour", Pace.DAILY: "since the last daily digest", "quiet": "in your quiet hours"}


def write(mail: Mail, told: Sequence[Notification]) -> EmailMultiAlternatives:
    """The letter for these notifications, oldest first; at least one."""
    user = mail.user
    zone = ZoneInfo(habits_of(user).time_zone)
    stop = unsubscribing.link(user, [one.kind for one in told])
    context: dict[str, Any] = {
        "user": user,
        "told": [(one, f"{one.created_at.astimezone(zone):%-d %b %Y, %H:%M} {zone}") for one in told[:TOLD_AT_MOST]],
        "more": len(told) - TOLD_AT_MOST,
        "count": len(told),
        "when": _DIGESTS.get(mail.key, ""),
        "site": settings.SITE_URL,
        "inbox": settings.SITE_URL + reverse("notifications"),
        "preferences": settings.SITE_URL + reverse("notification_preferences"),
        "stop": stop,
    }
    letter = EmailMultiAlternatives(
        subject=_subject(mail, told),
        body=render_to_string("notifications/email/mail.txt", context),
        to=[user.email],
        headers=_headers(mail, stop),
    )
    letter.attach_alternative(render_to_string("notifications/email/mail.html", context), "text/html")
    return letter


def _subject(mail: Mail, told: Sequence[Notification]) -> str:
    """One line, whatever a title holds."""
    first = told[0]
    if len(told) == 1:
        words = f"{first.title} · {first.tenant.name}" if first.tenant else first.title
        return " ".join(("Solved · " if first.solved_at else "").split() + words.split())
    return f"{len(told)} notifications {_DIGESTS.get(mail.key, '')}".strip()


def _headers(mail: Mail, stop: str) -> dict[str, str]:
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    headers = {"Message-ID": f"<{mail.pk}@{domain}>", "Auto-Submitted": "auto-generated"}
    if stop:
        headers |= {"List-Unsubscribe": f"<{stop}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    return headers
