"""Who may come in, and as what: the one place that decides whether somebody belongs to a tenant now.

Pages take `@tenant_page()`, API views inherit from `TenantAPIView`. Both enter the tenant's scope, and both answer for
another tenant's things exactly as for what never existed.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotFound
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django_scopes import scope, scopes_disabled
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import (
    AuthenticationFailed,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    ValidationError,
)
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User
from events.live import Live
from tenants.models import ApiKey, Membership, Role, Tenant

Principal = User | ApiKey | AnonymousUser
View = Callable[..., HttpResponseBase]

TENANT_HEADER = "X-Tenant"
NOT_FOUND_JSON = b'{"type":"client_error","errors":[{"code":"not_found","detail":"Not found.","attr":null}]}'


class NoSuchTenant(Exception):
    """There is no such tenant, or none that this caller belongs to: the two are one case."""


class TenantSuspended(Exception):
    """The caller belongs to this tenant, whose people have no access for now."""

    def __init__(self, tenant: Tenant) -> None:
        super().__init__(f"{tenant.name} is suspended. Nobody can open it until the platform's admins resume it.")
        self.tenant = tenant


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may: people of at least this role (None: any member), keys with this scope (None: no key).

    `even_suspended`: a suspended tenant's people too, for what may end its suspension.
    """

    role: Role | None = None
    scope: str | None = None
    even_suspended: bool = False

    def admits(self, role: str) -> bool:
        return self.role in (None, role) or role == Role.TENANT_ADMIN


# --- Who belongs where ------------------------------------------------------------------------------------------------


def memberships_of(user: User | AnonymousUser) -> QuerySet[Membership]:
    """Every membership of a person who may sign in, with its tenant; those of suspended tenants too."""
    memberships: QuerySet[Membership] = Membership.objects.with_scopes_disabled().select_related("tenant")
    if not isinstance(user, User):
        return memberships.none()
    return memberships.filter(user=user, user__is_active=True).order_by("tenant__name", "id")


def membership_of(user: User | AnonymousUser, slug: str, *, even_suspended: bool = False) -> Membership:
    """The person's membership of the tenant with this slug, now. Raises NoSuchTenant and TenantSuspended."""
    membership = memberships_of(user).filter(tenant__slug=slug).first()
    if membership is None:
        raise NoSuchTenant(slug)
    if membership.tenant.is_suspended and not even_suspended:
        raise TenantSuspended(membership.tenant)
    return membership


def roles_of(user: User | AnonymousUser) -> dict[UUID, Role]:
    """The role a person holds now in each tenant, by the tenant's id. Suspended tenants are left out."""
    return {m.tenant_id: Role(m.role) for m in memberships_of(user) if not m.tenant.is_suspended}


def admins_of(tenant: Tenant) -> list[User]:
    """Who can grant a role in this tenant."""
    memberships = Membership.objects.with_scopes_disabled().filter(
        tenant=tenant, role=Role.TENANT_ADMIN, user__is_active=True
    )
    return [membership.user for membership in memberships.select_related("user")]


# --- What does not exist ----------------------------------------------------------------------------------------------


def not_found() -> HttpResponse:
    """The one page for what does not exist and for what is another tenant's: same status, headers and bytes."""
    return _static(render_to_string("404.html").encode(), "text/html; charset=utf-8")


def api_not_found() -> HttpResponse:
    """The same for API callers."""
    return _static(NOT_FOUND_JSON, "application/json")


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404: whatever address led nowhere, the answer is the same."""
    return api_not_found() if request.path.startswith("/api/") else not_found()


def _static(body: bytes, content_type: str) -> HttpResponse:
    response = HttpResponseNotFound(body, content_type=content_type)
    patch_vary_headers(response, ["Cookie"])  # else an answer tells whether the session was looked at
    response["Cache-Control"] = "no-store"  # a person may be a member a moment later
    return response


# --- Pages ------------------------------------------------------------------------------------------------------------


class TenantRequest(HttpRequest):
    """What a `@tenant_page` gets (for annotations)."""

    user: User
    tenant: Tenant
    membership: Membership


def tenant_page(
    *, role: Role | None = None, even_suspended: Callable[[Tenant], bool] | None = None
) -> Callable[[View], View]:
    """Open a page at /t/{slug}/... to the tenant's members, or only to those of a role, inside the tenant's scope.

    `slug` is taken from the URL and not passed on. The view finds `request.tenant` and `request.membership`.
    `even_suspended` says of which suspended tenants it is open too: where it may end the suspension.
    """
    rule = Rule(role=role, even_suspended=even_suspended is not None)

    def decorate(view: View) -> View:
        @wraps(view)
        def page(request: Any, *args: Any, slug: str, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            try:
                request.membership = membership_of(request.user, slug, even_suspended=True)
            except NoSuchTenant:
                return not_found()
            tenant = request.membership.tenant
            if tenant.is_suspended and not (even_suspended and even_suspended(tenant)):
                return render(request, "tenants/suspended.html", {"tenant": tenant}, status=403)
            request.tenant = tenant
            if not rule.admits(request.membership.role):
                return _role_needed(request, rule)
            with scope(tenant=request.tenant):
                try:
                    return _rendered(view(request, *args, **kwargs))
                except Http404:
                    return not_found()

        page.rule = rule  # type: ignore[attr-defined]
        return page

    return decorate


class PlatformRequest(HttpRequest):
    """What a `@platform_page` gets (for annotations)."""

    user: User
    live: Live
    is_operations: bool


def platform_page(view: View) -> View:
    """Open a page of the operations portal to platform admins, over all tenants; for others there is no such page."""

    @wraps(view)
    def page(request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not request.user.is_platform_admin:
            return not_found()
        request.is_operations = True
        with scopes_disabled():
            try:
                return _rendered(view(request, *args, **kwargs))
            except Http404:
                return not_found()

    return page


def _role_needed(request: TenantRequest, rule: Rule) -> HttpResponse:
    context = {
        "tenant": request.tenant,
        "role_held": Role(request.membership.role).label,
        "role_needed": Role(rule.role).label if rule.role else "",
        "admins": admins_of(request.tenant),
    }
    return render(request, "tenants/role_needed.html", context, status=403)


def _rendered(response: HttpResponseBase) -> HttpResponseBase:
    """Render a lazy response now, while the tenant's scope is entered."""
    if callable(render_now := getattr(response, "render", None)):
        render_now()
    return response


