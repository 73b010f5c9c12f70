"""The demo's life: now and then something is deployed without anybody's click, and sometimes it fails."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from django_scopes import scope

from deployments import actions
from deployments.models import ENDED, Deployment
from events.actors import Actor
from tenants.models import Tenant

TENANT = "acme"
#: One deployment in this time at first. After each ten of a day it grows by as much again, so that a demo left alone
#: comes to about a hundred a day and does not fill the disk.
GAP = timedelta(seconds=150)
#: The last one fails half-way.
TURNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("web", {"SITE_TITLE": "Acme news", "PAGES": 8}),
    ("web", {"SITE_TITLE": "Acme news", "PAGES": 10, "THEME": "dark"}),
    ("web", {"SITE_TITLE": "Acme shop", "PAGES": 6}),
    ("broken", {}),
)


class Schedule:
    """Who asks for these deployments: nobody that could sign in."""

    actor = Actor(kind="service", id=UUID("01900000-0000-7000-8000-00000000de30"), name="Demo schedule")


def deploy_now_and_then() -> Deployment | None:
    """Deploy the next in turn, if it is time and nothing else of the tenant is under way. Only in a demo."""
    if not (settings.DEBUG and settings.DEMO):
        return None
    tenant = Tenant.objects.filter(slug=TENANT, suspended_at=None).first()
    if tenant is None:
        return None
    with scope(tenant=tenant):
        if Deployment.objects.exclude(status__in=ENDED).exists():
            return None
        own = Deployment.objects.filter(requester_id=Schedule.actor.id)
        count, last = own.count(), own.first()
        now = timezone.now()
        today = own.filter(created_at__gt=now - timedelta(days=1)).count()
        if last and now - last.created_at < GAP * (1 + today // 10):
            return None
    slug, parameters = TURNS[count % len(TURNS)]
    # The key: two workers that come to this at once make one.
    return actions.request_deployment(
        tenant, actions.offered_stack(slug), parameters, by=Schedule(), idempotency_key=f"turn {count}"
    )
