"""A metric as people read it: its name in words, its value with a unit. `static/js/chart.js` says the same words;
`portal/tests/figures.json` holds the two to each other."""

from decimal import ROUND_HALF_UP, Decimal

from monitoring.names import parts_of

WORDS = {
    "cpu_percent": "CPU",
    "memory_percent": "Memory",
    "disk_percent": "Disk",
    "network_in_bytes_per_second": "Network in",
    "network_out_bytes_per_second": "Network out",
    "load_1m": "Load, 1 min",
}
PREFIXES = ("", "k", "M", "G", "T")
STEP = 1000


def word(name: str) -> str:
    """A metric's name in words; one that we don't know is read as it is written. Labels follow it: "Load, host a"."""
    metric, labels = parts_of(name)
    said = WORDS.get(metric) or metric.replace("_", " ").replace(".", " ").strip().capitalize() or metric
    return ", ".join([said, *(f"{label} {value}" for label, value in labels.items())])


def value(number: float, unit: str) -> str:
    """Three digits or so and the unit: "12.3 %", "1.05 MB/s", "12,345 requests"."""
    if unit == "%":
        return f"{rounded(number, 1)} %"
    if unit in ("B", "B/s"):
        return amount_of_bytes(number, unit)
    return f"{short(number)} {unit}".strip()


def amount_of_bytes(number: float, unit: str) -> str:
    """With a decimal prefix: 1 kB is 1,000 B."""
    power = 0
    while power < len(PREFIXES) - 1 and abs(number) >= STEP - 0.5:
        number, power = number / STEP, power + 1
    return f"{short(number) if power else rounded(number, 0)} {PREFIXES[power]}{unit}"


def short(number: float) -> str:
    size = abs(number)
    return rounded(number, 0 if size >= 99.95 else 1 if size >= 9.995 else 2)


def rounded(number: float, digits: int) -> str:
    """Half away from zero, as JavaScript rounds it; no minus before a zero."""
    exact = Decimal(number).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{exact:,.{digits}f}" if exact else f"{0:.{digits}f}"
