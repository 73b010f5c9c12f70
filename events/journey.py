"""The journey of one event: what became of it, for the people who look after the platform."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from events import handling
from events.cursors import PUSH
from events.models import Cursor, DeadLetter, Entry, Event, Handled, Push
from events.pushing import REFUSED, REPEAT


class State(StrEnum):
    DONE = "done"
    WAITS = "waits"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to the event, or that it waits for (then without a time)."""

    at: datetime | None
    text: str
    has_failed: bool = False

    @property
    def state(self) -> State:
        if self.has_failed:
            return State.FAILED
        return State.WAITS if self.at is None else State.DONE


def is_complete(steps: Iterable[Step]) -> bool:
    """Whether nothing more will happen to the event by itself: a dead letter waits for a person."""
    return all(step.state != State.WAITS for step in steps)


#: What other apps made of an event: its further steps.
Part = Callable[[Event], Iterable[Step]]
_PARTS: list[Part] = []


def further(part: Part) -> Part:
    """Decorator: what this function says of an event stands at the end of its journey. Call it as the app is loaded."""
    if part not in _PARTS:
        _PARTS.append(part)
    return part


def journey(event: Event) -> list[Step]:
    """Emitted, numbered, pushed, handled, and what other apps made of it. Five queries and theirs, however many
    channels and handlers there are."""
    emitted = Step(event.occurred_at, "Emitted, and committed with the change it reports")
    entry = Entry.objects.filter(event=event).first()
    if entry is None:
        return [emitted, Step(None, "Waits to be numbered")]
    cursors = {cursor.name: cursor for cursor in Cursor.objects.all()}
    letters = {(letter.cursor, letter.channel): letter for letter in event.dead_letters.all()}
    return [
        emitted,
        Step(entry.numbered_at, f"Numbered {entry.seq}"),
        *_pushes(event, entry, cursors, letters),
        *_handlers(event, entry, cursors, letters),
        *(step for part in _PARTS for step in part(event)),
    ]


Cursors = dict[str, Cursor]
Letters = dict[tuple[str, str], DeadLetter]


def _pushes(event: Event, entry: Entry, cursors: Cursors, letters: Letters) -> Iterator[Step]:
    push = Push.of(entry.seq)
    outcomes = push.outcomes.get(str(entry.seq), {}) if push else {}
    for channel in event.channels:
        if push is None:
            yield Step(None, f"Waits to be pushed on {channel}{_because(cursors.get(PUSH))}")
        elif outcomes.get(channel) == REPEAT:
            yield Step(push.at, f"Pushed on {channel}: dropped as a repeat, the engine had it already")
        elif outcomes.get(channel) == REFUSED:
            yield _dead(letters.get((PUSH, channel)), push.at, f"Push on {channel}")
        else:
            yield Step(push.at, f"Pushed on {channel} at offset {outcomes.get(channel)}")


def _handlers(event: Event, entry: Entry, cursors: Cursors, letters: Letters) -> Iterator[Step]:
    handled = {done.handler: done for done in Handled.objects.filter(entry=entry)}
    for handler in handling.all_handlers():
        cursor, letter = cursors.get(handler.cursor), letters.get((handler.cursor, ""))
        if handler.name in handled:
            done = handled[handler.name]
            yield Step(done.at, f"Handled by {handler.name}, attempt {done.attempts}")
        elif letter:
            yield _dead(letter, letter.created_at, f"Handler {handler.name}")
        elif event.type in handler.types and (cursor is None or cursor.position < entry.seq):
            yield Step(None, f"Waits for handler {handler.name}{_because(cursor)}")


def _dead(letter: DeadLetter | None, at: datetime, what: str) -> Step:
    if letter is None:
        return Step(at, f"{what} failed", has_failed=True)
    if letter.is_waiting:
        return Step(at, f"{what} failed after {_attempts(letter)}: {letter.error}", has_failed=True)
    resolution = f"{letter.get_resolution_display().lower()} by {letter.resolved_by}"
    return Step(letter.resolved_at, f"{what} failed ({letter.error}), {resolution}")


def _attempts(letter: DeadLetter) -> str:
    return "1 attempt" if letter.attempts == 1 else f"{letter.attempts} attempts"


def _because(cursor: Cursor | None) -> str:
    if cursor is None:
        return ""
    return f": the cursor is at {cursor.position}" + (f", because {cursor.last_error}" if cursor.last_error else "")
