"""One detector says what an answer looks like: for a draft, and for a diagnosis."""

from __future__ import annotations

from typing import get_args

import pytest

from berlin.wire.framings import FRAMINGS, FramingName, recognise

EVENTS = b"event: a\ndata: {}\n\nevent: b\ndata: {}\n\n"


def test_every_name_has_its_framing() -> None:
    """What a recipe may write as a framing is what there is."""
    assert set(get_args(FramingName)) == set(FRAMINGS)
    assert all(name == framing.name for name, framing in FRAMINGS.items())


@pytest.mark.parametrize("body", [b"", b" \n", b"\xef\xbb\xbf"])
def test_an_empty_answer(body: bytes) -> None:
    """An answer of white space is empty."""
    looks = recognise(body)
    assert (looks.framing, looks.is_page) == (None, False)


@pytest.mark.parametrize("body", [b"<!DOCTYPE html>", b"<html>", b'<?xml version="1.0"?><html>'])
def test_a_page(body: bytes) -> None:
    """A page for a browser is not an answer of a chat."""
    assert recognise(body).is_page


@pytest.mark.parametrize(
    ("body", "name", "is_whole"),
    [
        (b"\xef\xbb\xbf{}", "json", True),
        (b'{"a": 1', "json", False),
        (b'{"a":\n 1}', "json", True),
        (b'{"a":1}\n{"a":2}\n', "ndjson", True),
        (b'{"a":1}\n{"a"', "ndjson", False),
        (b'[{"a":1}]', "json-array", True),
        (b'[{"a":1},', "json-array", False),
        (b": ping\n\ndata: {}\n\n", "sse", True),
        (b"data: [DONE]\n\n", "sse", True),
        (b'event: a\ndata: {"type":"a"}\n\nevent: b\ndata: {"type":"b"}\n\n', "sse", True),
        (EVENTS, "sse-events", True),
        (b'data: {"a":1}\n\ndata: ping\n\n', "sse-events", True),
        (b"event: a\ndata: Hello\n\n", "sse-text", True),
        (b"data: Hello\n\n", "sse-text", True),
        (b'f:{"a":1}\n0:"Hi"\nd:{"b":2}\n', "tagged-lines", True),
        (b'0:"Hi"\n0:" you', "tagged-lines", False),
        (b"So: 5\nNo: 6\n", "text", True),
        (b"Hello {", "text", True),
    ],
)
def test_what_an_answer_looks_like(body: bytes, name: str, is_whole: bool) -> None:
    """The framing is recognised, and whether the answer was cut off."""
    looks = recognise(body)
    assert looks.framing is FRAMINGS[name]
    assert looks.read.is_whole is is_whole


def test_what_is_recognised_is_what_the_framer_reads() -> None:
    """The documents of the detector are those of the framer."""
    looks = recognise(EVENTS)
    assert looks.read.documents == [{"event": "a", "data": {}}, {"event": "b", "data": {}}]
    framer = FRAMINGS["sse-events"].framer()
    assert framer.feed(EVENTS) == [b'{"event":"a","data":{}}', b'{"event":"b","data":{}}']
