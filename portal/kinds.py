"""What pages call each kind of event, and which page shows what it speaks of: the one table from an event to a link.

Addresses are patterns: `{slug}` is the tenant's, every other field is the event's own, as it goes on the wire.
`static/js/feed.js` fills them in the same way for events that arrive.
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from events import catalogue

_FIELD = re.compile(r"{([^}]+)}")


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of event as people see it. `tenant_page` is empty where no page shows its object; `is_done` is False for
    what NEO_STACK does by itself only.

    Platform admins, who have a page for each event, see that where nothing else shows the object.
    """

    type: str
    title: str
    icon: str = "activity"
    tenant_page: str = ""
    ops_page: str = "/ops/events/{id}/"
    is_done: bool = True


_KNOWN = [
    Kind(
        "deployment_update",
        "Deployment",
        "deployments",
        "/t/{slug}/deployments/{data.number}/",
        "/ops/deployments/{deploymentId}/",
    ),
    Kind(
        "invoice_event",
        "Invoice",
        "billing",
        "/t/{slug}/billing/invoices/{number}/",
        "/ops/billing/invoices/{number}/",
    ),
    Kind("subscription_update", "Plan", "billing", "/t/{slug}/billing/"),
    Kind("usage_threshold_updated", "Threshold", "billing", "/t/{slug}/billing/"),
    Kind("payment_method_updated", "Means of payment", "billing", "/t/{slug}/billing/"),
    Kind("usage_update", "Usage", "billing", "/t/{slug}/billing/", is_done=False),
    Kind("access_changed", "Access", "access", "/t/{slug}/members/"),
    Kind("tenant_updated", "Tenant", "tenant"),
    Kind("tenant_notice", "Notice", "info"),
    Kind("notification", "Notification", "bell", is_done=False),
    Kind("inbox_update", "Inbox", "bell", is_done=False),
    Kind("health_update", "Platform health", "info", is_done=False),
]
_BY_TYPE = {kind.type: kind for kind in _KNOWN}


def kind_of(type_name: str) -> Kind:
    """A type that has no line above goes by its own name, and has no page."""
    return _BY_TYPE.get(type_name) or Kind(type_name, type_name.replace("_", " ").capitalize())


def shown_kinds() -> list[Kind]:
    """Every kind there is but log lines and metrics, by title."""
    quiet = catalogue.high_volume_types()
    kinds = [kind_of(each.type) for each in catalogue.all_types() if each.type not in quiet]
    return sorted(kinds, key=lambda kind: kind.title)


def address(pattern: str, event: dict[str, Any]) -> str:
    """The pattern with an event's fields filled in; empty if one of them has no value."""
    values = [said(event, path) for path in _FIELD.findall(pattern)]
    if "" in values:
        return ""
    left = iter(values)
    return _FIELD.sub(lambda _: quote(next(left), safe=""), pattern)


def said(event: dict[str, Any], path: str) -> str:
    """What a wire event says at "actor.name", as text; empty where it says nothing."""
    found: Any = event
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return "" if found is None else str(found)
