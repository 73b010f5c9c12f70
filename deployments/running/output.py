"""From the bytes a step writes to the numbered blocks of lines that are stored and emitted."""

import codecs
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from django.utils import timezone

from deployments.leases import OutputBlock
from deployments.models import Level
from deployments.running.redaction import Redactor

#: A longer line goes on as the next one.
LINE_MAX_CHARACTERS = 4_000
#: A block is one event: small enough for a browser's frame and for the engine's history.
BLOCK_MAX_LINES = 200
BLOCK_MAX_CHARACTERS = 16_000
#: Written together in one transaction, and at most so many each FLUSH_SECONDS: faster output waits in its pipe.
BLOCKS_PER_FLUSH = 4
FLUSH_SECONDS = 0.1


class LineReader:
    """Cuts one stream into lines of text, redacted. Its pieces may end anywhere: inside a secret, a letter or a line.

    Bytes that are not UTF-8, and NUL, become U+FFFD. A line that was written over with carriage returns is kept as it
    stood last. A line is returned once its newline, or the stream's end, has been read.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._redactor = Redactor(secrets)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._partial = ""

    def feed(self, data: bytes) -> list[str]:
        """The lines that these bytes complete."""
        return self._cut(self._decoder.decode(self._redactor.feed(data)))

    def end(self) -> list[str]:
        """The rest, including a last line without a newline."""
        lines = self._cut(self._decoder.decode(self._redactor.end(), final=True))
        last, self._partial = self._partial, ""
        return lines + (_wrapped(_last_state(last)) if last else [])

    def _cut(self, text: str) -> list[str]:
        *complete, partial = (self._partial + text.replace("\x00", "\ufffd")).split("\n")
        lines = [piece for line in complete for piece in _wrapped(_last_state(line))]
        *full, self._partial = _wrapped(_without_overwritten(partial))
        return lines + full


def _last_state(line: str) -> str:
    """What a terminal's line would show after carriage returns; each is taken to write the line anew."""
    return line.rstrip("\r").rpartition("\r")[2]


def _without_overwritten(partial: str) -> str:
    """The same for a line that is not complete. A trailing return stays: it may belong to a newline still to come."""
    shown = _last_state(partial)
    return shown + "\r" if partial.endswith("\r") else shown


def _wrapped(line: str) -> list[str]:
    if len(line) <= LINE_MAX_CHARACTERS:
        return [line]
    return [line[start : start + LINE_MAX_CHARACTERS] for start in range(0, len(line), LINE_MAX_CHARACTERS)]


class Transcript:
    """Numbers a deployment's lines from 1 and gathers neighbours of one level into blocks.

    Past `limit_bytes` of output it keeps one line that says so, and then only the runner's own.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept_bytes = 0
        self._cut = False
        self._last_line = 0
        self._waiting: deque[OutputBlock] = deque()

    def add(self, level: str, lines: Iterable[str]) -> None:
        """Lines of a step, in the order they were read."""
        for line in lines:
            if self._cut:
                return
            self._kept_bytes += len(line.encode()) + 1
            if self._kept_bytes > self._limit:
                self._cut = True
                self.say(
                    f"Output cut here, after line {self._last_line:,}: of a deployment's output {self._limit:,} bytes "
                    "are kept. Its steps go on, and what they write from here on is not kept."
                )
                return
            self._append(level, line)

    def say(self, verdict: str) -> None:
        """A line of the runner's own; kept whatever the limit."""
        self._append(str(Level.ERROR), verdict)

    @property
    def is_empty(self) -> bool:
        return not self._waiting

    @property
    def is_full(self) -> bool:
        """Enough for one flush waits: read no more before it is written."""
        return len(self._waiting) > BLOCKS_PER_FLUSH

    def waiting(self) -> list[OutputBlock]:
        """The oldest blocks, for one flush."""
        return list(self._waiting)[:BLOCKS_PER_FLUSH]

    def written(self, blocks: list[OutputBlock]) -> None:
        """These have been stored."""
        for _ in blocks:
            self._waiting.popleft()

    def _append(self, level: str, line: str) -> None:
        self._last_line += 1
        if self._waiting and _fits(self._waiting[-1], level, line):
            last = self._waiting[-1]
            self._waiting[-1] = replace(last, line_count=last.line_count + 1, text=f"{last.text}\n{line}")
        else:
            self._waiting.append(OutputBlock(self._last_line, 1, level, line, timezone.now()))


def _fits(block: OutputBlock, level: str, line: str) -> bool:
    return (
        block.level == level
        and block.line_count < BLOCK_MAX_LINES
        and len(block.text) + len(line) < BLOCK_MAX_CHARACTERS
    )