# --- API --------------------------------------------------------------------------------------------------------------


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Api-Key <secret>`. `request.auth` becomes the ApiKey; `request.user` stays anonymous."""

    keyword = "Api-Key"

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        scheme, _, secret = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != self.keyword.lower():
            return None
        key = self._key(secret.strip())
        key.note_use()
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return self.keyword

    def _key(self, secret: str) -> ApiKey:
        try:
            key: ApiKey = ApiKey.objects.with_scopes_disabled().get_from_key(secret)  # type: ignore[assignment]
        except ApiKey.DoesNotExist:
            raise AuthenticationFailed("This API key is unknown or revoked.") from None
        if key.has_expired:
            raise AuthenticationFailed(f"This API key expired at {key.expiry_date:%Y-%m-%d %H:%M} UTC.")
        if key.tenant.is_suspended:
            raise AuthenticationFailed(str(TenantSuspended(key.tenant)), code="tenant_suspended")
        return key


def person_needed(why: str = "API keys can't do this: only a signed-in person can.") -> PermissionDenied:
    return PermissionDenied(why, code="person_needed")


def scope_needed(scope: str) -> PermissionDenied:
    return PermissionDenied(f"This API key lacks the scope {scope}.", code="scope_needed")


def role_needed(role: Role, held: Role) -> PermissionDenied:
    return PermissionDenied(f"This needs the role {role.label}; you are a {held.label}.", code="role_needed")


def tenant_suspended(tenant: Tenant) -> PermissionDenied:
    return PermissionDenied(str(TenantSuspended(tenant)), code="tenant_suspended")


def tenant_needed() -> ValidationError:
    return ValidationError({TENANT_HEADER: "Name the tenant in this header, by its slug."})


def principal_of(request: Request) -> Principal:
    """Who calls: a signed-in person, an API key, or nobody."""
    return request.auth if isinstance(request.auth, ApiKey) else request.user


class TenantAPIView(APIView):
    """An API view of one tenant's things: the key's tenant, or the one a member names in X-Tenant.

    `rules` says for each method who may; a method without a rule is refused. Handlers find `request.tenant`,
    `request.principal` (User or ApiKey) and `request.membership` (None for a key), and run in the tenant's scope.
    """

    rules: ClassVar[Mapping[str, Rule]] = {}
    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]  # `rules` decide, in initial()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with ExitStack() as self._scopes:
            return _rendered(super().dispatch(request, *args, **kwargs))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        rule = self.rules.get("GET" if request.method == "HEAD" else request.method or "")
        if rule is None:
            raise MethodNotAllowed(request.method or "")
        principal = principal_of(request)
        if isinstance(principal, ApiKey):
            tenant = self._admit_key(request, principal, rule)
            membership = None
        else:
            membership = self._admit_person(request, principal, rule)
            tenant = membership.tenant
        self._remember(request, tenant=tenant, membership=membership, principal=principal)
        self._scopes.enter_context(scope(tenant=tenant))

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        if isinstance(exc, Http404 | NotFound | NoSuchTenant):
            return api_not_found()
        if isinstance(exc, TenantSuspended):
            exc = tenant_suspended(exc.tenant)
        return super().handle_exception(exc)

    def _remember(self, request: Request, **facts: Any) -> None:
        """On Django's request too: middleware and helpers see that one."""
        for name, value in facts.items():
            setattr(request, name, value)
            setattr(request._request, name, value)

    def _admit_key(self, request: Request, key: ApiKey, rule: Rule) -> Tenant:
        if request.headers.get(TENANT_HEADER, key.tenant.slug) != key.tenant.slug:
            raise NoSuchTenant
        if rule.scope is None:
            raise person_needed()
        if not key.allows(rule.scope):
            raise scope_needed(rule.scope)
        return key.tenant

    def _admit_person(self, request: Request, user: User | AnonymousUser, rule: Rule) -> Membership:
        if not user.is_authenticated:
            raise NotAuthenticated
        slug = request.headers.get(TENANT_HEADER)
        if not slug:
            raise tenant_needed()
        membership = membership_of(user, slug, even_suspended=rule.even_suspended)
        if rule.role and not rule.admits(membership.role):
            raise role_needed(rule.role, held=Role(membership.role))
        return membership
