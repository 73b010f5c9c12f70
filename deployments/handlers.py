"""What this app does when a tenant is deleted, and on the demo's creation."""

from typing import Any

from django.dispatch import receiver
from django_scopes import scope

from accounts.actions import Refused
from deployments.demo.stacks import offer_demo_stacks
from deployments.models import ENDED, Deployment
from tenants.models import Tenant
from tenants.signals import demo_created, tenant_deleting


@receiver(tenant_deleting)
def refuse_while_something_runs(tenant: Tenant, **_: Any) -> None:
    with scope(tenant=tenant):
        waiting = Deployment.objects.filter(tenant=tenant).exclude(status__in=ENDED).count()
    if waiting:
        what = "1 deployment has" if waiting == 1 else f"{waiting} deployments have"
        raise Refused(f"{what} not ended. Nothing was changed: cancel what runs and waits, then delete {tenant}.")


@receiver(demo_created)
def add_demo_stacks(people: dict[str, Any], **_: object) -> None:
    offer_demo_stacks(by=people["admin"])
