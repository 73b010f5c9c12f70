"""The Django admin: the platform's own people see every tenant, and change things through the apps' actions only."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.decorators import secure_admin_login
from django.contrib import messages
from django.contrib.admin import AdminSite, ModelAdmin
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django_scopes import scopes_disabled

from accounts.actions import Refused
from accounts.models import User


def who(request: HttpRequest) -> User:
    """The platform admin behind a request that the site has let in."""
    assert isinstance(request.user, User)
    return request.user


def platform_wide(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Run a view, its rendering included, outside any tenant's scope."""

    @wraps(view)
    def wide(*args: Any, **kwargs: Any) -> HttpResponse:
        with scopes_disabled():
            response = view(*args, **kwargs)
            return response.render() if isinstance(response, TemplateResponse) else response

    return wide


class PlatformAdminSite(AdminSite):
    """One sign-in for everything (so that the lockout holds here too), and the whole platform in view."""

    site_header = site_title = "NEO_STACK"
    index_title = "Platform"
    site_url = "/"

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_staff)

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        return super().admin_view(platform_wide(view), cacheable)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response: HttpResponse = secure_admin_login(super().login)(request, extra_context)
        return response

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        with transaction.atomic():  # with the end of the connections: see accounts.sessions
            return super().logout(request, extra_context)


class ActionAdmin(ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """An admin whose changes go through actions. What an action refuses is a message, and nothing is changed."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._or_say_why(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._or_say_why(request, super().delete_view, *args, **kwargs)

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> HttpResponse | None:
        try:
            with transaction.atomic():
                return super().response_action(request, queryset, *args, **kwargs)
        except (Refused, ValidationError) as error:
            return self._say(request, error)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's bulk delete, which asks no action."""
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    def _or_say_why(
        self, request: HttpRequest, view: Callable[..., HttpResponse], *args: Any, **kw: Any
    ) -> HttpResponse:
        try:
            return view(request, *args, **kw)
        except (Refused, ValidationError) as error:
            return self._say(request, error)

    def _say(self, request: HttpRequest, error: Exception) -> HttpResponse:
        text = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        self.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())
