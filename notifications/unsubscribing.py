"""The link in a mail that ends mails like it, with one click and without signing in (RFC 8058).

What it holds is signed: whose e-mails of which kinds. It never expires, as the mail that holds it does not; whoever has
the mail can do no more with it than stop such mails, and undo that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.urls import reverse

from accounts.models import User
from notifications.kinds import CHOSEN, Kind, Pace, Way
from notifications.preferences import choose

SALT = "notifications.unsubscribe"
UNDO_SALT = "notifications.unsubscribe.undo"


class BadLink(Exception):
    """Nothing that we signed, or about a person who is gone."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link is about."""

    user: User
    kinds: list[Kind]


def link(user: User, kind_names: Iterable[str]) -> str:
    """The address that ends e-mails of these kinds to this person; empty where none of them can be switched off."""
    names = [kind.name for kind in CHOSEN if kind.name in set(kind_names)]
    if not names:
        return ""
    token = signing.dumps([user.pk.hex, names], salt=SALT)
    return settings.SITE_URL + reverse("unsubscribe", args=[token])


def read(token: str) -> Link:
    """Raises BadLink."""
    try:
        person, names = signing.loads(token, salt=SALT)
        user = User.objects.get(pk=UUID(person))
    except (signing.BadSignature, User.DoesNotExist) as bad:
        raise BadLink from bad
    return Link(user, [kind for kind in CHOSEN if kind.name in names])


def unsubscribe(asked: Link) -> str:
    """End the e-mails of a link. Returns what takes it back: a token for `undo`."""
    before = choose(asked.user, {(kind.name, Way.EMAIL): Pace.OFF for kind in asked.kinds})
    # Off already: a mail program was here before its person. There was a mail, so something else was chosen then.
    paces = {kind: Pace.NOW if choice == Pace.OFF else choice for (kind, _), choice in before.items()}
    return signing.dumps([asked.user.pk.hex, paces], salt=UNDO_SALT)


def undo(asked: Link, token: str) -> None:
    """Choose again what was chosen before. Raises BadLink for what `unsubscribe` gave to somebody else."""
    try:
        person, paces = signing.loads(token, salt=UNDO_SALT)
    except signing.BadSignature as bad:
        raise BadLink from bad
    if UUID(person) != asked.user.pk:
        raise BadLink
    choose(asked.user, {(kind, Way.EMAIL): pace for kind, pace in paces.items()})
