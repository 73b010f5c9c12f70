"""What a series is called: its metric's name and, in one order whoever writes them, its labels.

`http_requests_total{code="200",method="get"}` is what Prometheus would write, and what stands wherever a metric's name
does: in samples, roll-ups, events, charts and rules.
"""

import re
from collections.abc import Mapping

#: As Prometheus has them; what comes as JSON is stricter.
METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:.]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_WRITTEN = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


def series_name(metric: str, labels: Mapping[str, str]) -> str:
    """A label without a value is the same as none."""
    written = ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(labels.items()) if value)
    return f"{metric}{{{written}}}" if written else metric


def parts_of(series: str) -> tuple[str, dict[str, str]]:
    """A series' metric and labels again."""
    metric, _, written = series.partition("{")
    return metric, {name: _ESCAPED.sub(r"\1", value) for name, value in _WRITTEN.findall(written)}


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
