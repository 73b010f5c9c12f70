"""What browsers show the engine and the gate: signed, short-lived, and good for one access generation only."""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import jwt
from django.conf import settings

from accounts.models import User
from events.channels import Channel
from realtime import keys

#: Connection tokens are written and read by ourselves: a shared secret says all, at a third of the cost.
CONNECTION_ALGORITHM = "HS256"
#: What a token is for. The gate takes only the one, the engine (see `realtime.engine_config`) only the other.
CONNECTION = "connection"
SUBSCRIPTION = "subscription"
#: By each process that is a gate: about half a kilobyte each.
TOKENS_REMEMBERED = 20_000


class InvalidToken(Exception):
    """Not a token of ours for this purpose, or one whose time is over. The text says which, without detail."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whose token it is: a person, as of one access generation."""

    user_id: UUID
    generation: int

    @property
    def subject(self) -> str:
        """The engine's name for the person: what takes access away gives them another one."""
        return f"{self.user_id}.{self.generation}"

    @classmethod
    def of(cls, user: User) -> "Bearer":
        return cls(user.id, user.access_generation)

    @classmethod
    def parse(cls, subject: str) -> "Bearer":
        """Raises ValueError."""
        user_id, _, generation = subject.partition(".")
        return cls(UUID(user_id), int(generation))


@dataclass(frozen=True, slots=True)
class Signed:
    """A token and when it ends, in Unix seconds."""

    token: str
    expires_at: int


def connection_token(user: User) -> Signed:
    """Lets this person's browser connect, through the gate."""
    claims = _claims(user, CONNECTION, settings.TOKEN_TTL_SECONDS)
    token = jwt.encode(claims, settings.CONNECTION_TOKEN_SECRET, algorithm=CONNECTION_ALGORITHM)
    return Signed(token, claims["exp"])


def subscription_token(user: User, channel: Channel) -> Signed:
    """Lets this person's connection of the same generation subscribe to one channel. Authorise first.

    Raises `realtime.keys.CannotUnseal` where the signing keys can't be read.
    """
    claims = _claims(user, SUBSCRIPTION, settings.SUBSCRIPTION_TOKEN_TTL_SECONDS)
    kid, private = keys.ring.signing_key()
    content = claims | {"channel": channel.name}
    return Signed(jwt.encode(content, private, algorithm=keys.ALGORITHM, headers={"kid": kid}), claims["exp"])


def read_connection_token(token: str) -> Bearer:
    """Who holds a connection token of ours that still holds. Raises InvalidToken."""
    try:
        bearer, ends_at = _verified(token, settings.CONNECTION_TOKEN_SECRET)
    except jwt.ExpiredSignatureError:
        raise InvalidToken("token expired") from None
    except (jwt.InvalidTokenError, ValueError):
        raise InvalidToken("token refused") from None
    if ends_at <= time.time():
        raise InvalidToken("token expired")
    return bearer


@lru_cache(maxsize=TOKENS_REMEMBERED)
def _verified(token: str, secret: str) -> tuple[Bearer, float]:
    """Whose token it is and when it ends.

    Remembered, since everybody shows the same one again after a restart of the engine, and verifying it was a third of
    the gate's own work. What is refused is not remembered.
    """
    claims = jwt.decode(
        token,
        secret,
        algorithms=[CONNECTION_ALGORITHM],
        audience=CONNECTION,
        options={"require": ["exp", "sub", "aud"]},
    )
    return Bearer.parse(claims["sub"]), float(claims["exp"])


def _claims(user: User, purpose: str, ttl_seconds: int) -> dict[str, Any]:
    return {"sub": Bearer.of(user).subject, "aud": purpose, "exp": int(time.time()) + ttl_seconds}
