"""/api/notifications: a person's inbox. API keys have none.

Every answer to a change says how the inbox is then ({unread, version}) and which notifications it changed. Ids that are
not the caller's, or that need no change, are passed over: repeating a call does no harm.
"""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from notifications import actions, reading
from notifications.actions import Outcome
from notifications.models import Notification
from tenants.access import ApiKeyAuthentication, principal_of
from tenants.api import NewestFirst, Strict, valid

IDS_AT_ONCE = 500
#: The largest that a version can be.
VERSION_MAX = 2**63 - 1


# --- What goes out ----------------------------------------------------------------------------------------------------


class _Resource(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class NotificationResource(_Resource):
    """Names are those of the event `notification`. `number` is its place in the inbox."""

    id: UUID
    number: int
    kind: str
    title: str
    message: str
    level: str
    link: str
    object: str
    tenant: str | None
    created_at: str
    read_at: str | None

    @classmethod
    def of(cls, notification: Notification) -> dict[str, Any]:
        created, read = notification.created_at, notification.read_at
        return cls(
            id=notification.pk,
            number=notification.number,
            kind=notification.kind,
            title=notification.title,
            message=notification.message,
            level=notification.level,
            link=notification.link,
            object=notification.object_key,
            tenant=notification.tenant.slug if notification.tenant else None,
            created_at=created.isoformat(timespec="milliseconds"),
            read_at=read.isoformat(timespec="milliseconds") if read else None,
        ).model_dump(mode="json", by_alias=True)


class NotificationPage(_Resource):
    next: str | None
    previous: str | None
    results: list[NotificationResource]


class InboxState(_Resource):
    unread: int
    version: int


class InboxChange(InboxState):
    ids: list[UUID]


# --- What comes in ----------------------------------------------------------------------------------------------------


class InboxQuery(serializers.Serializer[Any]):
    unread = serializers.BooleanField(default=False, help_text="Only what is unread.")
    tenant = serializers.CharField(max_length=50, default="", help_text="Only this tenant's, by its slug.")


class IdsBody(Strict):
    ids = serializers.ListField(child=serializers.UUIDField(), allow_empty=False, max_length=IDS_AT_ONCE)


class ReadAllBody(Strict):
    tenant = serializers.CharField(max_length=50, required=False, help_text="Only this tenant's, by its slug.")
    upTo = serializers.IntegerField(
        min_value=0, max_value=VERSION_MAX, required=False, help_text="Only what had arrived by this version."
    )


# --- Views ------------------------------------------------------------------------------------------------------------


class InboxAPIView(APIView):
    """For a signed-in person, about their own inbox."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]  # initial() decides

    person: User

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        principal = principal_of(request)
        if not principal.pk:
            raise NotAuthenticated
        if not isinstance(principal, User):
            raise PermissionDenied("API keys have no inbox: only a signed-in person has.", code="person_needed")
        self.person = principal


class InboxView(InboxAPIView):
    @extend_schema(
        operation_id="notifications_list",
        parameters=[InboxQuery, OpenApiParameter("cursor", str)],
        responses=NotificationPage,
    )
    def get(self, request: Request) -> Response:
        """What is in the inbox, newest first, 50 a page."""
        wanted = valid(InboxQuery(data=request.query_params))
        found = reading.Filters(wanted["unread"], wanted["tenant"]).apply(self.person)
        pages = NewestFirst()
        page = pages.paginate_queryset(found, request, view=self) or []
        return pages.get_paginated_response([NotificationResource.of(one) for one in page])


class CountView(InboxAPIView):
    @extend_schema(operation_id="notifications_count", responses=InboxState)
    def get(self, request: Request) -> Response:
        """How many are unread, as of which version of the inbox."""
        now = reading.badge(self.person)
        return Response({"unread": now.unread, "version": now.version})


class ChangeView(InboxAPIView):
    """One of the changes that take ids."""

    def act(self, ids: list[UUID]) -> Outcome:
        raise NotImplementedError

    @extend_schema(request=IdsBody, responses=InboxChange)
    def post(self, request: Request) -> Response:
        ids = valid(IdsBody(data=request.data))["ids"]
        return changed(self.act(ids))


class ReadView(ChangeView):
    """Mark as read."""

    def act(self, ids: list[UUID]) -> Outcome:
        return actions.mark_read(self.person, ids)


class MarkUnreadView(ChangeView):
    """Mark as unread again."""

    def act(self, ids: list[UUID]) -> Outcome:
        return actions.mark_unread(self.person, ids)


class RemoveView(ChangeView):
    """Take out of the inbox. It can be restored for some days."""

    def act(self, ids: list[UUID]) -> Outcome:
        return actions.remove(self.person, ids)


class RestoreView(ChangeView):
    """Bring back what was removed, read or unread as it was."""

    def act(self, ids: list[UUID]) -> Outcome:
        return actions.restore(self.person, ids)


class ReadAllView(InboxAPIView):
    @extend_schema(request=ReadAllBody, responses=InboxChange)
    def post(self, request: Request) -> Response:
        """Mark everything as read, or what one tenant sent. `ids` are those to mark as unread to undo it."""
        body = valid(ReadAllBody(data=request.data))
        return changed(actions.mark_all_read(self.person, tenant=body.get("tenant"), up_to=body.get("upTo")))


def changed(outcome: Outcome) -> Response:
    return Response({"unread": outcome.unread, "version": outcome.version, "ids": [str(id) for id in outcome.ids]})
