"""What the HTTP API takes as JSON."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from tenants.api import TooLarge


class StrictJSONParser(JSONParser):
    """JSON that can be written again: no half characters (a lone surrogate), no NaN, not nested without end.

    Python's own parser takes all of these, and what came in fails later, where it is stored, pushed or answered.
    """

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise TooLarge
        try:
            found = orjson.loads(body)
            orjson.dumps(found)  # nests less deep than reading
        except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
            raise ParseError(f"JSON parse error - {error}") from None
        return found
