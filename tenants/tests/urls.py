"""Addresses that exist in tests only: one tenant page of each kind, one API view."""

from django.http import Http404, HttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import include, path
from rest_framework.exceptions import NotFound
from rest_framework.response import Response

from tenants.access import Rule, TenantAPIView, tenant_page
from tenants.models import Membership, Role, Scope


@tenant_page()
def members_page(request):
    return HttpResponse(",".join(str(membership.user_id) for membership in Membership.objects.all()))


@tenant_page()
def lazy_page(request):
    """Its query runs when it is rendered, after the view has returned."""
    members = engines["django"].from_string("{{ members.count }}")
    return TemplateResponse(request, members, {"members": Membership.objects})


@tenant_page(role=Role.TENANT_ADMIN)
def keys_page(request):
    return HttpResponse(request.membership.role)


@tenant_page()
def thing_page(request, number):
    raise Http404(f"No thing {number} in {request.tenant}")


class Members(TenantAPIView):
    rules = {"GET": Rule(scope=Scope.EVENTS_READ), "POST": Rule(role=Role.TENANT_ADMIN, scope=Scope.EVENTS_PUBLISH)}

    def get(self, request):
        return Response({"tenant": request.tenant.slug, "members": Membership.objects.count()})

    def post(self, request):
        return Response({"by": request.principal.actor.name}, status=201)

    def delete(self, request):
        return Response(status=204)


class PeopleOnly(TenantAPIView):
    rules = {"GET": Rule()}

    def get(self, request):
        return Response({"role": request.membership.role})


class Thing(TenantAPIView):
    rules = {"GET": Rule(scope=Scope.EVENTS_READ)}

    def get(self, request, number):
        raise NotFound(f"No thing {number}") if number % 2 else Http404(f"No thing {number}")


urlpatterns = [
    path("t/<slug:slug>/members/", members_page),
    path("t/<slug:slug>/lazy/", lazy_page),
    path("t/<slug:slug>/keys/", keys_page),
    path("t/<slug:slug>/things/<int:number>/", thing_page),
    path("api/members", Members.as_view()),
    path("api/people-only", PeopleOnly.as_view()),
    path("api/things/<int:number>", Thing.as_view()),
    path("", include("neostack.urls")),
]

handler404 = "tenants.access.page_not_found"
