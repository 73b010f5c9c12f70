"""The Idempotency-Key header, the same for every endpoint that takes one."""

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

HEADER = "Idempotency-Key"
#: The error code where a key comes again with another request.
CONFLICT = "idempotency_conflict"


def key_of(request: Request) -> str:
    """The request's key, "" without the header. Raises ValidationError for one that is no key."""
    key = request.headers.get(HEADER)
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise ValidationError({HEADER: "Use 1 to 255 printable ASCII characters."})
    return key or ""
