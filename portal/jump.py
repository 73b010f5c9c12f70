"""What a person may jump to: in a tenant its pages, stacks, deployments and invoices; in the operations portal its
pages, tenants, invoices and events."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from billing.models import Invoice, Status
from deployments.models import Deployment, Stack
from deployments.rows import Filters
from events.models import Entry, Event
from portal.navigation import ops_links, person_links, tenant_links
from tenants.models import Role, Tenant

DEPLOYMENTS_SHOWN = 10
INVOICES_SHOWN = 10
TENANTS_SHOWN = 10
LARGEST_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Jump:
    """Where the dialog of this page asks, and what for."""

    url: str
    words: str


def jump_of(request: HttpRequest) -> Jump | None:
    """The jump dialog of the tenant or of the operations portal this page belongs to; elsewhere there is none."""
    if tenant := getattr(request, "tenant", None):
        if tenant.is_suspended:
            return None
        return Jump(reverse("jump", args=[tenant.slug]), "Page, stack, deployment or invoice")
    if getattr(request, "is_operations", False):
        return Jump(reverse("ops_jump"), "Page, tenant, invoice, event id or number")
    return None


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
    found = [target for target in named if wanted in target.title.lower()]
    return [*found, *_deployments(tenant, query.strip()), *_invoices(tenant, query.strip())]


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


def _invoices(tenant: Tenant, query: str) -> Iterator[Target]:
    for invoice in _invoices_with(query).filter(tenant=tenant)[:INVOICES_SHOWN]:
        url = reverse("invoice", args=[tenant.slug, invoice.number])
        yield Target(invoice.get_kind_display(), str(invoice), f"{invoice.total}, {_said(invoice)}", url)


def _invoices_with(query: str) -> QuerySet[Invoice]:
    """Newest first, by a part of their number. None for an empty query: pages come first, and all of them fit."""
    issued = Invoice.objects.exclude(status=Status.DRAFT).order_by("-id")
    return issued.filter(number__icontains=query) if query else issued.none()


def _said(invoice: Invoice) -> str:
    return invoice.get_status_display().lower()


# --- The operations portal --------------------------------------------------------------------------------------------


def ops_targets(query: str) -> list[Target]:
    """Pages and tenants by name, invoices by number, and the one event that has exactly this id or number."""
    wanted = query.strip()
    pages = [Target("Page", link.page.title, "Operations", link.url) for link in ops_links()]
    named = [page for page in pages if wanted.lower() in page.title.lower()]
    return [*_event(wanted), *named, *_tenants(wanted), *_all_invoices(wanted)]


def _all_invoices(wanted: str) -> Iterator[Target]:
    for invoice in _invoices_with(wanted).select_related("tenant")[:INVOICES_SHOWN]:
        detail = f"{invoice.tenant}: {invoice.total}, {_said(invoice)}"
        yield Target(invoice.get_kind_display(), str(invoice), detail, reverse("ops_invoice", args=[invoice.number]))


def _tenants(wanted: str) -> Iterator[Target]:
    found = Tenant.objects.filter(Q(name__icontains=wanted) | Q(slug__icontains=wanted)).order_by("name", "pk")
    for tenant in found[:TENANTS_SHOWN]:
        detail = "Suspended" if tenant.is_suspended else tenant.slug
        yield Target("Tenant", tenant.name, detail, reverse("ops_tenant", args=[tenant.slug]))


def _event(wanted: str) -> Iterator[Target]:
    event = _event_of(wanted)
    if event:
        yield Target("Event", event.summary, event.type, reverse("ops_event", args=[event.uuid]))


def _event_of(wanted: str) -> Event | None:
    if wanted.isdecimal() and int(wanted) <= LARGEST_SEQ:
        entry = Entry.objects.filter(seq=int(wanted)).select_related("event").first()
        return entry.event if entry else None
    try:
        return Event.objects.filter(uuid=UUID(wanted)).first()
    except ValueError:
        return None
