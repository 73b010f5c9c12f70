"""`request.live`: what a page may follow, and from where (see `events.live` for what it offers)."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.cache import add_never_cache_headers

from accounts.models import User
from events import channels, engine_client
from events.channels import Channel, Topic
from realtime import tokens
from realtime.keys import CannotUnseal
from realtime.metrics import POSITIONS_AWAY, TOKENS
from realtime.models import Action
from realtime.policies import Decision, Standing, authorize

logger = logging.getLogger("realtime.tokens")


class FollowedInTransaction(RuntimeError):
    """A page asked the engine for positions inside a transaction, which would hold locks while the engine answers."""


@dataclass(frozen=True, slots=True)
class Following:
    """What a page may follow and from where: `config` says it, `for_page` is what goes to its script, as JSON."""

    config: dict[str, Any]
    _tokens: Callable[[], dict[str, Any] | None] = field(repr=False)

    @property
    def for_page(self) -> dict[str, Any]:
        """`config` and the tokens to connect with first: asking for them would cost each page two requests more."""
        return {**self.config, "tokens": self._tokens()}


class Live:
    """What the person behind one request may listen to. Queries once, at the first question."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        #: Whether tokens stand in the response, which then belongs to this person and this moment.
        self.gave_tokens = False

    def may_listen(self, channel: Channel) -> bool:
        """Whether to show a panel that this channel feeds."""
        return self._decide(channel).allowed

    def may_publish(self, channel: Channel) -> bool:
        """Whether to offer a form that publishes on this channel."""
        return authorize(self._standing.principal, Action.PUBLISH, channel, self._standing).allowed

    def follow(self, *wanted: Channel) -> Following:
        """Authorise channels and read where they stand now, in one request to the engine of 200 ms at most.

        Call it before reading the page's data, outside any transaction: then nothing falls between the two. The
        person's inbox and their tenant's notices are added. Raises FollowedInTransaction (only with DEBUG).
        """
        if settings.DEBUG and connection.in_atomic_block:
            raise FollowedInTransaction("Call request.live.follow() before the transaction, and before reading data.")
        decisions = {channel: self._decide(channel) for channel in self._with_own(wanted)}
        allowed = [channel for channel, decision in decisions.items() if decision.allowed]
        positions = engine_client.positions(allowed)
        if positions is None:
            POSITIONS_AWAY.inc()
        return Following(
            {
                "connection": {"url": settings.ENGINE_CLIENT_URL, "tokenUrl": "/api/realtime/token"},
                "subscriptionsUrl": "/api/realtime/subscriptions",
                "tenant": tenant.slug if (tenant := self._tenant) else None,
                "user": str(self._request.user.pk) if self._request.user.is_authenticated else None,
                "now": timezone.now().isoformat().replace("+00:00", "Z"),
                "engine": "away" if positions is None else "up",
                "channels": {channel.name: _position(positions, channel) for channel in allowed},
                "denied": {
                    channel.name: {"code": 403, "reason": decision.reason}
                    for channel, decision in decisions.items()
                    if not decision.allowed
                },
            },
            lambda: self._tokens(allowed),
        )

    def _tokens(self, allowed: Iterable[Channel]) -> dict[str, Any] | None:
        """For whom and what `follow` has authorised in this request; None for whoever can have none, now or ever."""
        person = self._standing.principal
        if not isinstance(person, User):
            return None
        try:
            given = {channel.name: tokens.subscription_token(person, channel).token for channel in allowed}
        except CannotUnseal as problem:
            # The page is right as it is rendered; its script asks for tokens until somebody has mended this.
            logger.error("A page came without tokens. %s", problem)
            return None
        self.gave_tokens = True
        TOKENS.labels("given").inc(len(given))
        return {"connection": tokens.connection_token(person).token, "subscriptions": given}

    @cached_property
    def _standing(self) -> Standing:
        """Of whom the API let in, a service perhaps; of the signed-in person where pages are asked for."""
        return Standing(getattr(self._request, "principal", self._request.user))

    @property
    def _tenant(self) -> Any:
        return getattr(self._request, "tenant", None)

    def _decide(self, channel: Channel) -> Decision:
        return authorize(self._standing.principal, Action.SUBSCRIBE, channel, self._standing)

    def _with_own(self, wanted: Iterable[Channel]) -> list[Channel]:
        """The channels asked for, the person's inbox, and their tenant's notices where they may see them."""
        found = list(wanted)
        if isinstance(self._standing.principal, User):
            found.append(channels.inbox(self._standing.principal.pk))
        if tenant := self._tenant:
            notices = channels.tenant(tenant.pk, Topic.NOTIFICATIONS)
            found += [notices] if self.may_listen(notices) else []
        return list(dict.fromkeys(found))


def _position(positions: dict[str, engine_client.Position] | None, channel: Channel) -> dict[str, Any]:
    """Where to subscribe from; nothing when the engine is away: then the page asks for its state once it is back."""
    position = (positions or {}).get(channel.name)
    return {"offset": position.offset, "epoch": position.epoch} if position else {}


class LiveMiddleware:
    """Gives every request its `live`; costs nothing until a page asks. No cache keeps a response with tokens in it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        live = Live(request)
        request.live = live  # type: ignore[attr-defined]
        response = self._get_response(request)
        if live.gave_tokens:
            add_never_cache_headers(response)
        return response
