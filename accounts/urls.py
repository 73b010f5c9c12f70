"""What is mounted of allauth, by its own names. What isn't here (sign-up, e-mail addresses, codes) does not exist."""

from allauth.account import views
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path


def sign_out(request: HttpRequest) -> HttpResponse:
    """Ask, or end the session and the connections it opened, in one transaction (see accounts.sessions)."""
    if request.method != "POST":
        return views.logout(request)
    with transaction.atomic():
        return views.logout(request)


urlpatterns = [
    path("login/", views.login, name="account_login"),
    path("logout/", sign_out, name="account_logout"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    path("password/change/", views.password_change, name="account_change_password"),
    path("password/reset/", views.password_reset, name="account_reset_password"),
    path("password/reset/done/", views.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9a-f]{32})-(?P<key>[0-9A-Za-z-]+)/$",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done/",
        views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
]
