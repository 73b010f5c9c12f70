"""What the domains' APIs share: bodies without unknown fields, and lists newest first."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request


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


class NewestFirst(CursorPagination):
    """Fifty rows a page, by their `number`. A cursor that is none of ours leads to no page."""

    ordering = "-number"
    page_size = 50

    def decode_cursor(self, request: Request) -> Any:
        cursor = super().decode_cursor(request)
        if cursor and cursor.position and not str(cursor.position).isdecimal():
            raise NotFound(self.invalid_cursor_message)
        return cursor
