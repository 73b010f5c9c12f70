from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from deployments.running.output import (
    BLOCK_MAX_CHARACTERS,
    BLOCK_MAX_LINES,
    BLOCKS_PER_FLUSH,
    LINE_MAX_CHARACTERS,
    LineReader,
    Transcript,
)
from deployments.running.redaction import MASK, Redactor, forms

# Few letters, so that secrets overlap, repeat and almost begin all the time; none that MASK has.
secrets = st.lists(st.text("xy\n", min_size=1, max_size=6).map(str.encode), max_size=4)
outputs = st.text("xy\n", max_size=60).map(str.encode)
cuts = st.lists(st.integers(0, 60), max_size=8)


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def redacted(data: bytes, hidden: list[bytes], places: list[int]) -> bytes:
    redactor = Redactor(hidden)
    return b"".join([*(redactor.feed(piece) for piece in pieces(data, places)), redactor.end()])


def as_it_should_be(data: bytes, hidden: list[bytes]) -> bytes:
    """Every byte that stands in any occurrence of any secret is covered; each run of them is one MASK."""
    covered = [False] * len(data)
    for secret in hidden:
        for place in range(len(data) - len(secret) + 1):
            if data[place : place + len(secret)] == secret:
                covered[place : place + len(secret)] = [True] * len(secret)
    out = b""
    for index, byte in enumerate(data):
        if not covered[index]:
            out += bytes([byte])
        elif index == 0 or not covered[index - 1]:
            out += MASK
    return out


@given(outputs, secrets, cuts)
@example(b"xyxyx", [b"xyx"], [1, 2, 3, 4])
@example(b"xyxy", [b"xy"], [2])
def test_however_output_is_cut_every_secret_in_it_is_covered(data, hidden, places):
    assert redacted(data, hidden, places) == as_it_should_be(data, hidden)


@given(st.binary(max_size=200), cuts)
def test_without_secrets_output_stays_as_it_is(data, places):
    assert redacted(data, [], places) == data


def test_lines_of_a_secret_are_secrets_too_when_they_are_long_enough():
    assert forms("-----BEGIN-----\nabc\nMIIEvQIBADAN\n") == {
        b"-----BEGIN-----\nabc\nMIIEvQIBADAN\n",
        b"-----BEGIN-----\nabc\nMIIEvQIBADAN",
        b"-----BEGIN-----",
        b"MIIEvQIBADAN",
    }


@given(st.binary(max_size=200), cuts)
@example("é\r\n".encode(), [1])
@example(b"50%\r100%\r\nok\r", [4, 9])
def test_however_output_is_cut_its_lines_are_the_same(data, places):
    def lines(places: list[int]) -> list[str]:
        reader = LineReader([])
        return [line for piece in pieces(data, places) for line in reader.feed(piece)] + reader.end()

    found = lines(places)
    assert found == lines([])
    assert not any("\n" in line or "\r" in line or "\x00" in line for line in found)


def test_lines_are_what_a_terminal_would_show_last():
    reader = LineReader([b"secret!"])
    assert reader.feed(b"one\r\n10%\r50%\r100%\n\xff\x00\nthe sec") == ["one", "100%", "\ufffd\ufffd"]
    assert reader.feed(b"ret!\nlast") == ["the [redacted]"]
    assert reader.end() == ["last"]


def test_a_very_long_line_goes_on_as_the_next_and_memory_stays_bounded():
    reader = LineReader([])
    lines = [line for _ in range(100) for line in reader.feed(b"x" * 1_000)]
    assert len(lines) == 24
    assert len(reader._partial) <= LINE_MAX_CHARACTERS
    assert "".join(lines + reader.end()) == "x" * 100_000


levels = st.sampled_from(["info", "warning"])
writes = st.lists(st.tuples(levels, st.lists(st.text("ab", max_size=5), max_size=300)), max_size=20)


@given(writes)
def test_blocks_hold_every_line_once_in_order_each_of_one_level_and_none_too_big(written):
    transcript = Transcript(limit_bytes=10_000_000)
    found = []
    for level, lines in written:
        transcript.add(level, lines)
    while not transcript.is_empty:
        blocks = transcript.waiting()
        assert 0 < len(blocks) <= BLOCKS_PER_FLUSH
        transcript.written(blocks)
        found.extend(blocks)
    expected = [(level, line) for level, lines in written for line in lines]
    assert [(block.level, line) for block in found for line in block.text.split("\n")] == expected
    assert [block.first_line for block in found] == [
        1 + sum(block.line_count for block in found[:index]) for index in range(len(found))
    ]
    assert all(block.line_count == block.text.count("\n") + 1 <= BLOCK_MAX_LINES for block in found)
    assert all(len(block.text) <= BLOCK_MAX_CHARACTERS + BLOCK_MAX_LINES for block in found)
