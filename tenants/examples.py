"""An example of each body that the API takes and gives: where a view has none, those of its parts put together.

A resource says its example once, and every page, list and answer that holds it shows that one.
"""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from pydantic import BaseModel, ConfigDict

NAME = "An example"


def example(**fields: Any) -> ConfigDict:
    """The `model_config` of a pydantic model."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


def example_of(model: type[BaseModel]) -> Any:
    """What a pydantic model says as its example."""
    said: Any = model.model_config["json_schema_extra"]
    return said["examples"][0]


def with_example(**fields: Any) -> Callable[[Any], Any]:
    """The same, for a serializer."""
    return extend_schema_serializer(examples=[OpenApiExample(NAME, fields, status_codes=["200", "201", "202"])])


class NoExample(Exception):
    """Some part of it has neither an example nor only one value."""


def put_together(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """For SPECTACULAR_SETTINGS: gives bodies without an example theirs, as far as their parts have any."""
    parts = result["components"]["schemas"]
    for operation in (one for path in result["paths"].values() for one in path.values()):
        answers = [one for status, one in operation["responses"].items() if status.startswith("2")]
        for body in [operation.get("requestBody", {}), *answers]:
            for content in body.get("content", {}).values():
                _give(content, parts)
    return result


def _give(content: dict[str, Any], parts: dict[str, Any]) -> None:
    if "examples" in content:
        return
    try:
        content["examples"] = {"AnExample": {"value": _example_of(content["schema"], parts), "summary": NAME}}
    except NoExample:
        return


def _example_of(schema: dict[str, Any], parts: dict[str, Any]) -> Any:
    """Raises NoExample."""
    if "$ref" in schema:
        return _example_of(parts[schema["$ref"].rpartition("/")[2]], parts)
    for given in ("examples", "enum"):
        if schema.get(given):
            return schema[given][0]
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _first(schema[several], parts)
    return _of_type(schema, parts)


def _of_type(schema: dict[str, Any], parts: dict[str, Any]) -> Any:
    if schema.get("type") == "null":
        return None
    if schema.get("type") == "array":
        return [_example_of(schema["items"], parts)]
    if "properties" in schema:
        return {name: _example_of(one, parts) for name, one in schema["properties"].items()}
    raise NoExample


def _first(several: list[dict[str, Any]], parts: dict[str, Any]) -> Any:
    for one in several:
        try:
            return _example_of(one, parts)
        except NoExample:
            continue
    raise NoExample
