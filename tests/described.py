"""Whatever the API answers in any test stands in its description: the status, and the body as it is described.

Every answer that a test's client gets is compared, so that each test of the API is a test of its description too.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import Resolver404
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator

#: What is not part of what the API offers, and why: the one place for exceptions.
UNDESCRIBED = {
    "/api/schema": "the description itself",
    "/api/docs": "the page that shows it",
    "/api/billing/webhooks/{gateway}": "for payment gateways alone, in the form that each gateway describes",
}


@cache
def description() -> dict[str, Any]:
    schema = SchemaGenerator(urlconf="neostack.urls").get_schema(request=None, public=True)
    found: dict[str, Any] = json.loads(json.dumps(schema))
    return found


def path_of(route: str) -> str:
    """As the description writes it: /api/deployments/{id}."""
    return "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)


def route_of(response: HttpResponse) -> str:
    """Of the address that was asked; "" where there is none such."""
    try:
        return str(response.resolver_match.route)
    except (AttributeError, Resolver404):
        return ""


@cache
def validator(schema: str) -> Draft202012Validator:
    """Of a part of the description."""
    return Draft202012Validator(json.loads(schema) | {"components": description()["components"]})


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    return [f"{one.json_path}: {one.message[:200]}" for one in validator(json.dumps(schema)).iter_errors(value)]


def undescribed(path: str, method: str, response: HttpResponse) -> list[str]:
    """What of this answer the description does not say."""
    operation = description()["paths"].get(path, {}).get("get" if method == "HEAD" else method.lower())
    if operation is None:  # 405, or who asks is refused before; or an address that only a test has
        return []
    described = operation["responses"].get(str(response.status_code))
    if described is None:
        return [f"{response.status_code} is not described: {response.content[:300]!r}"]
    content = described.get("content", {}).get("application/json")
    if content is None or method == "HEAD":
        return [] if not response.content else ["a body is not described"]
    return problems(content["schema"], response.json())


@pytest.fixture(scope="session", autouse=True)
def every_answer_is_described() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        ask = Client.request

        def compared(self: Client, **request: Any) -> HttpResponse:
            response = ask(self, **request)
            path = path_of(route_of(response))
            if path.startswith("/api/") and path not in UNDESCRIBED:
                found = undescribed(path, request["REQUEST_METHOD"], response)
                assert not found, f"{request['REQUEST_METHOD']} {path}: {found}"
            return response

        patch.setattr(Client, "request", compared)
        yield
