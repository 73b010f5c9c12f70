"""A person's inbox, over all their tenants; and a tenant's notices, with the form for whoever may send one."""

from typing import Any, cast
from uuid import UUID, uuid4
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from pydantic import ValidationError as InvalidEvent

from accounts.models import User
from events import channels
from events.channels import Topic
from events.live import Live
from notifications import actions, unsubscribing
from notifications.forms import NoticeForm, PreferencesForm
from notifications.kinds import About
from notifications.models import Level, Mail, Notice, Notification
from notifications.preferences import choose, chosen_by, habits_of, settle_in
from notifications.reading import ARCHIVE, EVERYTHING, PAGE_SIZE, UNREAD, Filters, badge, page
from tenants.access import TenantRequest, memberships_of, not_found, tenant_page
from tenants.rates import seconds_to_wait

MAILS_SHOWN = 10

#: What the person did last, kept in their session until the page has offered to undo it.
UNDO = "inbox_undo"
NOTICES_SHOWN = 50


class PersonRequest(HttpRequest):
    user: User
    live: Live


# --- The inbox --------------------------------------------------------------------------------------------------------


@require_GET
@login_required
@never_cache
def inbox(request: PersonRequest) -> HttpResponse:
    """What is new for this person, what speaks of the same together."""
    live = request.live.follow()
    now = badge(request.user)  # before the rows: no row is older than the version that the page says it has
    filters = Filters.of(request.GET)
    shown = page(filters.apply(request.user), _number(request.GET.get("before")), _number(request.GET.get("after")))
    tenants = [one.tenant for one in memberships_of(request.user) if not one.tenant.is_suspended]
    context = {
        "section": "notifications",
        "live": live,
        "bell": now,
        "filters": filters,
        "page": shown,
        "page_size": PAGE_SIZE,
        "older": filters.address(before=shown.older) if shown.older else None,
        "newer": filters.address(after=shown.newer) if shown.newer else None,
        "tabs": [
            (word, filters.address(show=show), filters.show == show)
            for word, show in (("Inbox", EVERYTHING), ("Unread", UNREAD), ("Archive", ARCHIVE))
        ],
        "abouts": About.choices,
        "tenants": tenants,
        "tenant_names": {str(tenant.pk): tenant.name for tenant in tenants},
        "tenant_id": next((str(tenant.pk) for tenant in tenants if tenant.slug == filters.tenant), ""),
        "here": filters.address(),
        "blank": Notification(id=UUID(int=0)),
        "levels": dict(Level.choices),
        "undo": request.session.pop(UNDO, None),
    }
    return render(request, "notifications/inbox.html", context)


#: What a form of the page may ask for: the action, the words for one and for several, and what undoes it.
_ASKED: dict[str, tuple[Any, str, str]] = {
    "read": (actions.mark_read, "Marked as read", "mark_unread"),
    "mark_unread": (actions.mark_unread, "Marked as unread", "read"),
    "archive": (actions.archive, "Put into the archive", "unarchive"),
    "unarchive": (actions.unarchive, "Moved to the inbox", "archive"),
    "remove": (actions.remove, "Removed", "restore"),
    "restore": (actions.restore, "Brought back", "remove"),
}


@require_POST
@login_required
def change(request: PersonRequest) -> HttpResponse:
    """Do what a form of the inbox asks, then show the inbox as it was, with the way back."""
    asked, filters = request.POST.get("do", ""), Filters.of(request.POST)
    if asked == "read_all":
        part = {"tenant": filters.tenant, "about": filters.about, "level": filters.level}
        outcome = actions.mark_all_read(request.user, up_to=_number(request.POST.get("up_to")), **part)
        words, back = "Marked as read", "mark_unread"
    elif asked in _ASKED:
        act, words, back = _ASKED[asked]
        outcome = act(request.user, _ids(request.POST.getlist("id")))
    else:
        return redirect("notifications")
    if outcome.ids:
        count = f"{len(outcome.ids)} notification{'' if len(outcome.ids) == 1 else 's'}"
        request.session[UNDO] = {"words": f"{words}: {count}.", "do": back, "ids": [str(id) for id in outcome.ids]}
    return redirect(reverse("notifications") + filters.address())


def _ids(given: list[str]) -> list[UUID]:
    """Those that are ids; a form of ours sends no others."""
    found = []
    for text in given:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 16 else None


