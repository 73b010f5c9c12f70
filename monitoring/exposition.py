"""Samples as Prometheus' text format and OpenMetrics write them, read by Prometheus' own parser.

Counters and gauges are taken. Of a histogram or a summary come the count and the sum, which are counters, and the
quantiles, which are gauges. Left out, and counted: buckets, infos, the moments at which one of these families was
created, and what has no finite value.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, ClassVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.samples import Sample
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from monitoring.actions import Measured
from monitoring.models import COUNTER, GAUGE, LARGEST, NAME_LENGTH, SERIES_LENGTH
from monitoring.names import LABEL, METRIC, series_name

#: The parser's time grows with the square of a line's length.
LINE_LENGTH = 4096
#: Of each type of family: the endings of the samples that are taken, and what these are.
TAKEN = {
    "counter": {"_total": COUNTER},
    "gauge": {"": GAUGE},
    "unknown": {"": GAUGE},
    "stateset": {"": GAUGE},
    "summary": {"": GAUGE, "_count": COUNTER, "_sum": COUNTER},
    "histogram": {"_count": COUNTER, "_sum": COUNTER},
    "gaugehistogram": {"_gcount": GAUGE, "_gsum": GAUGE},
}
#: Types of families that say when they were created.
CREATED = ("counter", "summary", "histogram")
#: Base units, by which Prometheus' names end.
UNITS = {"seconds": "s", "bytes": "B", "percent": "%", "celsius": "°C", "volts": "V", "joules": "J"}


class BadText(Exception):
    """The text can't be taken, so none of it was. `where` names a series or a line."""

    def __init__(self, code: str, where: str, problem: str) -> None:
        super().__init__(problem)
        self.code, self.where = code, where


@dataclass(frozen=True, slots=True)
class Read:
    """What a text says: `left_out` counts the samples that are no counters and no gauges."""

    samples: list[Measured]
    left_out: int


@dataclass(frozen=True, slots=True)
class Exposition:
    """A request's body as text, not read yet."""

    text: str
    is_openmetrics: bool = False

    def read(self, now: datetime) -> Read:
        """Its samples; those without a time were measured `now`. Raises BadText."""
        families = self._families()
        made = {f"{family.name}_created" for family in families if family.type in CREATED}
        found = [(kind, family, one) for family in families for kind, one in _taken(family, made)]
        taken = [(kind, family, one) for kind, family, one in found if kind and math.isfinite(_number(one.value))]
        if len(taken) > settings.METRICS_BATCH_LIMIT:
            most = f"There are {len(taken)} samples. Send at most {settings.METRICS_BATCH_LIMIT} in one request"
            raise BadText("too_long", "body", f"{most}.")
        return Read([_measured(kind, family, one, now) for kind, family, one in taken], len(found) - len(taken))

    def _families(self) -> list[Metric]:
        for number, line in enumerate(self.text.split("\n"), start=1):
            if len(line) > LINE_LENGTH:
                raise BadText("line_too_long", f"line {number}", f"It has more than {LINE_LENGTH} characters.")
        try:
            return list((read_openmetrics if self.is_openmetrics else read_text)(self.text))
        except Exception as error:  # whatever stops the parser, by its own checks or by none, is in the text
            raise BadText("invalid_text", self._first_bad_line(), _said(error)) from None

    def _first_bad_line(self) -> str:
        """OpenMetrics is a whole: a line that is right by itself may be wrong after another."""
        if self.is_openmetrics:
            return "body"
        bad = (number for number, line in enumerate(self.text.split("\n"), start=1) if not _can_be_read(line))
        return f"line {next(bad, 1)}"


def _can_be_read(line: str) -> bool:
    try:
        list(read_text(line))
    except Exception:
        return False
    return True


def _said(error: Exception) -> str:
    said = str(error)[:200].rstrip(".")
    return f"It can't be read: {said}." if said else "It can't be read."


def _taken(family: Metric, made: Collection[str]) -> Iterator[tuple[str, Sample]]:
    """Each sample with what it is: COUNTER, GAUGE, or "" for what is left out.

    `made`: what the moments at which others were created are called, which are gauges of their own in the text format.
    """
    endings = {} if family.name in made else TAKEN.get(family.type, {})
    for sample in family.samples:
        yield endings.get(sample.name.removeprefix(family.name), ""), sample


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return LARGEST * 10 if value > 0 else -LARGEST * 10


def _measured(kind: str, family: Metric, sample: Sample, now: datetime) -> Measured:
    name = series_name(sample.name, sample.labels)
    _check_name(sample, name)
    value = _number(sample.value)
    if abs(value) > LARGEST:
        raise BadText("too_large", name, f"A value is at most {LARGEST:g}, with either sign.")
    return Measured(name=name, value=value, at=_moment(sample, name, now), unit=_unit(family, sample), kind=kind)


def _check_name(sample: Sample, name: str) -> None:
    if not METRIC.fullmatch(sample.name) or not all(map(LABEL.fullmatch, sample.labels)):
        raise BadText("invalid_name", name, "Names have letters, digits and underscores, and begin with no digit.")
    if len(sample.name) > NAME_LENGTH or len(name) > SERIES_LENGTH:
        limits = f"A name has at most {NAME_LENGTH} characters, with its labels {SERIES_LENGTH}"
        raise BadText("name_too_long", name, f"{limits}. Leave labels out before sending.")
    if not all(value.isprintable() for value in sample.labels.values()):
        raise BadText("invalid_label", name, "Use printable characters in labels.")


def _moment(sample: Sample, name: str, now: datetime) -> datetime:
    if sample.timestamp is None:
        return now
    try:
        return datetime.fromtimestamp(float(sample.timestamp), UTC)
    except (ValueError, OverflowError, OSError):
        raise BadText("invalid_time", name, "Its time is no moment of ours.") from None


def _unit(family: Metric, sample: Sample) -> str:
    """As the family says it or, as is the custom, its name. A count of seconds is no time."""
    if sample.name.endswith("_count"):
        return ""
    named = family.unit or family.name.rpartition("_")[2]
    return UNITS.get(named, "")


# --- What requests bring ----------------------------------------------------------------------------------------------


class TextParser(BaseParser):
    """Prometheus' text format, 0.0.4 and later."""

    media_type = "text/plain"
    is_openmetrics: ClassVar[bool] = False

    def parse(  # type: ignore[override]  # what `request.data` is, is the view's to know
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None
    ) -> Exposition:
        body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig
        try:
            return Exposition(body.decode(), self.is_openmetrics)
        except UnicodeDecodeError:
            raise ParseError("The text is not UTF-8.") from None


class OpenMetricsParser(TextParser):
    media_type = "application/openmetrics-text"
    is_openmetrics = True
