"""Which alerts a silence is about. Nothing here takes longer for a text that somebody made to be slow."""

from collections.abc import Mapping, Sequence
from typing import Any

#: "=" and "!=" compare whole texts; in "~" and "!~" an asterisk stands for anything. A label that is missing is empty.
OPERATORS = ("=", "!=", "~", "!~")

Matchers = Sequence[Mapping[str, Any]]


def matches(matchers: Matchers, labels: Mapping[str, str]) -> bool:
    """Whether all of them match. None at all match nothing: that would silence everything."""
    return bool(matchers) and all(_matches(one, labels.get(one["label"], "")) for one in matchers)


def exactly(labels: Mapping[str, str]) -> list[dict[str, str]]:
    """The matchers that these labels match, and others with as many of the same."""
    return [{"label": name, "op": "=", "value": value} for name, value in sorted(labels.items())]


def _matches(matcher: Mapping[str, Any], text: str) -> bool:
    operator, wanted = matcher["op"], matcher["value"]
    found = like(wanted, text) if "~" in operator else text == wanted
    return found != operator.startswith("!")


def like(pattern: str, text: str) -> bool:
    """Whether the text fits a pattern in which `*` is any text. Its time is that of reading both once."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *between, last = others
    if not text.startswith(first) or not text.endswith(last) or len(first) + len(last) > len(text):
        return False
    place, end = len(first), len(text) - len(last)
    for part in between:
        place = text.find(part, place, end)
        if place < 0:
            return False
        place += len(part)
    return True
