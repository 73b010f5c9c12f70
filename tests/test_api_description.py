"""What the API says of itself is whole: an example of each body, which fits what is said of it, and each error."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import get_resolver

from tests.described import UNDESCRIBED, description, path_of, problems
from tests.test_access_matrix import all_routes

Operation = dict[str, Any]


def operations() -> Iterator[tuple[str, Operation]]:
    for path, methods in description()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def bodies(operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    """What it takes and what it gives, by the media type and the status."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield media_type, content
    for status, answer in operation["responses"].items():
        for content in answer.get("content", {}).values():
            yield status, content


OPERATIONS = [pytest.param(operation, id=name) for name, operation in operations()]


def test_every_address_of_the_api_is_described():
    routes = {path_of(route) for route in all_routes(get_resolver()) if route.startswith("api/")}
    assert routes - set(description()["paths"]) == UNDESCRIBED.keys()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_body_has_an_example_that_fits_its_description(operation: Operation):
    for which, content in bodies(operation):
        examples = [one["value"] for one in content.get("examples", {}).values()]
        assert examples, f"{which} has no example: say it beside the resource (tenants/examples.py)"
        for example in examples:
            assert problems(content["schema"], example) == [], which


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_says_what_it_is_for_and_who_is_refused(operation: Operation):
    assert operation["description"]
    assert "401" in operation["responses"]
    assert operation["responses"].keys() & {"403", "404"}, "of what is hidden nobody else learns that it is there"
