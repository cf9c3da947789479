"""The text between bytes that do not change is read without decoding them."""

from __future__ import annotations

import pytest

from berlin.wire.around import TRIES, AroundText

BEFORE, AFTER = b'data: {"id":"1","text":"', b'","end":null}\n\n'


def read_of(text: bytes) -> bytes:
    return BEFORE + text + AFTER


def learned(*texts: bytes, end: bytes = b"\n\n") -> AroundText:
    around = AroundText(end)
    around.learn(b": hello\n\n", [], "")
    for text in texts:
        read = read_of(text)
        around.learn(read, [read[6:-2]], text.decode())
    return around


def test_two_reads_teach_what_is_around() -> None:
    """The third read like two others is not decoded; the second one is."""
    assert learned(b"a").text(read_of(b"b")) == ""
    assert learned(b"a", b"b").text(read_of(b"c")) == "c"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xc3\xa9", "é"),
        (b'\\n\\u00e9 \\"quoted\\"', '\né "quoted"'),
        (b'a","end":1,"text":"b', ""),
        (b"", ""),
        (b"a\nb", ""),
        (b"\xff", ""),
        (b"\\ud800", ""),
        (b'a"', ""),
        (b"\\", ""),
    ],
)
def test_only_a_string_is_between(raw: bytes, text: str) -> None:
    """What is not one JSON string, or is empty, has to be decoded."""
    assert learned(b"a", b"b").text(read_of(raw)) == text


@pytest.mark.parametrize(
    "read",
    [
        BEFORE + AFTER[1:],
        BEFORE[:-1] + AFTER,
        BEFORE,
        AFTER,
        read_of(b"a")[:-1],
        read_of(b"a") * 2,
        b"x" + read_of(b"a"),
    ],
)
def test_other_bytes_have_to_be_decoded(read: bytes) -> None:
    """A read that is shorter, longer or incomplete is not taken for one of the others."""
    assert learned(b"a", b"b").text(read) == ""


@pytest.mark.parametrize("text", [b"id", b"1", b"text", b",", b":"])
def test_a_text_in_two_places_teaches_nothing(text: bytes) -> None:
    """A text that is also another string, a name or punctuation has no certain place."""
    assert learned(text, text).text(read_of(b"c")) == ""


def test_a_read_between_makes_it_begin_again() -> None:
    """A read with another meaning may have changed theirs: two more have to be decoded."""
    around = learned(b"a", b"b")
    around.learn(b": ping\n\n", [], "")
    assert around.text(read_of(b"c")) == ""


def test_half_a_document_teaches_nothing() -> None:
    """The rest of a document that began in the read before is no document."""
    around = learned(b"a")
    around.learn(b'data: {"a":', [], "")
    read = read_of(b"b")
    around.learn(read, [read[6:-2]], "b")
    around.learn(read, [read[6:-2]], "b")
    assert around.text(read) == ""


def test_bytes_that_change_are_not_compared_for_long() -> None:
    """A stream with a time in each chunk is decoded, and soon without a comparison."""
    around = AroundText(b"\n")
    around.learn(b"\n", [], "")
    for n in range(TRIES):
        around.learn(b'{"at":%d,"text":"a"}\n' % n, [b'{"at":%d,"text":"a"}' % n], "a")
    for _ in range(2):
        around.learn(b'{"at":0,"text":"a"}\n', [b'{"at":0,"text":"a"}'], "a")
    assert around.text(b'{"at":0,"text":"b"}\n') == ""
