"""Handlers: what the platform does after something happened, each at its own pace.

A handler is a function registered in an app's `handlers.py`. It has a cursor of its own, so one that is stuck holds
nobody else back; it is called for each event of its types, in order, at least once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from events.models import Event

Function = Callable[[Event, int], None]


@dataclass(frozen=True, slots=True)
class Handler:
    name: str
    types: frozenset[str]
    function: Function

    @property
    def cursor(self) -> str:
        return f"handler:{self.name}"


_HANDLERS: dict[str, Handler] = {}


def handler(name: str, *, types: Sequence[str]) -> Callable[[Function], Function]:
    """Register `function(event, seq)` for events of these types. `name` names its cursor: never change or reuse it.

    It is called outside a transaction and outside a tenant scope. What it raises is retried with growing waits, then
    left behind as a dead letter. It may be called twice for the same event.
    """

    def register(function: Function) -> Function:
        known = _HANDLERS.get(name)
        if known and known.function.__qualname__ != function.__qualname__:
            raise TypeError(f"A handler is already named {name!r}: {known.function.__qualname__}.")
        _HANDLERS[name] = Handler(name, frozenset(types), function)
        return function

    return register


def all_handlers() -> list[Handler]:
    return [_HANDLERS[name] for name in sorted(_HANDLERS)]
