"""The pages of deployments: list, Deploy, one deployment with its log, and what can be asked of it.

Each page authorises, reads its channels' positions, and only then its data: what it shows is never older than where
it listens from.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from deployments import actions, logs
from deployments.forms import DeployForm
from deployments.models import Deployment, Level, Stack, Status
from deployments.rows import GROUPS, PAGE_SIZE, Filters, Row, later_than, number_in, page, page_of, queue_places, row
from events import channels
from events.channels import Channel, Topic
from events.live import Following, Live
from tenants.access import TenantRequest, tenant_page
from tenants.models import Role, Tenant

LOG_WINDOW_LINES = 200
#: Lines shown above the first error of a log that opens there.
LOG_LEAD_LINES = 20
LOG_PAGE_LINES = 1_000
SEARCH_LIMIT_LINES = 10_000
KEY_MAX_CHARACTERS = 255


class PageRequest(TenantRequest):
    live: Live


def updates_channel(request: PageRequest) -> Channel:
    """Where this person hears of deployments: their own channel, or the dashboard for those who may only see status."""
    own = channels.tenant(request.tenant.id, Topic.DEPLOYMENTS)
    return own if request.live.may_listen(own) else channels.tenant(request.tenant.id, Topic.DASHBOARD)


def may_change(request: TenantRequest) -> bool:
    return request.membership.role == Role.TENANT_ADMIN


def shown_deployments(tenant: Tenant) -> Any:
    """With everything a row says, in one query."""
    return Deployment.objects.filter(tenant=tenant).select_related("release__stack")


# --- List and Deploy --------------------------------------------------------------------------------------------------


@require_GET
@tenant_page()
@never_cache
def deployment_list(request: PageRequest) -> HttpResponse:
    updates = updates_channel(request)
    live = request.live.follow(updates)
    filters = Filters.of(request.GET)
    shown = page(filters.apply(shown_deployments(request.tenant)), request.tenant, request.GET)
    context = {
        "section": "deployments",
        "live": live,
        "updates": updates,
        "filters": filters,
        "tabs": [(name, name.capitalize(), filters.address(status=name)) for name in GROUPS],
        # Those this tenant has deployed: what else there is, approved or not, is no filter of its list.
        "stacks": Stack.objects.filter(releases__tenant=request.tenant)
        .order_by("slug")
        .values_list("slug", flat=True)
        .distinct(),
        "page": shown,
        "older": filters.address(before=shown.older) if shown.older else None,
        "newer": filters.address(after=shown.newer) if shown.newer else None,
        "page_size": PAGE_SIZE,
        "blank": Row(),
        "may_change": may_change(request),
    }
    return render(request, "deployments/list.html", context)


@require_GET
@tenant_page()
@never_cache
def stack_releases(request: PageRequest, stack: str) -> HttpResponse:
    """What this tenant completed of a stack, newest first: each can be rolled back to."""
    updates = updates_channel(request)
    live = request.live.follow(updates)
    known = Stack.objects.filter(slug=stack, releases__tenant=request.tenant).order_by("-version").first()
    if known is None:
        raise Http404
    completed = shown_deployments(request.tenant).filter(status=Status.COMPLETED, release__stack__slug=stack)
    shown = page(completed, request.tenant, request.GET)
    context = {
        "section": "deployments",
        "live": live,
        "updates": updates,
        "stack": known,
        "page": shown,
        "older": f"?before={shown.older}" if shown.older else None,
        "newer": f"?after={shown.newer}" if shown.newer else None,
        "page_size": PAGE_SIZE,
        "blank": Row(),
        "may_change": may_change(request),
    }
    return render(request, "deployments/releases.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def deploy(request: PageRequest) -> HttpResponse:
    """Choose a stack, fill in its parameters, deploy. The form's key makes sending it twice deploying once."""
    live = request.live.follow()
    offered = list(Stack.objects.offered().order_by("name"))
    wanted = request.POST.get("stack") or request.GET.get("stack")
    stack = next((stack for stack in offered if stack.slug == wanted), None)
    context: dict[str, Any] = {"section": "deployments", "live": live, "stacks": offered, "stack": stack}
    if stack is None:
        return render(request, "deployments/choose_stack.html", context | {"is_gone": bool(wanted)})
    if request.method != "POST":
        return render(request, "deployments/deploy.html", context | {"form": DeployForm(stack), "key": uuid4()})
    form = DeployForm(stack, request.POST)
    status = 200  # a form that comes back is an answer; Chromium would report a 422 as an error of the page
    if form.is_valid():
        try:
            deployment = actions.request_deployment(
                request.tenant,
                stack,
                form.values(),
                by=request.user,
                name=form.cleaned_data["name"] or None,
                idempotency_key=_key(request),
            )
        except actions.InvalidRequest as invalid:
            form.add_errors(invalid.errors)
        except actions.Refused as refused:
            form.add_error(None, str(refused))
            status = 409
        else:
            return redirect("deployment", request.tenant.slug, deployment.number)
    context |= {"form": form, "key": _key(request) or uuid4()}
    return render(request, "deployments/deploy.html", context, status=status)


