"""Every framing gives the same documents, wherever the reads cut the bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from berlin.errors import ProtocolError
from berlin.wire.framings import FRAMINGS, FramingName
from berlin.wire.framings.contract import BOM, MAX_DOCUMENT_BYTES
from berlin.wire.framings.sse import SseFramer
from support.drawn.dialect import cut

BOUNDED = settings(max_examples=100)
DONE = b"[DONE]"
NAMES: tuple[FramingName, ...] = get_args(FramingName)

CUTS = st.lists(st.integers(1, 9), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\[]{},:\né', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\]}', max_size=3), inner)
    ),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text('ab"\\', max_size=3), JSON, max_size=3)

TOKENS = (
    *(b"\n", b"\n\n", b"\r\n", b"\r", b" ", b"data", b"data: ", b"event: ", b"x", b":", b","),
    *(b'data: {"a":1}\n\n', b'data: {"b":2}\r\n\r\n', b"data: [DONE]\n\n", b": ping\n\n", b'"'),
    *(b'{"a":1}', b'[{"a":1}', b"{", b"}", b"[", b"]", b"\\", b"<", b"\xff", "я".encode(), BOM),
)
BODIES = st.binary(max_size=40) | st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join)


def documents(framing: FramingName, reads: Iterable[bytes]) -> list[bytes]:
    """Return the documents of an answer; text that is no JSON is joined, since reads cut it."""
    framer = FRAMINGS[framing].framer(DONE)
    found: list[bytes] = []
    for read in reads:
        found += framer.feed(read)
        if framer.done:
            break
    found += framer.finish()
    lines = [line for line in found if line.strip()]
    if framing == "text":
        good = list(takewhile(lambda line: line.startswith(b"{"), lines))
        text = "".join(json.loads(line)["data"] for line in good)
        return [text.encode(), *lines[len(good) : len(good) + 1]]
    return lines


def outcome(framing: FramingName, reads: Iterable[bytes]) -> list[bytes] | str:
    """Return the documents of an answer, or what is wrong with it."""
    try:
        return documents(framing, reads)
    except ProtocolError as error:
        return str(error)


@pytest.mark.parametrize("framing", NAMES)
@BOUNDED
@given(data=BODIES, sizes=CUTS)
@example(data=BOM + b"data: {}\n\n", sizes=[1, 1, 1])
@example(data=b'data: {"a":1}\n\n\ndata: {"a":2}\n\n', sizes=[14, 1])
@example(data=b'[\n{"a":"\\"]"},\r\n{"b":"\\\\"}]', sizes=[1] * 40)
@example(data=b'[{"a":1}', sizes=[8])
@example(data=b"  \n\n  <html>", sizes=[1] * 9)
@example(data=BOM + b" data: {}\n\n", sizes=[4])
@example(data=BOM, sizes=[1])
@example(data='3\n"\u00e4"14\n["\u20ac\U0001f600"]'.encode(), sizes=[1] * 30)
@example(data=b"data: {}\n\n" + BOM + b"data: {}\n\n", sizes=[5, 5])
@example(data="a\u2026".encode() + b"\xff", sizes=[1] * 9)
def test_documents_do_not_depend_on_the_cuts(
    framing: FramingName, data: bytes, sizes: list[int]
) -> None:
    """Any body gives the same documents or the same error under every cut."""
    whole = outcome(framing, [data])
    assert outcome(framing, cut(data, sizes)) == whole
    assert outcome(framing, (data[n : n + 1] for n in range(len(data)))) == whole


# Server-sent events


def events_of(data: bytes, *, names: bool = False) -> Iterator[tuple[str, bytes]]:
    """Give the events of a stream up to the mark of its end, as the plain framer reads them."""
    for frame in SseFramer(names=names).feed(data):
        if frame.data.strip() == DONE:
            return
        yield frame.event, frame.data


EVENTS = st.lists(
    st.sampled_from(
        (
            *(b'data: {"a":1}\n\n', b'data: {"b":"x"}\n\n', b'data:{"c":1}\n\n', b": ping\n\n"),
            *(b'event: one\ndata: {"d":1}\n\n', b'data: {\ndata: "e":1}\n\n', b"data: \n\n", b"\n"),
            *(b'data: {"f":1}\r\n\r\n', b'data: {"g":1}\r\r', b"id: 7\n\n", b"data: [DONE]\n\n"),
            *(b": ping\n", b"retry: 5\n", b"data: text\n\n", b"data:[DONE] \n\n", b"event: two\n"),
        )
    ),
    max_size=8,
).map(b"".join)


@BOUNDED
@given(EVENTS, CUTS)
def test_the_short_way_gives_what_the_framer_of_events_gives(data: bytes, sizes: list[int]) -> None:
    """Whether a read is taken at once or event by event, the data is the same."""
    # What the last blank line does not close is taken as an event too.
    events = list(events_of(data + b"\n\n"))
    plain = [value for _, value in events if value.strip()]
    assert documents("sse", cut(data, sizes)) == plain
    texts = [json.loads(line) for line in documents("sse-text", cut(data, sizes))]
    named = events_of(data + b"\n\n", names=True)
    assert texts == [{"event": name, "data": value.decode()} for name, value in named]


@BOUNDED
@given(st.lists(st.tuples(st.sampled_from(["", "one", "t\u2028wo"]), OBJECTS), max_size=6), CUTS)
def test_events_keep_their_names(events: list[tuple[str, Any]], sizes: list[int]) -> None:
    """With names, a document is the event's name and its data."""
    data = b"".join(
        (f"event: {name}\n" if name else "").encode() + b"data: %b\n\n" % json.dumps(value).encode()
        for name, value in events
    )
    found = [json.loads(line) for line in documents("sse-events", cut(data, sizes))]
    assert found == [{"event": name or "message", "data": value} for name, value in events]


