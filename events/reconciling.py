"""Comparing what is kept twice: each app registers what it can compare, `manage.py reconcile` runs all of it.

A check yields a Fault for each thing that does not agree, and says how to put it right where that needs nobody's
judgement. Checks look under the locks that writers take: what is being written at that moment is no fault.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not agree. `repair` puts it right, in a transaction of its own; None: a person decides."""

    where: str
    problem: str
    repair: Callable[[], object] | None = None


Check = Callable[[], Iterator[Fault]]
_CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Register a check under the name that reports have. In an app's `reconciling.py`."""

    def register(function: Check) -> Check:
        if name in _CHECKS and _CHECKS[name].__qualname__ != function.__qualname__:
            raise TypeError(f"A check is already named {name!r}.")
        _CHECKS[name] = function
        return function

    return register


def checks() -> dict[str, Check]:
    return dict(_CHECKS)