def _key(request: PageRequest) -> str | None:
    """The key that the form was given; None for what no form of ours sends, and no database may take."""
    key = request.POST.get("idempotency_key", "")
    return key if 0 < len(key) <= KEY_MAX_CHARACTERS and key.isprintable() else None


# --- One deployment ---------------------------------------------------------------------------------------------------


@require_GET
@tenant_page()
@never_cache
def deployment_detail(request: PageRequest, number: int) -> HttpResponse:
    """Status, digest and steps for every member; the log for whoever may listen to it."""
    lines_channel = channels.deployment(request.tenant.id, _id_of(request.tenant, number=number))
    sees_log = request.live.may_listen(lines_channel)
    updates = updates_channel(request)
    live = request.live.follow(updates, *([lines_channel] if sees_log else []))
    deployment = _deployment(request.tenant, number)
    context = _detail(request, deployment, live) | {"updates": updates}
    if sees_log:
        context |= log_window(request, deployment) | {
            "lines_channel": lines_channel,
            "log_urls": _log_urls(request, number),
        }
    return render(request, "deployments/detail.html", context)


@require_GET
@tenant_page()
def deployment_by_id(request: PageRequest, deployment_id: UUID) -> HttpResponse:
    """Links in events and mails carry the id; the page's own address has the number."""
    number = Deployment.objects.filter(tenant=request.tenant, pk=deployment_id).values_list("number", flat=True).first()
    if number is None:
        raise Http404
    return redirect("deployment", request.tenant.slug, number)


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def cancel_deployment(request: PageRequest, number: int) -> HttpResponse:
    deployment = _deployment(request.tenant, number)
    try:
        actions.cancel(deployment, by=request.user)
    except actions.NotCancellable as refused:
        return _refused(request, deployment, refused)
    return redirect("deployment", request.tenant.slug, number)


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def retry_deployment(request: PageRequest, number: int) -> HttpResponse:
    """Queue it again, if it still is what the page showed when the button was pressed."""
    return _run_again(request, number, actions.retry)


@require_POST
@tenant_page(role=Role.TENANT_ADMIN)
def roll_back_to_deployment(request: PageRequest, number: int) -> HttpResponse:
    """Queue what it ran, as it was, if it still is what the page showed when the button was pressed."""
    return _run_again(request, number, actions.roll_back)


def _run_again(request: PageRequest, number: int, action: Callable[..., Deployment]) -> HttpResponse:
    deployment = _deployment(request.tenant, number)
    seen = request.POST.get("version", "")
    try:
        again = action(
            deployment,
            by=request.user,
            expected_version=number_in(seen),
            idempotency_key=_key(request),
        )
    except actions.Refused as refused:
        return _refused(request, deployment, refused)
    return redirect("deployment", request.tenant.slug, again.number)


def _id_of(tenant: Tenant, number: int) -> UUID:
    found = Deployment.objects.filter(tenant=tenant, number=number).values_list("pk", flat=True).first()
    if found is None:
        raise Http404
    return found


def _deployment(tenant: Tenant, number: int) -> Deployment:
    deployment = shown_deployments(tenant).select_related("retry_of", "rollback_of").filter(number=number).first()
    if deployment is None:
        raise Http404
    return deployment


def _detail(request: PageRequest, deployment: Deployment, live: Following) -> dict[str, Any]:
    place = queue_places([request.tenant.id]).get(deployment.id) if deployment.status == Status.QUEUED else None
    release = deployment.release
    return {
        "section": "deployments",
        "live": live,
        "deployment": deployment,
        "row": row(deployment, place, page_of(deployment, request.tenant)),
        "later": [(each, page_of(each, request.tenant)) for each in later_than(deployment)],
        "any_url": reverse("deployment", args=[request.tenant.slug, 0]),
        "parameters": [
            (name, "hidden" if isinstance(value, dict) else value) for name, value in sorted(release.parameters.items())
        ],
        "may_change": may_change(request),
        "key": uuid4(),
    }


