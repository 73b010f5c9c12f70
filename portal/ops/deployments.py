"""The deployments of every tenant: the tenants' own list and page, for who looks after all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from deployments import views
from deployments.events import DeploymentUpdate
from deployments.models import Deployment, Release, Stack, Status
from deployments.rows import GROUPS, PAGE_SIZE, Filters, Key, Row, cut, id_in, later_than, queue_places, row
from events import channels, ids
from events.channels import Channel
from events.models import Event
from portal.ops.journeys import journey_of
from portal.ops.tenant_filter import TenantFilter
from tenants.access import PlatformRequest, platform_page
from tenants.models import Tenant

#: In an address, where a page's script puts the id of a deployment it hears of.
NO_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class OpsFilters(Filters):
    """The list's filters, and a tenant."""

    tenant: Tenant | None = None

    @classmethod
    def of(cls, given: QueryDict, tenant: Tenant | None = None) -> "OpsFilters":
        own = Filters.of(given)
        return cls(own.group, own.stack, own.query, tenant)

    def apply(self, deployments: QuerySet[Deployment]) -> QuerySet[Deployment]:
        found = Filters.apply(self, deployments)
        return found.filter(tenant=self.tenant) if self.tenant else found

    def values(self) -> dict[str, str | Key]:
        return Filters.values(self) | {"tenant": self.tenant.slug if self.tenant else ""}


@require_GET
@platform_page
@never_cache
def ops_deployments(request: PlatformRequest) -> HttpResponse:
    live = request.live.follow(channels.ADMIN_DEPLOYMENTS, channels.ADMIN_TENANTS)
    tenants = TenantFilter.of(request.GET)
    if tenants.moved_to:
        return HttpResponseRedirect(tenants.moved_to)
    filters = OpsFilters.of(request.GET, tenants.chosen)
    before, after = id_in(request.GET.get("before")), id_in(request.GET.get("after"))

    def rows(found: list[Deployment]) -> list[Row]:
        tenants.saw(each.tenant for each in found)
        return _rows(found)

    shown = cut(filters.apply(_all()), "id", before, after, rows)
    # Not a join: each tenant has releases of its own, and one of them is enough.
    deployed = Stack.objects.filter(Exists(Release.objects.filter(stack=OuterRef("pk")))).order_by("slug")
    context = {
        "section": "ops_deployments",
        "live": live,
        "updates": channels.ADMIN_DEPLOYMENTS,
        "filters": filters,
        "tabs": [(name, name.capitalize(), filters.address(status=name)) for name in GROUPS],
        "tenants": tenants,
        "stacks": deployed.values_list("slug", flat=True).distinct(),
        "page": shown,
        "older": filters.address(before=str(shown.older)) if shown.older else None,
        "newer": filters.address(after=str(shown.newer)) if shown.newer else None,
        "page_size": PAGE_SIZE,
        "blank": Row(),
        "of_all": {"url": address(NO_ID), "tenant_id": filters.tenant.id if filters.tenant else ""},
    }
    return render(request, "portal/ops/deployments.html", context)


@require_GET
@platform_page
@never_cache
def ops_deployment(request: PlatformRequest, deployment_id: UUID) -> HttpResponse:
    """One deployment, and how far the last event about it has come."""
    lines_channel = _lines_channel(deployment_id)
    sees_log = request.live.may_listen(lines_channel)
    live = request.live.follow(channels.ADMIN_DEPLOYMENTS, *([lines_channel] if sees_log else []))
    context = _detail(_deployment(deployment_id)) | {"live": live}
    if sees_log:
        context |= views.log_window(request, context["deployment"])
        context |= {"lines_channel": lines_channel, "log_urls": _log_urls(deployment_id)}
    return render(request, "portal/ops/deployment.html", context)


def _deployment(deployment_id: UUID) -> Deployment:
    deployment = _all().select_related("retry_of", "rollback_of").filter(pk=deployment_id).first()
    if deployment is None:
        raise Http404
    return deployment


# --- Its log: for whoever the policies let listen to it ---------------------------------------------------------------


def _lines_channel(deployment_id: UUID) -> Channel:
    tenant_id = Deployment.objects.filter(pk=deployment_id).values_list("tenant_id", flat=True).first()
    if tenant_id is None:
        raise Http404
    return channels.deployment(tenant_id, deployment_id)


def _log_urls(deployment_id: UUID) -> dict[str, str]:
    return {what: reverse(f"ops_log_{what}", args=[deployment_id]) for what in ("lines", "search", "download")}


def _log_page(answer: Callable[[HttpRequest, Deployment], HttpResponse]) -> Callable[..., HttpResponseBase]:
    @require_GET
    @platform_page
    @never_cache
    def page(request: PlatformRequest, deployment_id: UUID) -> HttpResponse:
        if not request.live.may_listen(_lines_channel(deployment_id)):
            raise Http404
        return answer(request, _deployment(deployment_id))

    return page


ops_log_lines = _log_page(views.lines_of)
ops_log_search = _log_page(views.found_in)
ops_log_download = _log_page(views.download_of)


def address(deployment_id: UUID) -> str:
    return reverse("ops_deployment", args=[deployment_id])


def _all() -> QuerySet[Deployment]:
    """With everything a row says, in one query."""
    return Deployment.objects.select_related("release__stack", "tenant")


def _rows(deployments: list[Deployment]) -> list[Row]:
    places = queue_places(each.tenant_id for each in deployments if each.status == Status.QUEUED)
    return [row(each, places.get(each.id), address(each.id), each.tenant.name) for each in deployments]


def _detail(deployment: Deployment) -> dict[str, Any]:
    event = _last_event(deployment)
    return {
        "section": "ops_deployments",
        "updates": channels.ADMIN_DEPLOYMENTS,
        "deployment": deployment,
        "row": _rows([deployment])[0],
        "later": [(each, address(each.id)) for each in later_than(deployment)],
        "runs_again": deployment.retry_of or deployment.rollback_of,
        "any_url": address(NO_ID),
        "event": event,
        **(journey_of(event) if event else {"journey_is_complete": True}),
    }


def _last_event(deployment: Deployment) -> Event | None:
    """The event that says what the row says; None once it is pruned. Looked for among those made since the deployment.

    The range of ids keeps the search short: no index holds what is in a payload.
    """
    told = Event.objects.filter(
        tenant=deployment.tenant,
        type=DeploymentUpdate.type,
        uuid__gte=ids.first_at(deployment.created_at),
        payload__deploymentId=str(deployment.id),
        payload__version=deployment.version,
    )
    return told.order_by("-id").first()
