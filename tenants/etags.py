"""ETags of things that have a version: who asks again gets 304, who changes what has changed meanwhile gets 412."""

import hashlib
import re
from typing import Any

import orjson
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

IF_NONE_MATCH = OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="304 if it has this ETag.")
IF_MATCH = OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="412 unless it still has this ETag.")
ETAG = OpenApiParameter(
    "ETag", str, OpenApiParameter.HEADER, response=[200, 201, 304], description="Another one once it has changed."
)
#: What an endpoint takes that reads, or changes, a thing with a version.
CONDITIONAL_READ = [IF_NONE_MATCH, ETAG]
CONDITIONAL_CHANGE = [IF_MATCH, ETAG]

_OURS = re.compile(r'(?:W/)?"(\d{1,18})"')
_TAGS = re.compile(r'"([^"]*)"')


class PreconditionFailed(APIException):
    """The thing is not what If-Match says it was."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "precondition_failed"

    def __init__(self, now: int) -> None:
        super().__init__(f'It has changed: its ETag is "{now}" now. Nothing was changed: read it again.')


def with_etag(request: Request, body: dict[str, Any], version: int | None = None, status: int = 200) -> Response:
    """The answer with its ETag; 304 without a body, where the caller has this version already.

    Without a version that changes whenever the answer does, the ETag is the answer's own digest.
    """
    tag = _digest(body) if version is None else str(version)
    if request.method in ("GET", "HEAD") and tag in _TAGS.findall(request.headers.get("If-None-Match", "")):
        return Response(status=304, headers={"ETag": f'"{tag}"'})
    return Response(body, status=status, headers={"ETag": f'"{tag}"'})


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def expected_version(request: Request) -> int | None:
    """The version that If-Match asks for. None without the header, or for any. Raises ValidationError."""
    header = request.headers.get("If-Match", "*").strip()
    if header == "*":
        return None
    found = _OURS.fullmatch(header)
    if found is None:
        raise ValidationError({"If-Match": "Send the ETag as it came with the answer."})
    return int(found[1])
