"""Where the engine's time comes from: everything that expires asks a clock, so a test can move hours at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Clock = Callable[[], float]
"""Unix time, in seconds."""

OFFSET_REREAD_SECONDS = 0.05


def offset_clock(path: Path) -> Clock:
    """A clock ahead of the system's by the number of seconds written in a file (a missing file means 0).

    The file is read again at most every 50 ms, so that a test can move the clock of a running process.
    """
    offset = 0.0
    read_at = 0.0

    def now() -> float:
        nonlocal offset, read_at
        if time.monotonic() - read_at >= OFFSET_REREAD_SECONDS:
            read_at = time.monotonic()
            offset = _read_offset(path)
        return time.time() + offset

    return now


def _read_offset(path: Path) -> float:
    if not path.exists():
        return 0.0
    return float(path.read_text() or 0)