def test_an_event_without_data_of_its_own_is_null() -> None:
    """An empty data field still is an event where names are wanted."""
    assert documents("sse-events", [b"event: stop\ndata:\n\n"]) == [b'{"event":"stop","data":null}']


@pytest.mark.parametrize("blank", [b"", b"\n", b" \r\n\t", BOM, BOM + b"\n"])
@pytest.mark.parametrize(
    "body", [b'{"error":\n"no"}', b"<html>\n\n<p>data: {}\n\n</html>", b'[{"a":1},\r\n\r\n2]']
)
def test_a_body_that_is_no_stream_is_one_document(blank: bytes, body: bytes) -> None:
    """A whole answer in place of events comes out as one document, under every cut in two."""
    data = blank + body
    expected = [body]
    for n in range(len(data) + 1):
        assert documents("sse", [data[:n], data[n:]]) == expected


@pytest.mark.parametrize("framing", ["sse", "sse-events", "sse-text"])
@pytest.mark.parametrize(
    "mark", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b": x\ndata: [DONE]"]
)
def test_nothing_is_read_behind_the_mark(framing: FramingName, mark: bytes) -> None:
    """The mark ends the answer, whatever follows and however the reads are cut."""
    before = b'data: {"a":1}\n\n'
    after = b'\n\ndata: {"b":2}\n\nbroken \xff' if not mark.endswith(b"[DONE]") else b""
    data = before + mark + after
    expected = documents(framing, [before])
    for n in range(len(data) + 1):
        framer = FRAMINGS[framing].framer(DONE)
        found = framer.feed(data[:n]) + framer.feed(data[n:]) + framer.finish()
        assert found == expected
        assert framer.done


def test_without_a_mark_nothing_ends_a_stream() -> None:
    """A framer that was given no mark takes one for data."""
    framer = FRAMINGS["sse"].framer()
    assert framer.feed(b"data: [DONE]\n\n") == [b"[DONE]"]
    assert not framer.done


# Arrays


