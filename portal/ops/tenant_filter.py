"""The tenant that a page over all of them is narrowed to, and the names of those on it: one way for every such page.

While there are few tenants the filter lists them; with more it is a search field. Either way a page costs what it
shows, not what there is: it reads LISTED + 1 tenants at most, and those of its own rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpResponse, JsonResponse, QueryDict
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from deployments.rows import id_in
from tenants.access import PlatformRequest, platform_page
from tenants.models import Tenant

#: So many tenants are offered as a list. With more the filter is a search field.
LISTED = 100
#: Of those that somebody may have meant.
CANDIDATES_SHOWN = 10
#: One request for names answers for so many.
NAMES_AT_ONCE = 100
TEXT_MAX = 150


def find(text: str) -> list[Tenant]:
    """The tenants that `text` may mean, by name: the one with this slug or id, else all of this name, else all that
    have it in their name or slug. CANDIDATES_SHOWN of them, and one more where there are more.
    """
    exact = Q(slug=text) | (Q(pk=pk) if (pk := id_in(text)) else Q())
    for fits in (exact, Q(name__iexact=text), Q(name__icontains=text) | Q(slug__icontains=text)):
        if found := list(Tenant.objects.filter(fits).order_by("name", "slug")[: CANDIDATES_SHOWN + 1]):
            return found
    return []


class Named(NamedTuple):
    """What a page says of a tenant that it only names. A hundred whole ones would be a tenth of the page's time."""

    id: UUID
    slug: str
    name: str
    version: int

    @classmethod
    def all_of(cls, tenants: QuerySet[Tenant], limit: int | None = None) -> "list[Named]":
        return [cls(*row) for row in tenants.order_by().values_list(*cls._fields)[:limit]]


@dataclass
class TenantFilter:
    """What `?tenant=` asks for, and what `portal/ops/tenant_filter.html` and `tenant_unclear.html` show of it.

    `asked` is its text, `chosen` the one tenant that it means; without one the page is about every tenant, and
    `candidates` are those that it may have meant. `listed` are all there are, by name; None where these are too many.
    """

    asked: str
    chosen: Tenant | None
    candidates: list[Tenant]
    listed: list[Named] | None
    given: QueryDict
    _known: dict[UUID, Tenant | Named] = field(default_factory=dict)

    @classmethod
    def of(cls, given: QueryDict) -> "TenantFilter":
        asked = given.get("tenant", "").replace("\x00", "").strip()[:TEXT_MAX]
        found = find(asked) if asked else []
        chosen = found[0] if len(found) == 1 else None
        made = cls(asked, chosen, [] if chosen else found, _listed(), given)
        made.saw([*found, *(made.listed or [])])
        return made

    @property
    def moved_to(self) -> str:
        """Where the page of the chosen one is, if it was named by something that may mean another one tomorrow."""
        if self.chosen is None or self.asked in (self.chosen.slug, str(self.chosen.id)):
            return ""
        return self._address(self.chosen)

    @property
    def without(self) -> str:
        """The same page about every tenant."""
        return self._address(None)

    @property
    def choices(self) -> list[tuple[Tenant, str]]:
        """The candidates that are shown, each with the address of its page."""
        return [(tenant, self._address(tenant)) for tenant in self.candidates[:CANDIDATES_SHOWN]]

    @property
    def has_more(self) -> bool:
        return len(self.candidates) > CANDIDATES_SHOWN

    def _address(self, tenant: Tenant | None) -> str:
        """This page with its other filters. Places (`before`, `after`) are another list's, and left out."""
        kept = {
            name: value for name, value in self.given.items() if value and name not in ("tenant", "before", "after")
        }
        return f"?{urlencode(kept | ({'tenant': tenant.slug} if tenant else {}))}"

    # --- Names ---

    def saw(self, tenants: Iterable[Tenant | Named | None]) -> None:
        """These are on the page."""
        self._known |= {tenant.id: tenant for tenant in tenants if tenant}

    def names_of(self, ids: set[UUID]) -> dict[UUID, str]:
        """The names of those that the page's rows speak of; one query for all it has not seen yet."""
        if missing := ids - self._known.keys():
            self.saw(Named.all_of(Tenant.objects.filter(pk__in=missing)))
        return {id: self._known[id].name for id in ids if id in self._known}

    @property
    def names(self) -> dict[str, Any]:
        """For the page's script: events carry a tenant's id, people know its name."""
        return names(self._known.values())


def _listed() -> list[Named] | None:
    """Not ordered by the database, which would sort all there are to find that they are too many."""
    some = Named.all_of(Tenant.objects.all(), LISTED + 1)
    return sorted(some, key=lambda tenant: (tenant.name.casefold(), tenant.slug)) if len(some) <= LISTED else None


def names(tenants: Iterable[Tenant | Named]) -> dict[str, Any]:
    """By id; the version tells a script which of two names is the newer."""
    return {str(tenant.id): {"name": tenant.name, "version": tenant.version} for tenant in tenants}


@require_GET
@platform_page
@never_cache
def ops_tenant_names(request: PlatformRequest) -> HttpResponse:
    """The names of the tenants with these `id`s, for rows that came live: `{names: {id: {name, version}}}`.

    An id that is no tenant's, any more or ever, has no name. 400 for more than NAMES_AT_ONCE, and for what is no id.
    """
    given = request.GET.getlist("id")
    ids = [found for text in given if (found := id_in(text))]
    if len(ids) < len(given) or len(ids) > NAMES_AT_ONCE:
        return JsonResponse({"detail": f"Give up to {NAMES_AT_ONCE} ids of tenants, each as id=."}, status=400)
    return JsonResponse({"names": names(Named.all_of(Tenant.objects.filter(pk__in=ids)))})
