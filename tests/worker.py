"""What a process of its own does in tests of concurrency and of crashes: what it reads, a JSON line for each job.

See `processes.py`. Each job is a function's name and its arguments; the answer is a line of JSON too.
"""

import json
import sys
from collections.abc import Callable
from typing import Any


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def work(*jobs: Callable[..., Any]) -> None:
    known = {one.__name__: one for one in jobs}
    say("ready")
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        say(known[name](*arguments))
