"""Machines of our own that ask us: they come by a container's own address, over plain HTTP, and without a session."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import resolve

#: Probes, Prometheus, and Centrifugo, which reads the public keys of subscription tokens.
PROBES = ("/healthz", "/readyz", "/metrics", "/.well-known/jwks.json")


class ProbesMiddleware:
    """Answers them before anything asks for an allowed host name or sends them on to https.

    A probe and Prometheus use the address of one container, which no setting could name in advance. What they are told
    names nobody and links nowhere, so that a false host name gains nothing.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info in PROBES:
            response: HttpResponseBase = resolve(request.path_info).func(request)
            return response
        return self.get_response(request)
