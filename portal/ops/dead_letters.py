"""What consumers gave up on: to be delivered after all, one by one or all of them, or skipped for good."""

import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import User
from deployments.rows import cut, number_in
from events import actions
from events.models import DeadLetter
from tenants.access import PlatformRequest, platform_page

ID_DIGITS = 18
#: One request tries so many, and begins none after so long: an engine that is away answers slowly.
BATCH = 20
BATCH_SECONDS = 5.0


def waiting(consumer: str = "") -> QuerySet[DeadLetter]:
    letters = DeadLetter.objects.filter(resolution="")
    return letters.filter(cursor=consumer) if consumer else letters


def _consumer(given: str | None) -> str:
    return (given or "").replace("\x00", "")[:100]


@require_GET
@platform_page
@never_cache
def ops_dead_letters(request: PlatformRequest) -> HttpResponse:
    live = request.live.follow()
    consumer = _consumer(request.GET.get("consumer"))
    before, after = (number_in(request.GET.get(name), ID_DIGITS) for name in ("before", "after"))
    tried_to = number_in(request.GET.get("tried_to"), ID_DIGITS) or 0
    page = cut(waiting(consumer).select_related("event__tenant"), "id", before, after)
    context = {
        "section": "ops_events",
        "live": live,
        "consumer": consumer,
        "consumers": waiting().values("cursor").annotate(letters=Count("id")).order_by("cursor"),
        "page": page,
        "older": f"?{urlencode({'consumer': consumer, 'before': page.older})}" if page.older else None,
        "newer": f"?{urlencode({'consumer': consumer, 'after': page.newer})}" if page.newer else None,
        "tried_to": tried_to,
        "left": waiting(consumer).filter(id__gt=tried_to).count(),
        "batch": BATCH,
    }
    return render(request, "portal/ops/dead_letters.html", context)


@require_POST
@platform_page
def retry_letter(request: PlatformRequest, letter_id: int) -> HttpResponse:
    return _resolve(request, letter_id, actions.retry, "Delivered")


@require_POST
@platform_page
def skip_letter(request: PlatformRequest, letter_id: int) -> HttpResponse:
    return _resolve(request, letter_id, actions.skip, "Skipped for good")


def _resolve(request: PlatformRequest, letter_id: int, action: Callable[..., None], done: str) -> HttpResponse:
    letter = DeadLetter.objects.select_related("event").filter(pk=letter_id).first()
    if letter is None:
        raise Http404
    try:
        action(letter, by=request.user)
    except actions.AlreadyResolved as resolved:
        messages.warning(request, f"Nothing was done: somebody has resolved it already ({resolved}).")
    except actions.StillFailing as error:
        messages.error(request, f"It failed again and waits as before: {error}")
    else:
        messages.success(request, f"{done}: {letter.event.summary}")
    return redirect("ops_dead_letters") if "back" in request.POST else redirect("ops_event", letter.event.uuid)


@require_POST
@platform_page
def retry_waiting(request: PlatformRequest) -> HttpResponse:
    """Try the next batch of those that wait, oldest first, from the letter after `tried_to` on; never one twice.

    Answers `{delivered, failed, left, triedTo}` to a script that goes on while something is left.
    """
    consumer = _consumer(request.POST.get("consumer"))
    tried_to = number_in(request.POST.get("tried_to"), ID_DIGITS) or 0
    delivered, failed, tried_to = _retry_batch(waiting(consumer).filter(id__gt=tried_to), tried_to, by=request.user)
    left = waiting(consumer).filter(id__gt=tried_to).count()
    if request.accepts("text/html"):
        return _said(request, consumer, delivered, failed, left, tried_to)
    return JsonResponse({"delivered": delivered, "failed": failed, "left": left, "triedTo": tried_to})


def _retry_batch(letters: QuerySet[DeadLetter], tried_to: int, by: User) -> tuple[int, int, int]:
    """How many were delivered, how many failed again, and the id of the last one tried."""
    delivered = failed = 0
    ends = time.monotonic() + BATCH_SECONDS
    for letter in letters.order_by("id")[:BATCH]:
        if time.monotonic() > ends:
            break
        try:
            actions.retry(letter, by=by)
            delivered += 1
        except actions.StillFailing:
            failed += 1
        except actions.AlreadyResolved:
            pass  # somebody else was quicker: it waits no more, which is what was asked for
        tried_to = letter.pk
    return delivered, failed, tried_to


def _said(
    request: HttpRequest, consumer: str, delivered: int, failed: int, left: int, tried_to: int
) -> HttpResponseRedirect:
    words = f"{delivered} delivered, {failed} failed again and wait as before, {left} not tried yet."
    messages.add_message(cast(HttpRequest, request), messages.WARNING if failed else messages.SUCCESS, words)
    again = urlencode({"consumer": consumer, "tried_to": tried_to if left else ""})
    return redirect(f"{reverse('ops_dead_letters')}?{again}")
