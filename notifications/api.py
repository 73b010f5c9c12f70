"""/api/notifications: a person's inbox. API keys have none.

Every answer to a change says how the inbox is then ({unread, version}) and which notifications it changed. Ids that are
not the caller's, or that need no change, are passed over: repeating a call does no harm.
"""

from datetime import datetime, time
from typing import Any, Literal
from uuid import UUID

from django.core.exceptions import ValidationError as InvalidHabits
from django.db import transaction
from drf_spectacular.utils import OpenApiExample, extend_schema
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from notifications import actions, preferences, reading
from notifications.actions import Outcome
from notifications.kinds import CHOSEN, About, InApp, Pace, Way
from notifications.models import Level, Notification
from tenants.access import ApiKeyAuthentication, person_needed, principal_of
from tenants.api import PAGES, NewestFirst, Strict, page_of, valid
from tenants.etags import CONDITIONAL_READ, with_etag
from tenants.examples import example, with_example

IDS_AT_ONCE = 500
#: The largest that a version can be.
VERSION_MAX = 2**63 - 1


# --- What goes out ----------------------------------------------------------------------------------------------------


class _Resource(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class NotificationResource(_Resource):
    """Names are those of the event `notification`. `number` is its place in the inbox.

    `email` is how far its e-mail has come; null where there is none.
    """

    model_config = example(
        id="01900000-0000-7000-8000-000000000b01",
        number=17,
        kind="deployment_failed",
        title="web #104 failed",
        message="Step build ended with exit code 3.",
        level="error",
        link="/t/acme/deployments/104/",
        object="deployment:01900000-0000-7000-8000-000000000104",
        tenant="acme",
        createdAt="2026-11-23T15:04:15.123+00:00",
        readAt=None,
        archivedAt=None,
        solvedAt=None,
        solvedBy="",
        email="sent",
    )

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
    archived_at: str | None
    solved_at: str | None
    solved_by: str
    email: Literal["waiting", "sending", "sent", "failed", "cancelled"] | None

    @classmethod
    def of(cls, notification: Notification) -> dict[str, Any]:
        return cls(
            id=notification.pk,
            number=notification.number or 0,
            kind=notification.kind,
            title=notification.title,
            message=notification.message,
            level=notification.level,
            link=notification.link,
            object=notification.object_key,
            tenant=notification.tenant.slug if notification.tenant else None,
            created_at=notification.created_at.isoformat(timespec="milliseconds"),
            read_at=_moment(notification.read_at),
            archived_at=_moment(notification.archived_at),
            solved_at=_moment(notification.solved_at),
            solved_by=notification.solved_by,
            email=notification.mail.state if notification.mail else None,  # type: ignore[arg-type]
        ).model_dump(mode="json", by_alias=True)


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds") if moment else None


class NotificationPage(_Resource):
    next: str | None
    previous: str | None
    results: list[NotificationResource]


class InboxState(_Resource):
    model_config = example(unread=3, version=17)

    unread: int
    version: int


class InboxChange(InboxState):
    model_config = example(unread=2, version=18, ids=["01900000-0000-7000-8000-000000000b01"])

    ids: list[UUID]


class PreferenceResource(_Resource):
    """How one kind of notification reaches the caller: whether it is in the inbox, and when its e-mail leaves."""

    kind: str
    title: str
    about: str
    in_app: Literal["on", "off"]
    email: Literal["off", "now", "hourly", "daily"]


class HabitsResource(_Resource):
    """When mail suits the caller. Times of day are of the time zone; without quiet hours both are null."""

    time_zone: str
    digest_at: str
    quiet_from: str | None
    quiet_until: str | None
    urgent_anyway: bool


class PreferencesResource(_Resource):
    model_config = example(
        kinds=[
            {
                "kind": "deployment_failed",
                "title": "A deployment failed",
                "about": "deployments",
                "inApp": "on",
                "email": "now",
            }
        ],
        habits={
            "timeZone": "Europe/Lisbon",
            "digestAt": "08:00",
            "quietFrom": "22:00",
            "quietUntil": "07:00",
            "urgentAnyway": True,
        },
    )

    kinds: list[PreferenceResource]
    habits: HabitsResource

    @classmethod
    def of(cls, user: User) -> dict[str, Any]:
        chosen, habits = preferences.chosen_by(user), preferences.habits_of(user)
        return cls.model_validate(
            {
                "kinds": [
                    {"kind": kind.name, "title": kind.title, "about": kind.about}
                    | {way: chosen[kind.name, way] for way in Way.values}
                    for kind in CHOSEN
                ],
                "habits": {
                    "time_zone": habits.time_zone,
                    "digest_at": _clock(habits.digest_at),
                    "quiet_from": _clock(habits.quiet_from),
                    "quiet_until": _clock(habits.quiet_until),
                    "urgent_anyway": habits.urgent_anyway,
                },
            }
        ).model_dump(mode="json", by_alias=True)


def _clock(shown: time | None) -> str | None:
    return f"{shown:%H:%M}" if shown else None


# --- What comes in ----------------------------------------------------------------------------------------------------


class InboxQuery(serializers.Serializer[Any]):
    unread = serializers.BooleanField(default=False, help_text="Only what is unread.")
    archived = serializers.BooleanField(default=False, help_text="What was put away, instead of the inbox.")
    about = serializers.ChoiceField(About.choices, default="", allow_blank=True, help_text="Only what belongs to this.")
    level = serializers.ChoiceField(Level.choices, default="", allow_blank=True, help_text="Only what is this loud.")
    tenant = serializers.CharField(max_length=50, default="", help_text="Only this tenant's, by its slug.")


@with_example(ids=["01900000-0000-7000-8000-000000000b01"])
class IdsBody(Strict):
    ids = serializers.ListField(child=serializers.UUIDField(), allow_empty=False, max_length=IDS_AT_ONCE)


@with_example(tenant="acme", about="deployments", upTo=17)
class ReadAllBody(Strict):
    tenant = serializers.CharField(max_length=50, required=False, help_text="Only this tenant's, by its slug.")
    about = serializers.ChoiceField(About.choices, required=False, help_text="Only what belongs to this.")
    level = serializers.ChoiceField(Level.choices, required=False, help_text="Only what is this loud.")
    upTo = serializers.IntegerField(
        min_value=0, max_value=VERSION_MAX, required=False, help_text="Only what had arrived by this version."
    )


class _Part(serializers.Serializer[Any]):
    """Part of a body: it, too, refuses fields that it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := set(data) - set(self.fields)):
            raise serializers.ValidationError(dict.fromkeys(sorted(unknown), "There is no such field."))
        return super().to_internal_value(data)


class WishBody(_Part):
    """What to change about one kind."""

    kind = serializers.ChoiceField([kind.name for kind in CHOSEN])
    inApp = serializers.ChoiceField(InApp.choices, required=False)
    email = serializers.ChoiceField(Pace.choices, required=False)


_TIMES: dict[str, Any] = {"required": False, "input_formats": ["%H:%M"], "format": "%H:%M"}


class HabitsBody(_Part):
    timeZone = serializers.CharField(max_length=64, required=False, help_text="Such as Europe/Lisbon.")
    digestAt = serializers.TimeField(**_TIMES, help_text="When the daily digest leaves.")
    quietFrom = serializers.TimeField(**_TIMES, allow_null=True, help_text="From then on e-mails wait.")
    quietUntil = serializers.TimeField(**_TIMES, allow_null=True, help_text="Then they come as one.")
    urgentAnyway = serializers.BooleanField(required=False, help_text="Critical alerts come in quiet hours, too.")


class PreferencesBody(Strict):
    kinds = WishBody(many=True, required=False)
    habits = HabitsBody(required=False)


#: What these are called on the wire, and inside.
_WAYS = {"inApp": Way.IN_APP.value, "email": Way.EMAIL.value}
_HABITS = {
    "timeZone": "time_zone",
    "digestAt": "digest_at",
    "quietFrom": "quiet_from",
    "quietUntil": "quiet_until",
    "urgentAnyway": "urgent_anyway",
}


# --- Views ------------------------------------------------------------------------------------------------------------


class InboxAPIView(APIView):
    """For a signed-in person, about their own inbox."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]  # initial() decides

    person: User
    no_keys = "API keys have no inbox: only a signed-in person has."

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        principal = principal_of(request)
        if not principal.pk:
            raise NotAuthenticated
        if not isinstance(principal, User):
            raise person_needed(self.no_keys)
        self.person = principal


class InboxView(InboxAPIView):
    @extend_schema(
        operation_id="notifications_list",
        parameters=[InboxQuery, *PAGES],
        responses=NotificationPage,
    )
    def get(self, request: Request) -> Response:
        """What is in the inbox, newest first."""
        wanted = valid(InboxQuery(data=request.query_params))
        shown = reading.Filters(
            reading.ARCHIVE if wanted["archived"] else reading.EVERYTHING,
            wanted["tenant"],
            wanted["about"],
            wanted["level"],
        ).apply(self.person)
        found = (shown.filter(read_at=None) if wanted["unread"] else shown).select_related("tenant", "mail")
        return page_of(found, request, NewestFirst(), NotificationResource.of)


class NotificationView(InboxAPIView):
    @extend_schema(operation_id="notification", parameters=CONDITIONAL_READ, responses=NotificationResource)
    def get(self, request: Request, id: UUID) -> Response:
        """One notification of the caller's as it is now, put away or not. 404 for one that was taken out."""
        found = Notification.objects.of(self.person).kept().select_related("tenant", "mail").filter(pk=id).first()
        if found is None:
            raise NotFound
        return with_etag(request, NotificationResource.of(found))


class CountView(InboxAPIView):
    @extend_schema(operation_id="notifications_count", parameters=CONDITIONAL_READ, responses=InboxState)
    def get(self, request: Request) -> Response:
        """How many are unread, as of which version of the inbox."""
        now = reading.badge(self.person)
        return with_etag(request, {"unread": now.unread, "version": now.version})


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


class ArchiveView(ChangeView):
    """Put away what is dealt with: it is kept, and counts as unread no more."""

    def act(self, ids: list[UUID]) -> Outcome:
        return actions.archive(self.person, ids)


class UnarchiveView(ChangeView):
    """Bring back what was put away, read or unread as it was."""

    def act(self, ids: list[UUID]) -> Outcome:
        return actions.unarchive(self.person, ids)


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
        """Mark all of the inbox as read, or a part of it. `ids` are those to mark as unread to undo it."""
        body = valid(ReadAllBody(data=request.data))
        up_to = body.pop("upTo", None)
        return changed(actions.mark_all_read(self.person, up_to=up_to, **body))


class PreferencesView(InboxAPIView):
    @extend_schema(operation_id="notifications_preferences", parameters=CONDITIONAL_READ, responses=PreferencesResource)
    def get(self, request: Request) -> Response:
        """Which kinds of notifications reach the caller in which way, and when mail suits them."""
        return with_etag(request, PreferencesResource.of(self.person))

    @extend_schema(
        operation_id="notifications_choose",
        request=PreferencesBody,
        responses=PreferencesResource,
        examples=[
            OpenApiExample(
                "Quiet nights, one mail a day about paid invoices",
                request_only=True,
                value={
                    "kinds": [{"kind": "invoice_paid", "inApp": "on", "email": "daily"}],
                    "habits": {"timeZone": "Europe/Lisbon", "quietFrom": "22:00", "quietUntil": "07:00"},
                },
            )
        ],
    )
    @transaction.atomic
    def post(self, request: Request) -> Response:
        """Change what is named, and nothing else. All of it is done, or nothing."""
        body = valid(PreferencesBody(data=request.data))
        choices = {
            (wish["kind"], way): wish[name]
            for wish in body.get("kinds", [])
            for name, way in _WAYS.items()
            if name in wish
        }
        preferences.choose(self.person, choices)
        if habits := body.get("habits"):
            self._settle_in({_HABITS[name]: value for name, value in habits.items()})
        return Response(PreferencesResource.of(self.person))

    def _settle_in(self, habits: dict[str, Any]) -> None:
        try:
            preferences.settle_in(self.person, **habits)
        except InvalidHabits as invalid:
            wire = {field: name for name, field in _HABITS.items()}
            named = {wire.get(field, field): errors for field, errors in invalid.message_dict.items()}
            raise serializers.ValidationError({"habits": named}) from None


def changed(outcome: Outcome) -> Response:
    return Response({"unread": outcome.unread, "version": outcome.version, "ids": [str(id) for id in outcome.ids]})