# --- Preferences ------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def preferences(request: PersonRequest) -> HttpResponse:
    """Which kinds reach this person in which way, when mail suits them, and what became of their last mails."""
    live = request.live.follow()
    data = request.POST if request.method == "POST" else None
    form = PreferencesForm(chosen_by(request.user), habits_of(request.user), data)
    if form.is_valid() and _is_saved(request.user, form):
        messages.success(request, "Saved.")
        return redirect("notification_preferences")
    context = {
        "section": "preferences",
        "live": live,
        "form": form,
        "zones": sorted(available_timezones()),
        "mails": Mail.objects.filter(user=request.user)[:MAILS_SHOWN],
    }
    return render(request, "notifications/preferences.html", context)


def _is_saved(user: User, form: PreferencesForm) -> bool:
    """Save all of it, or say at the fields why nothing was saved."""
    try:
        with transaction.atomic():
            choose(user, form.choices())
            if habits := form.habits():
                settle_in(user, **habits)
    except ValidationError as invalid:
        for field, errors in invalid.message_dict.items():
            form.add_error(field if field in form.fields else None, errors)
        return False
    return True


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """What a mail's link leads to, for whoever has the mail. Looking at it changes nothing: mail servers do, too.

    Posting to it is the mail program's one click (RFC 8058), which comes without a session and without a CSRF token;
    the signature in the address stands for both.
    """
    try:
        asked = unsubscribing.read(token)
        context: dict[str, Any] = {"kinds": asked.kinds, "address": asked.user.email}
        if request.method == "POST" and request.POST.get("undo"):
            unsubscribing.undo(asked, request.POST["undo"])
            context["is_undone"] = True
        elif request.method == "POST":
            context["undo"] = unsubscribing.unsubscribe(asked)
    except unsubscribing.BadLink:
        return not_found()
    return render(request, "notifications/unsubscribe.html", context)


# --- Notices ----------------------------------------------------------------------------------------------------------


class NoticeRequest(TenantRequest):
    live: Live


@require_GET
@tenant_page()
@never_cache
def notices(request: NoticeRequest) -> HttpResponse:
    """What was said to everybody in the tenant, newest first."""
    channel = channels.tenant(request.tenant.id, Topic.NOTIFICATIONS)
    live = request.live.follow(channel)
    context = {
        "section": "notices",
        "live": live,
        "channel": channel,
        "notices": Notice.objects.filter(tenant=request.tenant)[:NOTICES_SHOWN],
        "size": NOTICES_SHOWN,
        "may_send": request.live.may_publish(channel),
        "levels": dict(Level.choices),
        "blank": Notice(),
    }
    return render(request, "notifications/notices.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page()
@never_cache
def send_notice(request: NoticeRequest) -> HttpResponse:
    """The form for whoever the channel policies let publish notices. Its id makes sending it twice sending once."""
    live = request.live.follow()
    channel = channels.tenant(request.tenant.id, Topic.NOTIFICATIONS)
    context: dict[str, Any] = {"section": "notices", "live": live}
    if not request.live.may_publish(channel):
        return render(request, "notifications/may_not_send.html", context, status=403)
    if request.method != "POST":
        form = NoticeForm(initial={"notice_id": uuid4(), "level": Level.INFO})
        return render(request, "notifications/send.html", context | {"form": form})
    form = NoticeForm(request.POST)
    if form.is_valid() and not _is_too_fast(request, form) and _sent(request, form):
        messages.success(request, f"Sent to everybody in {request.tenant.name}.")
        return redirect("notices", request.tenant.slug)
    return render(request, "notifications/send.html", context | {"form": form})


def _is_too_fast(request: NoticeRequest, form: NoticeForm) -> bool:
    """The limit of the publish API, counted together with it."""
    limit = settings.PUBLISHED_PER_SECOND["notifications"]
    wait = seconds_to_wait(limit, "notifications", str(request.tenant.pk))
    if wait:
        form.add_error(None, f"{limit} notices a second are the limit of a company. Try again in {wait} s.")
    return bool(wait)


def _sent(request: NoticeRequest, form: NoticeForm) -> bool:
    facts = form.cleaned_data
    if Notice.objects.filter(tenant=request.tenant, pk=facts["notice_id"]).exists():
        return True  # this very form, sent before
    try:
        actions.send_notice(request.tenant, cast(User, request.user), **facts)
    except InvalidEvent as invalid:
        for problem in invalid.errors():
            name = str(problem["loc"][0])
            form.add_error(name if name in form.fields else None, problem["msg"])
        return False
    return True
