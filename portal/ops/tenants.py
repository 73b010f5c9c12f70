"""Every tenant: who needs help, and what the platform's staff can do about one of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from deployments.models import ACTIVE, Deployment, Status
from events import channels
from events.channels import Topic
from events.models import Entry
from portal.charts import SILENT_AFTER_SECONDS, metrics_now
from tenants import actions
from tenants.access import PlatformRequest, platform_page
from tenants.models import ApiKey, Membership, Tenant

PAGE_SIZE = 50
DEPLOYMENTS_SHOWN = 10
BROKEN = (Status.FAILED, Status.LOST)
GROUPS = {"all": "All", "help": "Needs help", "suspended": "Suspended"}


def midnight() -> datetime:
    """When today began, in UTC, which the pages name."""
    return timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)


def broken_today() -> QuerySet[Deployment]:
    return Deployment.objects.filter(status__in=BROKEN, ended_at__gte=midnight())


# --- The list ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for; an unknown value counts as not given."""

    group: str = "all"
    query: str = ""

    @classmethod
    def of(cls, given: QueryDict) -> "Filters":
        group = given.get("show", "all")
        return cls(group if group in GROUPS else "all", given.get("q", "").replace("\x00", "").strip()[:100])

    @property
    def is_set(self) -> bool:
        return self != Filters()

    def apply(self, tenants: QuerySet[Tenant]) -> QuerySet[Tenant]:
        if self.query:
            tenants = tenants.filter(Q(name__icontains=self.query) | Q(slug__icontains=self.query))
        if self.group == "suspended":
            tenants = tenants.filter(suspended_at__isnull=False)
        if self.group == "help":
            # Asked once for all of them, and not of each in turn.
            tenants = tenants.filter(Q(suspended_at__isnull=False) | Q(pk__in=broken_today().values("tenant")))
        return tenants

    def address(self, **changed: str) -> str:
        values = {"show": self.group, "q": self.query} | changed
        kept = {name: value for name, value in values.items() if value and value != "all"}
        return f"?{urlencode(kept)}"


@dataclass(frozen=True, slots=True)
class Row:
    """A tenant with its figures. `last_activity`: when somebody of it, or for it, did something."""

    tenant: Tenant
    members: int
    running: int
    failed_today: int
    last_activity: datetime | None


@require_GET
@platform_page
@never_cache
def ops_tenants(request: PlatformRequest) -> HttpResponse:
    live = request.live.follow(channels.ADMIN_TENANTS, channels.ADMIN_DEPLOYMENTS)
    filters = Filters.of(request.GET)
    found, has_previous, has_next = _page(filters.apply(Tenant.objects.all()), request.GET)
    totals = Tenant.objects.aggregate(all=Count("pk"), suspended=Count("pk", filter=Q(suspended_at__isnull=False)))
    context = {
        "section": "ops_tenants",
        "live": live,
        "filters": filters,
        "tabs": [(name, word, filters.address(show=name)) for name, word in GROUPS.items()],
        "rows": list(_rows(found)),
        "previous": filters.address(before=found[0].slug) if has_previous else None,
        "next": filters.address(after=found[-1].slug) if has_next else None,
        "totals": totals | {"failing": broken_today().order_by().values("tenant").distinct().count()},
    }
    return render(request, "portal/ops/tenants.html", context)


def _page(tenants: QuerySet[Tenant], given: QueryDict) -> tuple[list[Any], bool, bool]:
    """PAGE_SIZE tenants by name, `after` or `before` the one with this slug; whether there are more on each side."""
    last_act = Entry.objects.filter(tenant_id=OuterRef("pk"), is_activity=True, actor_id__isnull=False)
    tenants = tenants.annotate(last_activity=Subquery(last_act.order_by("-seq").values("occurred_at")[:1]))
    after, before = _named(given.get("after")), _named(given.get("before"))
    if before:
        # The first condition is where the index of names begins to be read; alone it would let in too many.
        within = tenants.filter(Q(name__lt=before.name) | Q(name=before.name, pk__lt=before.pk), name__lte=before.name)
        found = list(within.order_by("-name", "-pk")[: PAGE_SIZE + 1])
        return found[:PAGE_SIZE][::-1], len(found) > PAGE_SIZE, bool(found)
    if after:
        tenants = tenants.filter(Q(name__gt=after.name) | Q(name=after.name, pk__gt=after.pk), name__gte=after.name)
    found = list(tenants.order_by("name", "pk")[: PAGE_SIZE + 1])
    return found[:PAGE_SIZE], after is not None and bool(found), len(found) > PAGE_SIZE


