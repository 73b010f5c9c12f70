"""What waits for one client: in order, in few frames, and never more than the limit."""

from __future__ import annotations

import asyncio

import pytest

from engine.outbox import FRAME_BYTES, Full, Outbox


class Wire:
    """Where frames are written; `open` lets them pass."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self._wrote = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, frame: str) -> None:
        await self.open.wait()
        self.frames.append(frame)
        self._wrote.set()

    async def written(self, frame: str) -> None:
        async with asyncio.timeout(5):
            while frame not in self.frames:
                self._wrote.clear()
                await self._wrote.wait()


async def test_what_waits_together_leaves_in_one_frame() -> None:
    outbox, wire = Outbox(1000), Wire()
    for message in ("a", "b", "c"):
        outbox.put(message, 1)
    outbox.finish()
    await outbox.write_to(wire.send)
    assert wire.frames == ["a\nb\nc"]


async def test_a_frame_is_not_longer_than_it_should_be() -> None:
    outbox, wire = Outbox(10 * FRAME_BYTES), Wire()
    for _ in range(3):
        outbox.put("x" * (FRAME_BYTES // 2), FRAME_BYTES // 2)
    outbox.finish()
    await outbox.write_to(wire.send)
    assert [frame.count("\n") for frame in wire.frames] == [1, 0]


async def test_more_than_the_limit_is_refused_and_nothing_before_it_is_lost() -> None:
    outbox, wire = Outbox(3), Wire()
    for message in ("a", "b", "c"):
        outbox.put(message, 1)
    with pytest.raises(Full):
        outbox.put("d", 1)
    outbox.finish()
    await outbox.write_to(wire.send)
    assert wire.frames == ["a\nb\nc"]


async def test_what_is_being_written_counts_until_it_is_written() -> None:
    outbox, wire = Outbox(2), Wire()
    wire.open.clear()
    writer = asyncio.create_task(outbox.write_to(wire.send))
    outbox.put("ab", 2)
    await asyncio.sleep(0)
    with pytest.raises(Full):
        outbox.put("c", 1)
    writer.cancel()


async def test_what_was_written_no_longer_counts() -> None:
    outbox, wire = Outbox(2), Wire()
    writer = asyncio.create_task(outbox.write_to(wire.send))
    for message in ("ab", "cd", "ef"):
        outbox.put(message, 2)
        await wire.written(message)
    outbox.finish()
    await writer
    assert wire.frames == ["ab", "cd", "ef"]


async def test_after_the_end_nothing_is_taken_and_a_slow_reader_gets_nothing_more() -> None:
    outbox, wire = Outbox(100), Wire()
    outbox.put("a", 1)
    outbox.finish(drop=True)
    outbox.put("b", 1)
    await outbox.write_to(wire.send)
    assert wire.frames == []
