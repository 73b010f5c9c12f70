"""Tokens for browsers, publishing, and the feed."""

import logging
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import (
    APIException,
    NotAuthenticated,
    PermissionDenied,
    Throttled,
    ValidationError,
)
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from events import catalogue, channels
from events.channels import Channel, InvalidChannel
from realtime import feed, publishing, rates, tokens
from realtime.keys import CannotUnseal
from realtime.metrics import PUBLICATIONS, TOKENS
from realtime.models import Action
from realtime.policies import SCOPES, Standing, authorize
from realtime.tokens import Signed
from tenants import idempotency
from tenants.access import ApiKeyAuthentication, person_needed, principal_of, scope_needed
from tenants.examples import with_example
from tenants.models import ApiKey
from tenants.schema import refusals

logger = logging.getLogger("realtime.tokens")

TYPES_AT_ONCE = 20
NOT_A_CHANNEL = "This is not the name of a channel."


class PrincipalAPIView(APIView):
    """For whoever is signed in or has an API key; what exactly they may, `authorize` decides channel by channel."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.principal = self.admit(request)

    def admit(self, request: Request) -> User | ApiKey:
        principal = principal_of(request)
        if not isinstance(principal, User | ApiKey):
            raise NotAuthenticated
        return principal


class PersonAPIView(PrincipalAPIView):
    """For people only: a service has no page that could be live."""

    principal: User
    no_keys = "API keys get no connection tokens: read GET /api/events."

    def admit(self, request: Request) -> User:
        principal = super().admit(request)
        if not isinstance(principal, User):
            raise person_needed(self.no_keys)
        return principal


# --- Tokens -----------------------------------------------------------------------------------------------------------


@with_example(token="eyJhbGciOiJIUzI1NiJ9.e30.c2ln", url="/connection/websocket", expires_at="2026-11-23T15:14:05Z")  # noqa: S106
class ConnectionTokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField()
    url = serializers.CharField(help_text="Where to connect. A path is relative to the page's address.")
    expires_at = serializers.DateTimeField()


class ConnectionTokenView(PersonAPIView):
    """A connection token, for the `data` of the connect command."""

    @extend_schema(request=None, responses=ConnectionTokenSerializer)
    def post(self, request: Request) -> Response:
        signed = tokens.connection_token(self.principal)
        return Response({"token": signed.token, "url": settings.ENGINE_CLIENT_URL, "expires_at": _end(signed)})


@with_example(channels=["tenant:01900000-0000-7000-8000-000000000001:dashboard", "system:health"])
class WantedChannelsSerializer(serializers.Serializer[Any]):
    channels = serializers.ListField(
        child=serializers.CharField(allow_blank=True, max_length=1000, trim_whitespace=False), allow_empty=False
    )

    def validate_channels(self, names: list[str]) -> list[str]:
        if len(names) > settings.CHANNELS_PER_CONNECTION:
            raise serializers.ValidationError(f"Ask for {settings.CHANNELS_PER_CONNECTION} channels at most.")
        return list(dict.fromkeys(names))


class DenialSerializer(serializers.Serializer[Any]):
    code = serializers.IntegerField(help_text="403: not allowed. 400: no channel has this name. Both are final.")
    reason = serializers.CharField()


@with_example(
    tokens={"tenant:01900000-0000-7000-8000-000000000001:dashboard": "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"},
    denied={"system:health": {"code": 403, "reason": "Only platform admins may see this."}},
)
class SubscriptionTokensSerializer(serializers.Serializer[Any]):
    tokens = serializers.DictField(child=serializers.CharField(), help_text="By the channel's name.")
    denied = serializers.DictField(child=DenialSerializer(), help_text="By the channel's name.")


class SigningKeysUnreadable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "signing_keys_unreadable"
    default_detail = (
        "Nobody can be given subscription tokens now: the platform can't read its signing keys. Its log says what to "
        "do. Pages stay as they are and try again."
    )


class SubscriptionTokensView(PersonAPIView):
    """Subscription tokens for all the channels of a page at once. What is denied says why, beside what is allowed."""

    @extend_schema(
        request=WantedChannelsSerializer,
        responses={200: SubscriptionTokensSerializer} | refusals(SigningKeysUnreadable()),
    )
    def post(self, request: Request) -> Response:
        wanted = WantedChannelsSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        standing = Standing(self.principal)
        given: dict[str, str] = {}
        denied: dict[str, dict[str, Any]] = {}
        for name in wanted.validated_data["channels"]:
            try:
                channel = channels.parse(name)
            except InvalidChannel:
                denied[name] = {"code": 400, "reason": NOT_A_CHANNEL}
                continue
            decision = authorize(self.principal, Action.SUBSCRIBE, channel, standing)
            if decision.allowed:
                given[name] = tokens.subscription_token(self.principal, channel).token
            else:
                denied[name] = {"code": 403, "reason": decision.reason}
        TOKENS.labels("given").inc(len(given))
        TOKENS.labels("denied").inc(len(denied))
        return Response({"tokens": given, "denied": denied})

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, CannotUnseal):
            logger.error("Nobody is given subscription tokens. %s", exc)
            exc = SigningKeysUnreadable()
        return super().handle_exception(exc)


def _end(signed: Signed) -> str:
    return datetime.fromtimestamp(signed.expires_at, UTC).isoformat().replace("+00:00", "Z")


# --- Publishing -------------------------------------------------------------------------------------------------------


@with_example(
    channel="tenant:01900000-0000-7000-8000-000000000001:notifications",
    event={"type": "tenant_notice", "title": "Maintenance", "message": "At 22:00 UTC.", "level": "warning"},
)
class PublicationSerializer(serializers.Serializer[Any]):
    channel = serializers.CharField(max_length=1000, trim_whitespace=False)
    event = serializers.DictField(help_text='`type`, and the fields of that type: {"type": "tenant_notice", ...}.')


@with_example(id="01900000-0000-7000-8000-000000000e01")
class PublishedSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="The event's id.")


class KeyConflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = idempotency.CONFLICT
    default_detail = "This Idempotency-Key was used for another request. Nothing was published: take a new one."


def denied(reason: str, rule: object) -> PermissionDenied:
    return PermissionDenied(f"{reason} (Rule: {rule}.)", code="denied_by_policy")


class PublishView(PrincipalAPIView):
    """Publish an event, through the action of the app that owns its type."""

    @extend_schema(
        request=PublicationSerializer,
        responses={202: PublishedSerializer}
        | refusals(denied("Only tenant admins may publish here.", "tenant:*:billing"), KeyConflict(), Throttled(1)),
        parameters=[
            OpenApiParameter(
                idempotency.HEADER,
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                description=f"Sent again with the same request within {settings.IDEMPOTENCY_KEYS_KEPT_HOURS} hours, "
                "it answers the same and does nothing.",
            )
        ],
    )
    def post(self, request: Request) -> Response:
        asked = PublicationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        channel = _channel(asked.validated_data["channel"])
        decision = authorize(self.principal, Action.PUBLISH, channel)
        if not decision.allowed:
            raise denied(decision.reason, decision.rule)
        if wait := rates.seconds_to_wait(channel):
            raise Throttled(wait)
        try:
            event_id = publishing.publish(
                self.principal, channel, asked.validated_data["event"], idempotency.key_of(request)
            )
        except publishing.OtherBody:
            raise KeyConflict from None
        return Response({"id": str(event_id)}, status=status.HTTP_202_ACCEPTED)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, publishing.Refused):
            problems = [{"code": code, "detail": detail, "attr": attr} for code, attr, detail in exc.problems]
            return Response({"type": "validation_error", "errors": problems}, status=status.HTTP_400_BAD_REQUEST)
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        PUBLICATIONS.labels(str(response.status_code)).inc()
        return super().finalize_response(request, response, *args, **kwargs)


def _channel(name: str) -> Channel:
    try:
        return channels.parse(name)
    except InvalidChannel:
        raise ValidationError({"channel": NOT_A_CHANNEL}) from None


# --- The feed ---------------------------------------------------------------------------------------------------------


class FeedQuerySerializer(serializers.Serializer[Any]):
    after = serializers.IntegerField(min_value=0, max_value=2**63 - 1, required=False, default=None)
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100)
    type = serializers.ListField(
        child=serializers.CharField(max_length=100),
        max_length=TYPES_AT_ONCE,
        required=False,
        help_text="Once for each type of event. Default: all.",
    )

    def validate_type(self, names: list[str]) -> list[str]:
        try:
            return [catalogue.get(name).type for name in names]
        except catalogue.UnknownType as unknown:
            raise serializers.ValidationError(str(unknown)) from None


@with_example(
    events=[
        {
            "id": "01900000-0000-7000-8000-000000000e01",
            "seq": 5002,
            "type": "usage_update",
            "at": "2026-11-23T15:04:05.123Z",
            "tenantId": "01900000-0000-7000-8000-000000000001",
            "resource": "deployment_minutes",
            "version": 7,
            "usage": 412.5,
            "limit": 500,
            "percentage": 82.5,
        }
    ],
    next=5002,
)
class FeedPageSerializer(serializers.Serializer[Any]):
    events = serializers.ListField(child=serializers.DictField(), help_text="In order. See the event types.")
    next = serializers.IntegerField(help_text="The last sequence number looked at: the next call's `after`.")


class Gone(APIException):
    status_code = status.HTTP_410_GONE
    default_code = "gone"


class FeedView(PrincipalAPIView):
    """The log as the caller may see it, in order. Poll it with the `next` of the answer before as `after`."""

    @extend_schema(
        parameters=[FeedQuerySerializer, OpenApiParameter("type", str, many=True, description="Once for each type.")],
        responses={200: FeedPageSerializer}
        | refusals(scope_needed(SCOPES[Action.SUBSCRIBE]), Gone(str(feed.Gone(oldest=5001)))),
    )
    def get(self, request: Request) -> Response:
        scope = SCOPES[Action.SUBSCRIBE]
        if isinstance(self.principal, ApiKey) and not self.principal.allows(scope):
            raise scope_needed(scope)
        query = FeedQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        try:
            wanted = query.validated_data
            page = feed.read(self.principal, wanted["after"], wanted["limit"], wanted.get("type", ()))
        except feed.Gone as gone:
            raise Gone(str(gone)) from None
        return Response({"events": page.events, "next": page.next})
