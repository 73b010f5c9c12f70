"""A terminal's colours as CSS classes, for lines that the server renders.

`static/js/ansi.js` does the same in the page; `portal/tests/ansi.json` holds them to each other.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

#: An escape sequence: colours end in "m", the others are dropped.
_SEQUENCE = re.compile(r"\x1b(?:\[([0-9;:<=>?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_()][0-9A-B]?)")
_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
#: The eight colours at their usual strength; a colour of the 256 or the 16 million takes the class of the nearest.
_RGB = (
    (0, 0, 0),
    (187, 0, 0),
    (0, 187, 0),
    (187, 187, 0),
    (0, 0, 187),
    (187, 0, 187),
    (0, 187, 187),
    (255, 255, 255),
)
_CUBE = (0, 95, 135, 175, 215, 255)


@dataclass(frozen=True, slots=True)
class Style:
    """How text looks after the sequences read so far; `fg` and `bg` are names of colours or empty."""

    bold: bool = False
    faint: bool = False
    italic: bool = False
    underline: bool = False
    fg: str = ""
    bg: str = ""

    @property
    def classes(self) -> str:
        on = [f"ansi-{name}" for name in ("bold", "faint", "italic", "underline") if getattr(self, name)]
        on += [f"ansi-{self.fg}-fg"] if self.fg else []
        on += [f"ansi-{self.bg}-bg"] if self.bg else []
        return " ".join(on)


_SIMPLE: dict[int, dict[str, bool | str]] = {
    1: {"bold": True},
    2: {"faint": True},
    3: {"italic": True},
    4: {"underline": True},
    21: {"bold": False},
    22: {"bold": False, "faint": False},
    23: {"italic": False},
    24: {"underline": False},
    39: {"fg": ""},
    49: {"bg": ""},
}


def last_state(text: str) -> str:
    """What a terminal shows of a line in which carriage returns wrote over what stood before."""
    return next((part for part in reversed(text.split("\r")) if part), "")


def plain(text: str) -> str:
    """The text without colours, as the terminal last showed it."""
    return _SEQUENCE.sub("", last_state(text))


def segments(text: str) -> Iterator[tuple[str, str]]:
    """(classes, text) in order; classes is empty for plain text. Colours don't cross the line's end."""
    style, position = Style(), 0
    text = last_state(text)
    for sequence in _SEQUENCE.finditer(text):
        if sequence.start() > position:
            yield style.classes, text[position : sequence.start()]
        position = sequence.end()
        if sequence[2] == "m":
            style = _after(style, sequence[1])
    if position < len(text):
        yield style.classes, text[position:]


def _after(style: Style, parameters: str) -> Style:
    numbers = [int(part) if part.isdigit() else 0 for part in parameters.split(";")]
    while numbers:
        number = numbers.pop(0)
        if number == 0:
            style = Style()
        elif number in (38, 48):
            name = _extended(numbers)
            style = _painted(style, number, name) if name else style
        elif number in _SIMPLE:
            style = replace(style, **_SIMPLE[number])  # type: ignore[arg-type]
        elif 30 <= number % 60 <= 37 and number < 100:
            style = replace(style, fg=_NAMES[number % 10])
        elif 40 <= number <= 47 or 100 <= number <= 107:
            style = replace(style, bg=_NAMES[number % 10])
    return style


def _painted(style: Style, layer: int, name: str) -> Style:
    return replace(style, fg=name) if layer == 38 else replace(style, bg=name)


def _extended(numbers: list[int]) -> str:
    """The nearest named colour of `5;index` or `2;r;g;b`, whose numbers it takes."""
    mode = numbers.pop(0) if numbers else 0
    if mode == 5 and numbers:
        return _indexed(numbers.pop(0))
    if mode == 2 and len(numbers) >= 3:
        rgb = (numbers.pop(0), numbers.pop(0), numbers.pop(0))
        return _nearest(rgb)
    return ""


def _indexed(index: int) -> str:
    if index < 16:
        return _NAMES[index % 8]
    if index < 232:
        index -= 16
        return _nearest((_CUBE[index // 36], _CUBE[index // 6 % 6], _CUBE[index % 6]))
    return _nearest((8 + (index - 232) * 10,) * 3)


def _nearest(rgb: tuple[int, int, int]) -> str:
    distances = [sum((a - b) ** 2 for a, b in zip(rgb, known, strict=True)) for known in _RGB]
    return _NAMES[distances.index(min(distances))]
