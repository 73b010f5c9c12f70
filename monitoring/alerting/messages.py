"""What an alert says: a rule's own words, with values where it names them in braces."""

import re
from collections.abc import Mapping

from django.core.exceptions import ValidationError

#: What may stand in braces.
FIELDS = ("name", "metric", "value", "comparison", "threshold", "window")
_BRACES = re.compile(r"{([^{}]*)}")
DEFAULTS = {
    "threshold": "{metric} is {value} ({comparison} {threshold})",
    "change": "{metric} changes by {value} a minute ({comparison} {threshold})",
    "absence": "No samples of {metric} for {value}",
}


def check_template(template: str) -> None:
    """Raises ValidationError for braces that mean nothing."""
    left = _BRACES.sub("", template)
    unknown = [name for name in _BRACES.findall(template) if name not in FIELDS]
    if unknown or "{" in left or "}" in left:
        known = ", ".join(f"{{{name}}}" for name in FIELDS)
        raise ValidationError(f"Only these may stand in braces: {known}.")


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its braces filled in. No format string: those reach into objects."""
    return _BRACES.sub(lambda found: values.get(found[1], found[0]), template)


def number(value: float | None, unit: str = "") -> str:
    """12.5 %; four digits say enough."""
    if value is None:
        return "unknown"
    shown = f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return f"{shown} {unit}".rstrip()


def duration(seconds: float) -> str:
    """90 -> "90 s", 600 -> "10 min", 7200 -> "2 h"."""
    whole = round(seconds)
    for size, unit in ((3600, "h"), (60, "min")):
        if whole >= 2 * size or (whole >= size and whole % size == 0):
            return f"{whole // size} {unit}"
    return f"{whole} s"
