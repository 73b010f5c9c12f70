"""What every page's frame needs, read only when a template asks for it."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from portal.jump import jump_of
from portal.navigation import links_of
from tenants.access import memberships_of
from tenants.models import Tenant

THEMES = ("auto", "light", "dark")


def chosen_theme(request: HttpRequest) -> str:
    theme = request.COOKIES.get("theme", "auto")
    return theme if theme in THEMES else "auto"


def tenants_to_open(request: HttpRequest) -> list[Tenant]:
    """The tenants this person can switch to, by name; suspended ones are left out."""
    return [membership.tenant for membership in memberships_of(request.user) if not membership.tenant.is_suspended]


def layout(request: HttpRequest) -> dict[str, Any]:
    """The theme, the menu, where the jump dialog asks, and the tenants a person can switch to."""
    return {
        "theme": chosen_theme(request),
        "themes": THEMES,
        "links": SimpleLazyObject(lambda: links_of(request)),
        "jump": SimpleLazyObject(lambda: jump_of(request)),
        "my_tenants": SimpleLazyObject(lambda: tenants_to_open(request)),
    }
