"""Steps of the demo's deployment that fails half-way: `broken.py compile | link | publish`."""

import sys
import time
from typing import TextIO

PACE_SECONDS = 0.25
RED, YELLOW, PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[0m"


def say(text: str, stream: TextIO = sys.stdout) -> None:
    stream.write(f"{text}\n")
    time.sleep(PACE_SECONDS)


def compile_sources() -> None:
    for name in ("ledger", "invoice", "usage", "report"):
        say(f"cc -c {name}.c")
    say(f"{YELLOW}usage.c:42: warning: unused variable 'grace'{PLAIN}", sys.stderr)


def link() -> None:
    say("ld -o billing ledger.o invoice.o usage.o report.o")
    say(f"{RED}ld: usage.o: undefined reference to 'round_half_even'{PLAIN}", sys.stderr)
    sys.exit(1)


def publish() -> None:
    say("Nobody ever reads this.")


if __name__ == "__main__":
    {"compile": compile_sources, "link": link, "publish": publish}[sys.argv[1]]()
