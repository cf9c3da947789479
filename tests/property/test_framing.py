"""Framing gives the same lines and events wherever the reads cut the bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import BOM
from berlin.wire.framings.lines import LineFramer
from berlin.wire.framings.sse import SseFrame, SseFramer
from support.drawn.dialect import cut

BOUNDED = settings(max_examples=200)

CUTS = st.lists(st.integers(1, 7), max_size=40)

LINE_TOKENS = (
    b"\n",
    b"\r\n",
    b"\r",
    BOM,
    BOM[:1],
    BOM[:2],
    b'{"a":1}',
    b" ",
    b"\0",
    "я\u2028".encode(),
)
LINES = st.one_of(st.binary(max_size=80), st.lists(st.sampled_from(LINE_TOKENS)).map(b"".join))

SSE_TOKENS = (
    *(b"\n", b"\r\n", b"\r", b":", b" ", b"data", b"event", b"id", b"retry"),
    *(b"data: x\n", b"data\n", b"event: ping\r", b"\n\n", BOM, BOM[:2], "яé\u2028".encode()),
)
EVENTS = st.one_of(st.binary(max_size=80), st.lists(st.sampled_from(SSE_TOKENS)).map(b"".join))


def one_by_one(data: bytes) -> Iterator[bytes]:
    """Give the data byte by byte, with an empty read in between."""
    for n in range(len(data)):
        yield data[n : n + 1]
        yield b""


def lines_of(reads: Iterator[bytes]) -> tuple[list[bytes], bytes]:
    """Return the whole lines that are not blank, and the rest that a framer makes of reads."""
    framer = LineFramer()
    lines = [line for read in reads for line in framer.feed(read)]
    rest = b"".join(framer.finish())
    return [line for line in lines if line.strip()], rest


def events_of(reads: Iterator[bytes]) -> list[SseFrame]:
    """Return the events that a framer makes of reads."""
    framer = SseFramer()
    return [frame for read in reads for frame in framer.feed(read)]


def reference_events(data: bytes) -> list[SseFrame]:
    """Read an event stream as section 9.2.6 of the HTML standard says, character by character."""
    lines: list[bytes] = []
    line = b""
    skip_lf = False
    for byte in data:
        if skip_lf and byte == 0x0A:
            skip_lf = False
            continue
        skip_lf = byte == 0x0D
        if byte in (0x0A, 0x0D):
            lines.append(line)
            line = b""
        else:
            line += bytes([byte])
    # What no line end closes belongs to an event that no blank line ends: discarded.
    frames: list[SseFrame] = []
    data_buffer = event_type = b""
    for line in lines:
        if not line:
            if data_buffer:
                name = event_type.decode("utf-8", "replace") or "message"
                frames.append(SseFrame(name, data_buffer[:-1]))
            data_buffer = event_type = b""
            continue
        field, colon, value = line, b"", b""
        at = line.find(b":")
        if at == 0:
            continue
        if at > 0:
            field, colon, value = line[:at], b":", line[at + 1 :]
        if colon and value.startswith(b" "):
            value = value[1:]
        if field == b"event":
            event_type = value
        elif field == b"data":
            data_buffer += value + b"\n"
    return frames


@BOUNDED
@given(LINES, CUTS)
def test_lines_do_not_depend_on_the_cuts(data: bytes, sizes: list[int]) -> None:
    """Every cut gives the lines that the whole gives: those that LF ends, without a BOM."""
    *lines, rest = data.removeprefix(BOM).split(b"\n")
    lines = [line for line in lines if line.strip()]  # a blank line is no document
    assert lines_of(iter([data])) == (lines, rest)
    assert lines_of(cut(data, sizes)) == (lines, rest)
    assert lines_of(one_by_one(data)) == (lines, rest)


@BOUNDED
@given(EVENTS, CUTS)
def test_events_do_not_depend_on_the_cuts(data: bytes, sizes: list[int]) -> None:
    """Every cut gives the events that the HTML standard's algorithm gives."""
    expected = reference_events(data)
    assert events_of(iter([data])) == expected
    assert events_of(cut(data, sizes)) == expected
    assert events_of(one_by_one(data)) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: a\n\n", [("message", b"a")]),
        (b"data:a\r\n\r\n", [("message", b"a")]),
        (b"data: a\r\r", [("message", b"a")]),
        (b"data:  a \n\n", [("message", b" a ")]),
        (b"data: a\ndata: b\n\n", [("message", b"a\nb")]),
        (b"data\n\ndata\ndata\n\n", [("message", b""), ("message", b"\n")]),
        (b"data:\n\ndata", [("message", b"")]),
        (b": a comment\n\n", []),
        (b"event: ping\n\ndata: a\n\n", [("message", b"a")]),
        (b"event: ping\ndata: a\n\ndata: b\n\n", [("ping", b"a"), ("message", b"b")]),
        (b"event: ping\nevent:\ndata: a\n\n", [("message", b"a")]),
        (b"data: a\nid: 1\nretry: 5\nwhat: ever\n\n", [("message", b"a")]),
        (b"data: never ended\n", []),
        ("data: a\u2028b\n\n".encode(), [("message", "a\u2028b".encode())]),
    ],
)
def test_events_as_the_standard_writes_them(data: bytes, expected: list[tuple[str, bytes]]) -> None:
    """The cases of the HTML standard, at every cut in two; the reference reads them so too."""
    frames = [SseFrame(event, value) for event, value in expected]
    assert reference_events(data) == frames
    for n in range(len(data) + 1):
        assert events_of(iter([data[:n], data[n:]])) == frames


@BOUNDED
@given(st.integers(1, 50), st.integers(0, 50), CUTS)
def test_a_line_within_the_limit_passes_under_every_cut(
    limit: int, length: int, sizes: list[int]
) -> None:
    """A line up to the limit is never refused; an endless one beyond it always is."""
    framer = LineFramer(max_line_bytes=limit)
    reads = list(cut(b"x" * length, sizes))
    if length > limit:
        with pytest.raises(ProtocolError, match=f"^a line is longer than {limit} bytes$"):
            for read in reads:
                framer.feed(read)
        return
    for read in reads:
        framer.feed(read)
    assert framer.feed(b"\n") == ([b"x" * length] if length else [])


@BOUNDED
@given(st.integers(10, 50), CUTS, st.booleans())
def test_an_endless_event_is_refused_under_every_cut(
    limit: int, sizes: list[int], many_lines: bool
) -> None:
    """An event that grows beyond the limit is refused, as one line or as many."""
    framer = SseFramer(max_event_bytes=limit)
    data = b"data: xxxx\n" * limit if many_lines else b"data: " + b"x" * limit
    with pytest.raises(ProtocolError, match=f"^an event is longer than {limit} bytes$"):
        for read in cut(data, sizes):
            framer.feed(read)


@BOUNDED
@given(CUTS)
def test_many_short_events_are_no_long_one(sizes: list[int]) -> None:
    """The limit counts one event: any number of short ones may follow each other."""
    framer = SseFramer(max_event_bytes=20)
    frames = [frame for read in cut(b"data: xxxx\n\n" * 50, sizes) for frame in framer.feed(read)]
    assert frames == [SseFrame("message", b"xxxx")] * 50
