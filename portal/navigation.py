"""Every page that stands in a menu, once: the sidebar, the jump dialog and the shortcuts all read these two lists."""

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from tenants.access import Rule
from tenants.models import Role


@dataclass(frozen=True, slots=True)
class Page:
    """`view` is the URL's name, `icon` a picture of the sprite, `key` opens it after `g`; no `role`: any member may.

    `even_suspended`: it is open to people of a tenant that is suspended for what it owes.
    """

    section: str
    title: str
    view: str
    icon: str
    key: str = ""
    role: Role | None = None
    even_suspended: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A page of the menu as one request sees it."""

    page: Page
    url: str


TENANT_PAGES = [
    Page("home", "Home", "tenant_home", "home", "h"),
    Page("deployments", "Deployments", "deployments", "deployments", "d"),
    Page("monitoring", "Monitoring", "monitoring", "pulse", "m"),
    Page("billing", "Billing", "billing", "billing", "b", even_suspended=True),
    Page("activity", "Activity", "activity", "activity", "a", Role.TENANT_ADMIN),
    Page("members", "Members", "members", "people", "p", Role.TENANT_ADMIN),
    Page("notices", "Notices", "notices", "notices"),
    Page("keys", "API keys", "api_keys", "key", "k", Role.TENANT_ADMIN),
    Page("settings", "Settings", "tenant_settings", "gear", "s", Role.TENANT_ADMIN),
]

#: What everybody who is signed in has, wherever they are: the top bar leads there.
PERSON_PAGES = [
    Page("notifications", "Notifications", "notifications", "bell", "n"),
    Page("preferences", "Notification preferences", "notification_preferences", "gear"),
]

#: What platform admins have at /ops/.
OPS_PAGES = [
    Page("ops_home", "Home", "ops_home", "home", "h"),
    Page("ops_tenants", "Tenants", "ops_tenants", "tenant", "t"),
    Page("ops_deployments", "Deployments", "ops_deployments", "deployments", "d"),
    Page("ops_monitoring", "Monitoring", "ops_monitoring", "pulse", "m"),
    Page("ops_billing", "Billing", "ops_billing", "billing", "b"),
    Page("ops_events", "Events", "ops_events", "events", "e"),
    Page("ops_activity", "Activity", "ops_activity", "activity", "a"),
    Page("ops_access", "Access", "ops_access", "access", "s"),
]


def tenant_links(slug: str, role: str) -> list[Link]:
    """The pages of a tenant that this role may open."""
    return [Link(page, reverse(page.view, args=[slug])) for page in TENANT_PAGES if Rule(page.role).admits(role)]


def person_links() -> list[Link]:
    return [Link(page, reverse(page.view)) for page in PERSON_PAGES]


def ops_links() -> list[Link]:
    return [Link(page, reverse(page.view)) for page in OPS_PAGES]


def links_of(request: HttpRequest) -> list[Link]:
    """The menu round this page: the tenant's, the operations portal's, or none."""
    if tenant := getattr(request, "tenant", None):
        links = tenant_links(tenant.slug, request.membership.role)  # type: ignore[attr-defined]
        return [link for link in links if link.page.even_suspended or not tenant.is_suspended]
    return ops_links() if getattr(request, "is_operations", False) else []
