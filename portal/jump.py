"""What a person may jump to in a tenant: its pages, its stacks, its deployments."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import reverse

from deployments.models import Deployment, Stack
from deployments.rows import Filters
from portal.navigation import person_links, tenant_links
from tenants.models import Role, Tenant

DEPLOYMENTS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Target:
    kind: str
    title: str
    detail: str
    url: str


def targets(tenant: Tenant, role: str, query: str) -> list[Target]:
    """Whatever holds `query` in its name, in any case; only what this role may open."""
    wanted = query.strip().lower()
    named = [*_pages(tenant, role), *(_stacks(tenant) if role == Role.TENANT_ADMIN else [])]
    return [target for target in named if wanted in target.title.lower()] + list(_deployments(tenant, query.strip()))


def _pages(tenant: Tenant, role: str) -> Iterator[Target]:
    for link in tenant_links(tenant.slug, role):
        yield Target("Page", link.page.title, tenant.name, link.url)
    for link in person_links():
        yield Target("Page", link.page.title, "All your companies", link.url)
    if role == Role.TENANT_ADMIN:
        yield Target("Page", "Deploy", "Choose a stack", reverse("deploy", args=[tenant.slug]))


def _stacks(tenant: Tenant) -> Iterator[Target]:
    deploy = reverse("deploy", args=[tenant.slug])
    for stack in Stack.objects.offered().order_by("name"):
        yield Target("Stack", stack.name, f"Deploy version {stack.version}", f"{deploy}?stack={stack.slug}")


def _deployments(tenant: Tenant, query: str) -> Iterator[Target]:
    found = Filters(query=query).apply(Deployment.objects.filter(tenant=tenant)).order_by("-number")
    for deployment in found[:DEPLOYMENTS_SHOWN]:
        url = reverse("deployment", args=[tenant.slug, deployment.number])
        yield Target("Deployment", deployment.title, deployment.get_status_display(), url)