def _named(slug: str | None) -> Tenant | None:
    """None for what is no slug: PostgreSQL takes no NUL."""
    return Tenant.objects.filter(slug=slug).first() if slug and slug.isprintable() else None


def _rows(tenants: list[Any]) -> Iterable[Row]:
    """Their figures, in three queries however many they are."""
    ids = [tenant.pk for tenant in tenants]
    members = _counted(Membership.objects.filter(tenant__in=ids))
    running = _counted(Deployment.objects.filter(tenant__in=ids, status__in=ACTIVE))
    failed = _counted(broken_today().filter(tenant__in=ids))
    for tenant in tenants:
        yield Row(tenant, members[tenant.pk], running[tenant.pk], failed[tenant.pk], tenant.last_activity)


def _counted(rows: QuerySet[Any]) -> Counter[UUID]:
    return Counter(dict(rows.order_by().values_list("tenant").annotate(count=Count("pk"))))


# --- One tenant -------------------------------------------------------------------------------------------------------


@require_GET
@platform_page
@never_cache
def ops_tenant(request: PlatformRequest, slug: str) -> HttpResponse:
    """How it stands, and how its metrics are now: what its own people see move on their home moves here, too."""
    dashboard = channels.tenant(_tenant(slug).pk, Topic.DASHBOARD)
    live = request.live.follow(channels.ADMIN_TENANTS, channels.ADMIN_DEPLOYMENTS, dashboard)
    context = _detail(slug) | {"live": live}
    if request.live.may_listen(dashboard):
        now = metrics_now(context["tenant"])
        context |= {"dashboard": dashboard, "metrics": now, "silent_after": SILENT_AFTER_SECONDS}
    return render(request, "portal/ops/tenant.html", context)


def _detail(slug: str) -> dict[str, Any]:
    tenant = _tenant(slug)
    shown = Deployment.objects.filter(tenant=tenant).order_by("-number")
    keys = ApiKey.objects.filter(tenant=tenant, revoked=False)
    return {
        "section": "ops_tenants",
        "tenant": tenant,
        "members": list(Membership.objects.filter(tenant=tenant).select_related("user")),
        "keys": keys.count(),
        "key_used_at": keys.order_by("-last_used_at")
        .exclude(last_used_at=None)
        .values_list("last_used_at", flat=True)
        .first(),
        "deployments": list(shown[:DEPLOYMENTS_SHOWN]),
        "running": shown.filter(status__in=ACTIVE).count(),
        "failed_today": broken_today().filter(tenant=tenant).count(),
    }


def _tenant(slug: str) -> Tenant:
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        raise Http404
    return tenant


class SuspendForm(forms.Form):
    reason = forms.CharField(
        max_length=actions.REASON_MAX,
        label="Reason",
        help_text="Its people read this where their pages were, and it stands in the activity.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@platform_page
@never_cache
def suspend_tenant(request: PlatformRequest, slug: str) -> HttpResponse:
    """Ask for the reason, say what will happen, and do it."""
    tenant = _tenant(slug)
    form = SuspendForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            actions.suspend(tenant, request.user, form.cleaned_data["reason"], seen_suspended=False)
        except actions.StaleVersion as stale:
            return _changed_meanwhile(request, tenant, stale)
        messages.success(request, f"{tenant} is suspended. Its people and keys have no access any more.")
        return redirect("ops_tenant", slug)
    context = {
        "section": "ops_tenants",
        "live": request.live.follow(),
        "tenant": tenant,
        "form": form,
        "people": Membership.objects.filter(tenant=tenant).count(),
        "keys": ApiKey.objects.filter(tenant=tenant, revoked=False).count(),
        "running": Deployment.objects.filter(tenant=tenant, status__in=ACTIVE).count(),
    }
    return render(request, "portal/ops/suspend.html", context)


@require_POST
@platform_page
@never_cache
def resume_tenant(request: PlatformRequest, slug: str) -> HttpResponse:
    tenant = _tenant(slug)
    try:
        actions.resume(tenant, request.user, seen_suspended=True)
    except actions.StaleVersion as stale:
        return _changed_meanwhile(request, tenant, stale)
    messages.success(request, f"{tenant} is resumed. Its people and keys have their access back.")
    return redirect("ops_tenant", slug)


def _changed_meanwhile(request: PlatformRequest, tenant: Tenant, stale: actions.StaleVersion) -> HttpResponse:
    """409: what was seen, and what is so now."""
    context = {"section": "ops_tenants", "tenant": stale.now, "seen": tenant, "refused": stale}
    return render(request, "portal/ops/tenant_changed.html", context, status=409)
