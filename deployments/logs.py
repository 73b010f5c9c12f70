"""Reading a deployment's log: lines after a number, a page of them, search, and the whole of it as a download.

Every function must run inside the tenant's scope. Numbers count from 1; `text` may hold ANSI colour codes, but never a
secret.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, QuerySet

from deployments.models import Deployment, Level, LogBlock

PAGE = 1_000
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]+[0-~]|[0-Z\\^_])")


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    level: str
    at: datetime
    text: str

    @property
    def plain(self) -> str:
        return without_ansi(self.text)


def without_ansi(text: str) -> str:
    """The text without colour codes and other escape sequences."""
    return _ANSI.sub("", text)


def lines(deployment: Deployment, after: int = 0, limit: int | None = PAGE) -> list[Line]:
    """Up to `limit` lines (None: all) whose numbers are above `after`, in order."""
    found: list[Line] = []
    for line in _walk(_blocks(deployment, after=after), after):
        found.append(line)
        if limit is not None and len(found) >= limit:
            break
    return found


def last_lines(deployment: Deployment, count: int = PAGE) -> list[Line]:
    """The newest `count` lines, in order."""
    return lines(deployment, after=max(0, line_count(deployment) - count), limit=None)


def line_count(deployment: Deployment) -> int:
    """The number of the last line stored so far."""
    newest = LogBlock.objects.filter(deployment=deployment).order_by("-first_line").first()
    return newest.last_line if newest else 0


def first_error(deployment: Deployment) -> int | None:
    """The number of the first line the runner wrote about what went wrong."""
    block = LogBlock.objects.filter(deployment=deployment, level=Level.ERROR).order_by("first_line").first()
    return block.first_line if block else None


def search(deployment: Deployment, query: str, *, level: str | None = None, limit: int = PAGE) -> list[Line]:
    """Up to `limit` lines of the whole log that contain `query` in any case, colour codes left aside."""
    wanted = query.casefold()
    found: list[Line] = []
    for line in _walk(_blocks(deployment, level=level)):
        if wanted in line.plain.casefold():
            found.append(line)
            if len(found) >= limit:
                break
    return found


def download(deployment: Deployment, *, ansi: bool = False) -> Iterator[str]:
    """The complete log in pieces, each ending in a newline: as plain text, or with its colour codes."""
    for block in _blocks(deployment).iterator(chunk_size=100):
        yield (block.text if ansi else without_ansi(block.text)) + "\n"


def _blocks(deployment: Deployment, *, after: int = 0, level: str | None = None) -> QuerySet[LogBlock]:
    blocks = LogBlock.objects.filter(deployment=deployment).order_by("first_line")
    if after:
        blocks = blocks.filter(first_line__gt=after - F("line_count"))
    return blocks.filter(level=level) if level else blocks


def _walk(blocks: QuerySet[LogBlock], after: int = 0) -> Iterator[Line]:
    for block in blocks.iterator(chunk_size=100):
        for number, text in enumerate(block.lines(), start=block.first_line):
            if number > after:
                yield Line(number, block.level, block.at, text)