@BOUNDED
@given(st.lists(OBJECTS | JSON, max_size=6), st.sampled_from([None, 1]), CUTS)
def test_items_of_an_array_come_one_by_one(
    items: list[Any], indent: int | None, sizes: list[int]
) -> None:
    """Brackets, quotes and backslashes in strings are no structure, wherever they are cut."""
    data = json.dumps(items, indent=indent, ensure_ascii=False).encode()
    for reads in ([data], cut(data, sizes), (data[n : n + 1] for n in range(len(data)))):
        assert [json.loads(line) for line in documents("json-array", reads)] == items


def test_an_item_is_handed_out_when_it_is_whole() -> None:
    """The reader of a long array need not wait for its end."""
    framer = FRAMINGS["json-array"].framer()
    assert framer.feed(b'[{"a":"]\\') == []
    assert framer.feed(b'"},') == []
    assert framer.feed(b"") == []


# All others


@BOUNDED
@given(st.lists(OBJECTS, max_size=6), CUTS, st.booleans())
def test_lines_and_whole_bodies(objects: list[Any], sizes: list[int], with_bom: bool) -> None:
    """Lines are documents; a body is one, on one line."""
    bom = BOM if with_bom else b""
    lines = [json.dumps(value).encode() for value in objects]
    assert documents("ndjson", cut(bom + b"\n".join(lines), sizes)) == lines
    body = json.dumps(objects, indent=2).encode()
    (document,) = documents("json", cut(bom + body, sizes))
    assert json.loads(document) == objects


@BOUNDED
@given(st.text(), CUTS)
def test_text_survives_in_pieces(text: str, sizes: list[int]) -> None:
    """Text that is no JSON is never cut inside a character."""
    text = text.removeprefix("\ufeff")
    assert documents("text", cut(text.encode(), sizes)) == [text.encode()]


@pytest.mark.parametrize(
    ("framing", "begin"),
    [
        ("ndjson", b'{"a":"'),
        ("sse", b'data: {"a":"'),
        ("sse", b'{"a":"'),
        ("sse", b'data: {"a":1}\r\n\r\ndata: '),
        ("sse-events", b"data: "),
        ("sse-text", b"data: "),
        ("json", b'{"a":"'),
        ("json-array", b'[{"a":"'),
    ],
)
def test_s13_a_document_has_a_limit(framing: FramingName, begin: bytes) -> None:
    """A document that never ends is refused at the limit, not collected for ever."""
    framer = FRAMINGS[framing].framer(DONE)
    framer.feed(begin)
    read = b"x" * (1 << 20)
    with pytest.raises(ProtocolError, match=f"longer than {MAX_DOCUMENT_BYTES} bytes"):
        for _ in range(MAX_DOCUMENT_BYTES // len(read) + 1):
            framer.feed(read)


@pytest.mark.parametrize("framing", ["sse", "ndjson", "json-array"])
def test_s09_blank_lines_are_not_kept(framing: FramingName) -> None:
    """Keep-alives before the first document may come for ever, and cost nothing."""
    framer = FRAMINGS[framing].framer(DONE)
    read = b"\n" * (1 << 20)
    for _ in range(MAX_DOCUMENT_BYTES // len(read) + 2):
        assert framer.feed(read) == []
    end = {"sse": b'data: {"a":1}\n\n', "ndjson": b'{"a":1}\n', "json-array": b'[{"a":1}]'}
    assert framer.feed(end[framing]) == [b'{"a":1}']


@pytest.mark.parametrize(
    ("framing", "data"),
    [
        ("text", "good\u2026".encode() + b"\xff"),
        ("sse-text", b"data: good\n\ndata: \xff\n\n"),
    ],
)
def test_s16_bad_utf8_does_not_eat_what_came_before(framing: FramingName, data: bytes) -> None:
    """Text before a bad byte is delivered, wherever the reads were cut."""
    for n in range(len(data) + 1):
        framer = FRAMINGS[framing].framer(DONE)
        found = framer.feed(data[:n]) + framer.feed(data[n:]) + framer.finish()
        before = list(takewhile(lambda line: line.startswith(b"{"), found))
        assert "".join(json.loads(line)["data"] for line in before).startswith("good")
        with pytest.raises(json.JSONDecodeError):
            json.loads(found[len(before)])
