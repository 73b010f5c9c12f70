"""Who did what on the whole platform, with the tenant named."""

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.models import User
from events import channels
from events.log import Asked, Whose
from portal.activity import ALL, ITSELF, Feed, Filters, Rows, feed, people_of, read_filters, with_chosen
from portal.kinds import shown_kinds
from portal.ops.tenant_filter import TenantFilter
from tenants.access import PlatformRequest, platform_page
from tenants.models import Tenant

#: Days and times of a page over all tenants are in the platform's own zone.
ZONE = "UTC"


@require_GET
@platform_page
@never_cache
def ops_activity(request: PlatformRequest) -> HttpResponse:
    """Everything but log lines and metrics; unless asked otherwise, only what somebody did."""
    live = request.live.follow(channels.ADMIN_EVENTS)
    tenants = TenantFilter.of(request.GET)
    if tenants.moved_to:
        return HttpResponseRedirect(tenants.moved_to)
    filters = read_filters(request.GET, ZONE, named=(ALL, ITSELF), tenant=tenants.chosen)
    since, until = filters.period
    asked = Asked(
        Whose.PLATFORM,
        tenant_id=filters.tenant,
        actor=filters.actor(),
        kinds=[filters.kind] if filters.kind else [],
        since=since,
        until=until,
    )
    may_listen = request.live.may_listen(channels.ADMIN_EVENTS)
    rows = Rows(filters, names_of=tenants.names_of)
    shown = feed(asked, filters, rows, channels.ADMIN_EVENTS, may_listen=may_listen)
    context = {
        "section": "ops_activity",
        "live": live,
        "feed": shown,
        "filters": filters,
        "denied": "" if may_listen else live.config["denied"][channels.ADMIN_EVENTS.name]["reason"],
        "people": with_chosen(_people(tenants.chosen), filters, shown.rows),
        "kinds": shown_kinds(),
        "tenants": tenants,
    }
    return render(request, "portal/activity.html", context)


class Elsewhere(Filters):
    """The filters of the activity page as another page's links need them: with the page's own address."""

    def address(self, **changed: object) -> str:
        return reverse("ops_activity") + Filters.address(self, **changed)


def newest(size: int) -> Feed:
    """The last things that somebody did anywhere on the platform, for the operations home."""
    filters = Elsewhere(zone=ZONE)
    return feed(Asked(Whose.PLATFORM, actor=filters.actor()), filters, Rows(filters), channels.ADMIN_EVENTS, size=size)


def _people(tenant: Tenant | None) -> list[tuple[str, str]]:
    """The platform's own admins, and the people of the tenant that is asked for."""
    admins = User.objects.filter(is_superuser=True, is_active=True).order_by("name")
    found = {str(admin.pk): admin.actor.name for admin in admins}
    return list((found | dict(people_of(tenant) if tenant else [])).items())
