"""What the push remembers of its channels. tests/test_pushing_to_engines.py has a Redis that really goes back."""

import pytest

from events import engine_client, rewound
from events.engine_client import EngineAway, EngineRefused, Position
from events.rewound import RewoundChannels

CHANNEL = "tenant:acme:dashboard"


class Engine:
    """One channel, which stands at `offset`. `refusal` is raised instead of an answer."""

    def __init__(self) -> None:
        self.offset = 0
        self.published: list[str] = []
        self.removed = 0
        self.refusal: Exception | None = None

    def push(self, commands):
        if self.refusal:
            raise self.refusal
        return [self._do(**command) for command in commands]

    def _do(self, publish=None, history_remove=None, history=None):
        if publish:
            self.offset += 1
            self.published.append(publish["data"])
            return {"publish": {"offset": self.offset, "epoch": "a"}}
        self.removed += bool(history_remove)
        return {"history_remove": {}} if history_remove else {"history": {"offset": self.offset, "epoch": "a"}}


@pytest.fixture
def engine(monkeypatch):
    engine = Engine()
    monkeypatch.setattr(engine_client, "push", engine.push)
    return engine


def accept(memory: RewoundChannels, engine: Engine, *events: str, epoch: str = "a") -> None:
    for event in events:
        engine.offset += 1
        reply = {"publish": {"offset": engine.offset, "epoch": epoch} if epoch else {}}
        memory.accepted(CHANNEL, reply, command(event))


def command(event: str):
    return {"publish": {"channel": CHANNEL, "data": event, "version": 1}}


def test_a_channel_that_goes_on_is_left_alone(engine):
    memory = RewoundChannels()
    accept(memory, engine, "one", "two")
    memory.mend({CHANNEL: Position(2, "a")}, {CHANNEL: command("three")})
    memory.mend_late()
    assert not engine.published
    assert not engine.removed


def test_one_that_began_anew_is_left_alone(engine):
    memory = RewoundChannels()
    accept(memory, engine, "one", "two")
    engine.offset = 0
    accept(memory, engine, "three", epoch="b")
    memory.mend({CHANNEL: Position(1, "b")}, {CHANNEL: command("four")})
    memory.mend_late()
    assert not engine.published


def test_one_that_keeps_no_history_is_left_alone(engine):
    memory = RewoundChannels()
    accept(memory, engine, "one", "two", epoch="")
    memory.mend_late()
    assert not engine.published


def test_before_anything_goes_out_it_is_filled_up_to_where_it_stood(engine):
    memory = RewoundChannels()
    accept(memory, engine, *"abcde")
    engine.offset = 2
    tops = {CHANNEL: Position(2, "a")}
    memory.mend(tops, {CHANNEL: command("next")})
    assert engine.published == ["next"] * 3
    assert engine.removed == 1
    assert tops == {CHANNEL: Position(5, "a")}


def test_what_went_out_below_goes_out_again_when_the_engine_can(engine):
    memory = RewoundChannels()
    accept(memory, engine, *"abcde")
    engine.offset = 2
    accept(memory, engine, "f")
    engine.refusal = EngineAway("not now")
    memory.mend_late()
    assert not engine.published
    engine.refusal = None
    accept(memory, engine, "g")
    memory.mend_late()
    assert engine.published == ["g", "f", "g"], "at 5, where it stood, and then what nobody had seen"
    memory.mend_late()
    assert engine.removed == 1


def test_an_engine_that_will_never_take_it_holds_nothing_up(engine, caplog):
    memory = RewoundChannels()
    accept(memory, engine, *"abcde")
    engine.refusal = EngineRefused("too large")
    memory.mend({CHANNEL: Position(2, "a")}, {CHANNEL: command("next")})
    assert "can't be mended: too large" in caplog.text


def test_the_channel_that_was_silent_for_longest_is_forgotten_first(engine, monkeypatch):
    monkeypatch.setattr(rewound, "CHANNELS_REMEMBERED", 2)
    memory = RewoundChannels()
    reply = {"publish": {"offset": 9, "epoch": "a"}}
    for channel in ("one", "two", "one", "three"):
        memory.accepted(channel, reply | {"publish": {"offset": 9 + len(channel), "epoch": "a"}}, command("x"))
        memory._late.clear()
    memory.mend({"one": Position(1, "a"), "two": Position(1, "a")}, {"one": command("x"), "two": command("x")})
    assert engine.removed == 1
