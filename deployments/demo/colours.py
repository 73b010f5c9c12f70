"""The step of the demo's long log: LINES lines in every colour a terminal knows, as fast as they are read."""

import os
import sys


def line(number: int) -> str:
    red, green, blue = number % 256, number * 7 % 256, number * 13 % 256
    return (
        f"\x1b[38;5;{number % 256}m{number:>6}\x1b[0m "
        f"\x1b[38;2;{red};{green};{blue}mthe quick brown fox\x1b[0m "
        f"\x1b[1;{31 + number % 7}mjumps over\x1b[0m \x1b[4;9{number % 8}mthe lazy dog\x1b[0m\n"
    )


if __name__ == "__main__":
    sys.stdout.write("".join(line(number) for number in range(1, int(os.environ["LINES"]) + 1)))
