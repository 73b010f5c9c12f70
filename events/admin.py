from collections.abc import Callable

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django_scopes import scopes_disabled

from events import actions, log
from events.journey import journey
from events.models import Cursor, DeadLetter, Event, Heartbeat


class UncountedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Counting a log of millions takes seconds: the newest 10,000 can be paged through, all can be searched."""

    @cached_property
    def count(self) -> int:
        return len(self.object_list.values_list("pk")[:10_000])  # type: ignore[attr-defined]


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Shows, and changes nothing: what the log says is not edited."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """The log, and each event's journey."""

    list_display = ["occurred_at", "seq", "type", "tenant", "summary"]
    list_filter = ["type"]
    list_select_related = ["entry", "tenant"]
    search_fields = ["=uuid", "=entry__seq"]
    search_help_text = "The event's id or its sequence number"
    show_full_result_count = False
    paginator = UncountedPaginator
    ordering = ["-id"]
    fields = ["journey", "uuid", "type", "tenant", "occurred_at", "actor", "summary", "payload", "channels", "revokes"]
    readonly_fields = ["journey", "actor"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        with scopes_disabled():
            events: QuerySet[Event] = super().get_queryset(request)
            return events

    def view_on_site(self, event: Event) -> str:
        """The same, live."""
        return reverse("ops_event", args=[event.uuid])

    @admin.display(description="Seq")
    def seq(self, event: Event) -> int | None:
        entry = getattr(event, "entry", None)
        return entry.seq if entry else None

    @admin.display(description="Actor")
    def actor(self, event: Event) -> str:
        return f"{event.actor_name} ({event.actor_kind} {event.actor_id})" if event.actor_kind else "nobody"

    @admin.display(description="Journey")
    def journey(self, event: Event) -> SafeString:
        steps = [
            (localtime(step.at).isoformat(sep=" ", timespec="milliseconds") if step.at else "—", step.text)
            for step in journey(event)
        ]
        return format_html_join("\n", "<div>{} {}</div>", steps)


@admin.register(Cursor)
class CursorAdmin(ReadOnlyAdmin):
    """How far behind each consumer is, and why."""

    search_fields = ["name", "last_error"]

    list_display = ["name", "position", "lag", "owner", "lease_expires_at", "attempts", "next_try_at", "last_error"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cursor]:
        self.newest = log.newest_seq()
        cursors: QuerySet[Cursor] = super().get_queryset(request)
        return cursors

    @admin.display(description="Lag (entries)")
    def lag(self, cursor: Cursor) -> int:
        return self.newest - cursor.position


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    """Which processes said that they are alive, when, and until when that holds."""

    list_display = ["kind", "name", "detail", "at", "expires_at"]
    list_filter = ["kind"]
    search_fields = ["kind", "name", "detail"]
    ordering = ["kind", "name"]


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """What was given up, to be delivered after all or skipped."""

    list_display = ["created_at", "cursor", "channel", "event", "attempts", "error", "resolution", "resolved_by"]
    list_filter = ["resolution", "cursor"]
    list_select_related = ["event"]
    search_fields = ["cursor", "channel", "error", "=event__uuid"]
    actions = ["retry", "skip"]

    def view_on_site(self, letter: DeadLetter) -> str:
        """Its event's journey, live."""
        return reverse("ops_event", args=[letter.event.uuid])

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("events.change_deadletter")

    @admin.action(description="Deliver now", permissions=["resolve"])
    def retry(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._resolve(request, queryset, actions.retry, "Delivered")

    @admin.action(description="Skip for good", permissions=["resolve"])
    def skip(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Asks first: a skipped dead letter is never delivered."""
        if "confirmed" not in request.POST:
            context = self.admin_site.each_context(request) | {"letters": queryset, "title": "Skip for good?"}
            return TemplateResponse(request, "events/admin_skip.html", context)
        self._resolve(request, queryset, actions.skip, "Skipped")
        return None

    def _resolve(
        self, request: HttpRequest, letters: QuerySet[DeadLetter], action: Callable[..., None], done: str
    ) -> None:
        resolved, by = 0, request.user
        for letter in letters.order_by("id"):
            try:
                action(letter, by=by)
                resolved += 1
            except (actions.AlreadyResolved, actions.StillFailing) as error:
                self.message_user(request, f"{letter}: {_said(error)}", messages.ERROR)
        self.message_user(request, f"{done}: {resolved}.", messages.SUCCESS if resolved else messages.WARNING)


def _said(error: Exception) -> str:
    if isinstance(error, actions.AlreadyResolved):
        return f"nothing was done, it is already resolved ({error})."
    return f"failed again and waits as before: {error}"
