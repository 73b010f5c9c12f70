"""Whether the main loop of this process still turns: what a probe asks at the metrics' port.

An open port says that a thread answers; a loop that hangs beside it would never be noticed. A loop that waits for
something that is away turns too, so nothing is restarted for what a restart would not mend.
"""

import threading
import time

#: The longest that a loop is busy with one thing, with room: statements and calls of others have time-outs below it.
TURNS_WITHIN_SECONDS = 120

_turned_at: dict[str, float] = {}


def turned(loop: str = "main") -> None:
    """The main loop, or another one that this process lives for, has come round."""
    _turned_at[loop] = time.monotonic()


def since_turned() -> dict[str, float]:
    """Seconds since each loop has come round."""
    now = time.monotonic()
    return {loop: now - at for loop, at in list(_turned_at.items())}


def is_alive() -> bool:
    return all(seconds < TURNS_WITHIN_SECONDS for seconds in since_turned().values())


class Stop(threading.Event):
    """What a main loop asks at each turn: is it to end?"""

    def __init__(self) -> None:
        super().__init__()
        turned()

    def is_set(self) -> bool:
        turned()
        return super().is_set()
