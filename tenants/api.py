"""What the domains' APIs share: bodies without unknown fields, problems of a batch, conflicts, lists newest first."""

from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar
from uuid import UUID

import pydantic
from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

M = TypeVar("M", bound=Model)

#: Of a batch that is wrong throughout, so many problems are told.
PROBLEMS_TOLD = 20


class Strict(serializers.Serializer[Any]):
    """Refuses fields it does not know: a misspelt one must not be passed over."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if unknown := set(self.initial_data) - set(self.fields):
            raise ValidationError(dict.fromkeys(sorted(unknown), "There is no such field."))
        return attrs


def valid(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    """What was sent, as the serializer understands it. Raises ValidationError."""
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


class Problems(Exception):
    """What is wrong with a batch: (code, where, what is wrong and what to do) of each."""

    def __init__(self, *problems: tuple[str, str, str], status: int = status.HTTP_400_BAD_REQUEST) -> None:
        super().__init__(problems)
        self.problems, self.status = problems, status

    @classmethod
    def of(cls, invalid: pydantic.ValidationError) -> Self:
        """Each names its place in the body and the field."""
        problems = invalid.errors(include_url=False, include_context=False, include_input=False)
        return cls(
            *(
                (problem["type"], ".".join(map(str, problem["loc"])), f"{problem['msg'].rstrip('.')}.")
                for problem in problems[:PROBLEMS_TOLD]
            )
        )

    @property
    def response(self) -> Response:
        told = [{"code": code, "detail": detail, "attr": attr} for code, attr, detail in self.problems]
        kind = "client_error" if self.status == status.HTTP_409_CONFLICT else "validation_error"
        return Response({"type": kind, "errors": told}, status=self.status)


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = "The request's body is too large."


class Between(serializers.Serializer[Any]):
    """For the queries of lists that time orders."""

    since = serializers.DateTimeField(required=False, help_text="At this moment or later.")
    until = serializers.DateTimeField(required=False, help_text="Before this moment.")


def filtered(rows: QuerySet[M], wanted: Mapping[str, Any], **lookups: str) -> QuerySet[M]:
    """The rows that what was sent leaves: each name with its lookup; what was not sent leaves all."""
    sent = {lookup: wanted.get(name) for name, lookup in lookups.items()}
    return rows.filter(**{lookup: value for lookup, value in sent.items() if value or value is False})


# --- Lists, a page at a time ------------------------------------------------------------------------------------------

PAGE_SIZE, PAGE_SIZE_MAX = 50, 200
#: What every list takes.
PAGES = [
    OpenApiParameter("cursor", str, description="From `next` or `previous` of the page before."),
    OpenApiParameter(
        "page_size",
        {"type": "integer", "minimum": 1, "maximum": PAGE_SIZE_MAX, "default": PAGE_SIZE},
        description="More than the most is the most.",
    ),
]


class NewestFirst(CursorPagination):
    """Fifty rows a page, or as many as are asked for, by `number`. A cursor that is none of ours leads nowhere."""

    ordering: str | tuple[str, ...] = "-number"
    page_size = PAGE_SIZE
    page_size_query_param = "page_size"
    max_page_size = PAGE_SIZE_MAX

    def decode_cursor(self, request: Request) -> Any:
        cursor = super().decode_cursor(request)
        if cursor and cursor.position and not self.is_position(str(cursor.position)):
            raise NotFound(self.invalid_cursor_message)
        return cursor

    def is_position(self, text: str) -> bool:
        return text.isdecimal() and len(text) < 20  # Python reads no number of thousands of digits


class NewestById(NewestFirst):
    """By their ids, which are in the order of time."""

    ordering = "-id"

    def is_position(self, text: str) -> bool:
        try:
            UUID(text)
        except ValueError:
            return False
        return True


class ByName(NewestFirst):
    """By a name that is unique among the rows."""

    ordering = "name"

    def is_position(self, text: str) -> bool:
        return "\0" not in text


class BySlug(ByName):
    ordering = "slug"


def page_of(rows: QuerySet[M], request: Request, pages: NewestFirst, told: Callable[[M], dict[str, Any]]) -> Response:
    """A page of a list, each row as it is told."""
    page = pages.paginate_queryset(rows, request) or []
    return pages.get_paginated_response([told(row) for row in page])