def _refused(request: PageRequest, deployment: Deployment, refused: actions.Refused) -> HttpResponse:
    """409: what was asked for, what is so now, and what to do instead."""
    now = getattr(refused, "deployment", deployment)
    context = {
        "section": "deployments",
        "deployment": now,
        "refused": refused,
        "seen_version": request.POST.get("version", ""),
        "seen_status": dict(Status.choices).get(request.POST.get("seen_status", ""), ""),
    }
    return render(request, "deployments/changed.html", context, status=409)


# --- Log --------------------------------------------------------------------------------------------------------------


def _log_urls(request: PageRequest, number: int) -> dict[str, str]:
    names = {"lines": "log_lines", "search": "log_search", "download": "log_download"}
    return {what: reverse(name, args=[request.tenant.slug, number]) for what, name in names.items()}


def log_window(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    """For `deployments/log.html`: what the page opens with, and a search's hits for those without JavaScript."""
    total = logs.line_count(deployment)
    first_error = logs.first_error(deployment) if deployment.has_ended else None
    first = _window_start(request.GET.get("from", ""), total, first_error)
    lines = logs.lines(deployment, after=first - 1, limit=LOG_WINDOW_LINES)
    query, level = _search_terms(request)
    last = lines[-1].number if lines else 0
    return {
        "sees_log": True,
        "lines": lines,
        "first_line": first,
        "last_line": last,
        # The lines are read after the count: some may have come meanwhile.
        "total_lines": max(total, last),
        "first_error": first_error,
        "older_from": max(1, first - LOG_WINDOW_LINES) if first > 1 else None,
        "newer_from": last + 1 if last < total else None,
        "query": query,
        "level": level,
        "levels": Level.choices,
        "hits": logs.search(deployment, query, level=level or None, limit=LOG_WINDOW_LINES) if query or level else None,
    }


def _window_start(asked: str, total: int, first_error: int | None) -> int:
    if (number := number_in(asked)) is not None:
        return max(1, min(number, total))
    tail = max(1, total - LOG_WINDOW_LINES + 1)
    return tail if first_error is None else max(1, min(tail, first_error - LOG_LEAD_LINES))


def _search_terms(request: HttpRequest) -> tuple[str, str]:
    level = request.GET.get("level", "")
    return request.GET.get("q", "")[:200], level if level in Level.values else ""


@require_GET
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def log_lines(request: PageRequest, number: int) -> HttpResponse:
    return lines_of(request, _deployment(request.tenant, number))


@require_GET
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def log_search(request: PageRequest, number: int) -> HttpResponse:
    return found_in(request, _deployment(request.tenant, number))


@require_GET
@tenant_page(role=Role.TENANT_ADMIN)
@never_cache
def log_download(request: PageRequest, number: int) -> HttpResponse:
    return download_of(request, _deployment(request.tenant, number))


def lines_of(request: HttpRequest, deployment: Deployment) -> JsonResponse:
    """`{lines: [[number, level, time, text], ...], last}`: up to `limit` lines above `after`, and the last there is."""
    after, limit = number_in(request.GET.get("after", "0")), number_in(request.GET.get("limit"))
    if after is None:
        return JsonResponse({"error": "after is the number of a line."}, status=400)
    wanted = LOG_PAGE_LINES if limit is None else min(limit, LOG_PAGE_LINES)
    found = logs.lines(deployment, after=after, limit=max(1, wanted))
    lines = [[line.number, line.level, line.at.isoformat(timespec="milliseconds"), line.text] for line in found]
    return JsonResponse({"lines": lines, "last": logs.line_count(deployment)})


def found_in(request: HttpRequest, deployment: Deployment) -> JsonResponse:
    """`{matches: [number, ...], isCut}`: which lines of the whole log hold `q`, at a level or at any."""
    query, level = _search_terms(request)
    found = logs.search(deployment, query, level=level or None, limit=SEARCH_LIMIT_LINES + 1)
    return JsonResponse(
        {
            "matches": [line.number for line in found[:SEARCH_LIMIT_LINES]],
            "isCut": len(found) > SEARCH_LIMIT_LINES,
        }
    )


def download_of(request: HttpRequest, deployment: Deployment) -> HttpResponse:
    """The complete log so far, as plain text or with its colour codes."""
    ansi = request.GET.get("format") == "ansi"
    # Read whole, within the tenant's scope: a runner's output limit keeps it small enough.
    response = HttpResponse("".join(logs.download(deployment, ansi=ansi)), content_type="text/plain; charset=utf-8")
    suffix = "ansi" if ansi else "txt"
    response["Content-Disposition"] = f'attachment; filename="{deployment.name}-{deployment.number}.{suffix}"'
    return response
