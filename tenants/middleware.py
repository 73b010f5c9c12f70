"""An address that leads nowhere gets the page that another tenant's gets, in development as in production."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tenants.access import page_not_found


class NowhereMiddleware:
    """With DEBUG on, Django would show its own page, by which an address can be told from one of another tenant's.

    It stands innermost, so that CommonMiddleware still sees the 404 and sends "/admin" to "/admin/".
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        led_nowhere = response.status_code == 404 and request.resolver_match is None
        return page_not_found(request) if led_nowhere else response
