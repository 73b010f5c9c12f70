"""JSON Web Tokens for connections and subscriptions, as Centrifugo reads them: HMAC keys, the engine's clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jwt

from engine.clock import Clock
from engine.config import Token

_ALGORITHMS = ["HS256", "HS384", "HS512"]
_CHECKED_HERE = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
}


class InvalidToken(Exception):
    """Not a token of ours: its form, its signature, its audience or its issuer."""


class ExpiredToken(Exception):
    """A token of ours whose time is over, or has not come."""


@dataclass(frozen=True, slots=True)
class ConnectionClaims:
    """Who connects. `expires_at` is Unix seconds, 0 for never; `subscriptions` are made by the server on connecting."""

    user: str
    expires_at: int = 0
    info: Any = None
    subscriptions: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubscriptionClaims:
    """Who may subscribe to what. `override` turns single options of the channel on or off for this subscription."""

    user: str
    channel: str
    client: str = ""
    expires_at: int = 0
    info: Any = None
    override: dict[str, bool] = field(default_factory=dict)


class Verifier:
    """Checks tokens against one configured key."""

    def __init__(self, config: Token, clock: Clock) -> None:
        self._key = config.hmac_secret_key
        self._audience = config.audience
        self._issuer = config.issuer
        self._clock = clock

    def connection(self, token: str) -> ConnectionClaims:
        """Raises InvalidToken or ExpiredToken."""
        claims = self._claims(token)
        channels: dict[str, dict[str, Any]] = {channel: {} for channel in _strings(claims.get("channels"))}
        subscriptions = _objects(claims.get("subs")) or channels
        return ConnectionClaims(_text(claims, "sub"), _expires_at(claims), claims.get("info"), subscriptions)

    def subscription(self, token: str) -> SubscriptionClaims:
        """Raises InvalidToken or ExpiredToken."""
        claims = self._claims(token)
        return SubscriptionClaims(
            user=_text(claims, "sub"),
            channel=_text(claims, "channel"),
            client=_text(claims, "client"),
            expires_at=_expires_at(claims),
            info=claims.get("info"),
            override=overrides(claims.get("override")),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        if not self._key:
            raise InvalidToken
        try:
            claims = jwt.decode(token, self._key, algorithms=_ALGORITHMS, options=_CHECKED_HERE)  # type: ignore[arg-type]
        except jwt.InvalidTokenError:
            raise InvalidToken from None
        self._check_audience(claims)
        now = self._clock()
        if ("exp" in claims and _number(claims, "exp") <= now) or _number(claims, "nbf") > now:
            raise ExpiredToken
        return claims

    def _check_audience(self, claims: dict[str, Any]) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if (self._audience and self._audience not in audiences) or (self._issuer and self._issuer != claims.get("iss")):
            raise InvalidToken


def overrides(value: Any) -> dict[str, bool]:
    """{"force_recovery": {"value": true}} as {"force_recovery": True}; what has another form is no override."""
    if not isinstance(value, dict):
        return {}
    return {name: flag["value"] is True for name, flag in value.items() if isinstance(flag, dict) and "value" in flag}


def _expires_at(claims: dict[str, Any]) -> int:
    """`expire_at` says when what was made with the token ends, where that is not when the token itself does."""
    return int(_number(claims, "expire_at" if "expire_at" in claims else "exp"))


def _number(claims: dict[str, Any], name: str) -> float:
    try:
        return float(claims.get(name) or 0)
    except (TypeError, ValueError):
        raise InvalidToken from None


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str):
        raise InvalidToken
    return value


def _strings(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidToken
    return value


def _objects(value: Any) -> dict[str, dict[str, Any]]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        raise InvalidToken
    return value
