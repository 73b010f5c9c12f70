"""The pages about alerts, rules and policies that a tenant has for its own, and the platform for its own: written once.

Each is an act, `act(request, place, ...)`, which says which methods it answers. Here stands who may come in, and whose
things it then is about; `portal/urls.py` and `portal/ops/urls.py` have the two sets.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from django.http import HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.cache import never_cache

from deployments.views import PageRequest
from portal import alert_acts, policies, rules, silences
from portal.alert_acts import PLATFORM, Place
from tenants.access import PlatformRequest, platform_page, tenant_page
from tenants.models import Role

Act = Callable[..., HttpResponse]
#: Address below monitoring/, name, and act. The platform's names begin with `ops_`.
BOTH: tuple[tuple[str, str, Act], ...] = (
    ("undo/", "undo_alert", alert_acts.undo),
    ("alerts/<uuid:alert_id>/", "alert", alert_acts.alert_page),
    ("alerts/<uuid:alert_id>/acknowledge/", "acknowledge", alert_acts.acknowledge),
    ("alerts/<uuid:alert_id>/unacknowledge/", "unacknowledge", alert_acts.unacknowledge),
    ("alerts/<uuid:alert_id>/silence/", "silence_alert", alert_acts.silence),
    ("silences/new/", "new_silence", silences.new_silence),
    ("silences/<uuid:silence_id>/end/", "end_silence", alert_acts.end_silence),
    ("rules/new/", "new_rule", rules.rule_page),
    ("rules/undo/", "undo_delete_rule", rules.bring_back),
    ("rules/<uuid:rule_id>/", "alert_rule", rules.rule_page),
    ("rules/<uuid:rule_id>/delete/", "delete_rule", rules.delete),
    ("policies/", "alert_policies", policies.list_page),
    ("policies/new/", "new_policy", policies.policy_page),
    ("policies/<uuid:policy_id>/", "alert_policy", policies.policy_page),
    ("policies/<uuid:policy_id>/delete/", "delete_policy", policies.delete),
)
#: No service tells the platform of alerts of its own, so none of those is ended by hand.
OF_TENANTS = (("alerts/<uuid:alert_id>/resolve/", "resolve_alert", alert_acts.resolve),)


def pages_of_tenants() -> Iterator[URLPattern]:
    for where, name, act in (*BOTH, *OF_TENANTS):
        yield path(f"t/<slug:slug>/monitoring/{where}", for_its_admins(act), name=name)


def pages_of_the_platform() -> Iterator[URLPattern]:
    for where, name, act in BOTH:
        yield path(f"monitoring/{where}", for_platform_admins(act), name=f"ops_{name}")


def for_its_admins(act: Act) -> Callable[..., Any]:
    @tenant_page(role=Role.TENANT_ADMIN)
    @never_cache
    @wraps(act)
    def view(request: PageRequest, **what: Any) -> HttpResponse:
        return act(request, Place(request.tenant), **what)

    return view


def for_platform_admins(act: Act) -> Callable[..., Any]:
    @platform_page
    @never_cache
    @wraps(act)
    def view(request: PlatformRequest, **what: Any) -> HttpResponse:
        return act(request, PLATFORM, **what)

    return view
