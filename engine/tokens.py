"""JSON Web Tokens for connections and subscriptions, as Centrifugo reads them, by the engine's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt

from engine.clock import Clock
from engine.codes import INTERNAL_TEMPORARY, Refused
from engine.config import Token
from engine.jwks import KeySet
from engine.schema import Malformed, encoded, with_encoded

_HMAC_ALGORITHMS = ["HS256", "HS384", "HS512"]
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
    """Who connects. `expires_at` is Unix seconds, 0 for never; `info` is JSON, for others to read.

    `subscriptions` are made by the server on connecting; `info` and `data` of each are encoded, None or absent."""

    user: str
    expires_at: int = 0
    info: bytes | None = None
    subscriptions: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubscriptionClaims:
    """Who may subscribe to what. `info` is JSON, for others to read.

    `override` turns single options of the channel on or off for this subscription."""

    user: str
    channel: str
    client: str = ""
    expires_at: int = 0
    info: bytes | None = None
    override: dict[str, bool] = field(default_factory=dict)


class Verifier:
    """Checks tokens against the configured secret, or against public keys: where those are configured, they alone."""

    def __init__(self, config: Token, clock: Clock) -> None:
        self._secret = config.hmac_secret_key
        self._keys = KeySet(config.jwks_public_endpoint) if config.jwks_public_endpoint else None
        self._audience = config.audience
        self._issuer = config.issuer
        self._clock = clock

    async def prepare(self, token: str) -> None:
        """Read the public key that this token names, if it is not known. Call it before the token is checked."""
        if self._keys is not None and (kid := _key_id(token)):
            await self._keys.look_for(kid)

    def connection(self, token: str) -> ConnectionClaims:
        """Raises InvalidToken or ExpiredToken; Refused (100) where `b64info` holds no JSON."""
        claims = self._claims(token)
        subscriptions = _granted(claims)
        try:
            info = encoded(claims, "info")
        except Malformed:
            raise Refused(INTERNAL_TEMPORARY) from None
        return ConnectionClaims(_text(claims, "sub"), _expires_at(claims), info, subscriptions)

    def subscription(self, token: str) -> SubscriptionClaims:
        """Raises InvalidToken or ExpiredToken."""
        claims = self._claims(token)
        return SubscriptionClaims(
            user=_text(claims, "sub"),
            channel=_text(claims, "channel"),
            client=_text(claims, "client"),
            expires_at=_expires_at(claims),
            info=_info(claims),
            override=overrides(claims.get("override")),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        key, algorithms = self._key_of(token)
        try:
            claims = jwt.decode(token, key, algorithms=algorithms, options=_CHECKED_HERE)  # type: ignore[arg-type]
        except jwt.InvalidTokenError:
            raise InvalidToken from None
        self._check_audience(claims)
        now = self._clock()
        if ("exp" in claims and _number(claims, "exp") <= now) or _number(claims, "nbf") > now:
            raise ExpiredToken
        return claims

    def _key_of(self, token: str) -> tuple[Any, Sequence[str]]:
        """The key and what it may have been used with. Raises InvalidToken where there is none for this token."""
        if self._keys is not None:
            if key := self._keys.get(_key_id(token)):
                return key.public, key.algorithms
        elif self._secret:
            return self._secret, _HMAC_ALGORITHMS
        raise InvalidToken

    def _check_audience(self, claims: dict[str, Any]) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if (self._audience and self._audience not in audiences) or (self._issuer and self._issuer != claims.get("iss")):
            raise InvalidToken


def _key_id(token: str) -> str:
    """Empty where the token names no key, or is no token at all."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError:
        return ""
    return kid if isinstance(kid, str) else ""


def overrides(value: Any) -> dict[str, bool]:
    """{"force_recovery": {"value": true}} as {"force_recovery": True}; what has another form is no override."""
    if not isinstance(value, dict):
        return {}
    return {name: flag["value"] is True for name, flag in value.items() if isinstance(flag, dict) and "value" in flag}


def _info(claims: dict[str, Any]) -> bytes | None:
    try:
        return encoded(claims, "info")
    except Malformed:
        raise InvalidToken from None


def _granted(claims: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Subscriptions by `subs`, with options, or else by `channels`."""
    try:
        subscriptions = {channel: with_encoded(granted) for channel, granted in _objects(claims.get("subs")).items()}
    except Malformed:
        raise InvalidToken from None
    return subscriptions or {channel: {} for channel in _strings(claims.get("channels"))}


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
