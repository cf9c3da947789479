"""Faults of the stream, part 1: how its bytes are cut, and which characters they make."""

from __future__ import annotations

import pytest

from berlin import errors
from support.fault_play import play
from support.fault_steps import (
    CHUNKED,
    LAST_CHUNK,
    NDJSON,
    Send,
    begin_stream,
    chunk,
    head,
    line,
    stream,
)

WORDS = "Zürich, 東京, 🏙️ and naïve café"


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_S01_multibyte_character_split_across_chunks(size: int) -> None:
    """A character that is split across chunks arrives whole."""
    data = line(WORDS)
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    seen = await play(stream(*parts))
    assert seen.text == WORDS


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
async def test_S01_multibyte_character_split_across_segments(size: int) -> None:
    """A character of one chunk that is split across TCP segments arrives whole."""
    begin = Send(head("200 OK", NDJSON, CHUNKED))
    seen = await play((begin, Send(chunk(line(WORDS)) + LAST_CHUNK, size=size)))
    assert seen.text == WORDS


async def test_S02_one_byte_per_segment() -> None:
    """An answer that comes one byte per segment, head included, is read like any other."""
    body = chunk(line(WORDS)) + chunk(line("!")) + LAST_CHUNK
    seen = await play((Send(head("200 OK", NDJSON, CHUNKED) + body, size=1),))
    assert seen.text == WORDS + "!"


async def test_S03_crlf_line_ends() -> None:
    """A CR before the LF is white space, also when a read ends between the two."""
    seen = await play(stream(b'{"content":"a"}\r\n{"content":"b"}\r', b'\n{"content":"c"}\r\n'))
    assert seen.pieces == ["a", "b", "c"]
    assert seen.error is None


async def test_S04_lone_cr_between_two_objects() -> None:
    """A lone CR is white space too: both objects beside it are delivered."""
    seen = await play(stream(b'{"content":"a"}\r{"content":"b"}\n'))
    assert seen.pieces == ["a", "b"]
    assert seen.error is None


@pytest.mark.parametrize("parts", [(b"\xef\xbb\xbf",), (b"\xef", b"\xbb", b"\xbf")])
async def test_S05_bom_before_the_first_line(parts: tuple[bytes, ...]) -> None:
    """A byte order mark before the first line is dropped, also when it comes in pieces."""
    seen = await play(stream(*parts, line("a"), line("b")))
    assert seen.text == "ab"


async def test_S06_last_line_without_newline() -> None:
    """The last line needs no newline."""
    seen = await play(stream(line("a"), line("b").rstrip()))
    assert seen.text == "ab"


async def test_S07_many_lines_in_one_segment() -> None:
    """Lines that come together are delivered all, in order, each as a piece."""
    words = [f"{number} " for number in range(500)]
    seen = await play(stream(b"".join(map(line, words))))
    assert seen.pieces == words
    assert seen.error is None


async def test_S08_two_objects_on_one_line() -> None:
    """Two objects on one line are both delivered."""
    seen = await play(stream(b'{"content":"a"}{"content":"b"}\n', line("c")))
    assert seen.pieces == ["a", "b", "c"]
    assert seen.error is None


async def test_S09_blank_lines_between_objects() -> None:
    """Empty lines and lines of white space are keep-alives: nothing of them is text."""
    seen = await play(stream(b"\n\r\n", line("a"), b"   \n\t\n\n", line("b") + b" \n", b"\n"))
    assert seen.pieces == ["a", "b"]
    assert seen.error is None


@pytest.mark.parametrize("bad", [b'{"content":"x\x00y"}\n', b"\x00\n", b'\x00{"content":"x"}\n'])
async def test_S14_raw_nul_byte(bad: bytes) -> None:
    """A raw NUL is no JSON: an error after the text that came before it."""
    seen = await play(stream(line("a"), bad + line("b")))
    seen.failed_with(errors.ProtocolError, after=["a"])


async def test_S15_escaped_nul_in_content() -> None:
    r"""A NUL that is written as \u0000 is a character like others."""
    seen = await play(stream(b'{"content":"x\\u0000y"}\n'))
    assert seen.text == "x\x00y"


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xe6\x9d", b"\xc0\xaf", b"\xf4\x90\x80\x80"])
async def test_S16_invalid_utf8_in_content(bad: bytes) -> None:
    """Bytes in the text that are not UTF-8 are a protocol error, never guessed at."""
    seen = await play(stream(line("a"), b'{"content":"x' + bad + b'"}\n', line("b")))
    seen.failed_with(errors.ProtocolError, after=["a"])


async def test_S16_invalid_utf8_elsewhere() -> None:
    """Bytes that are not UTF-8 in a field that nobody reads do no harm."""
    seen = await play(stream(b'{"trace":"\xff","content":"a"}\n', line("b")))
    assert seen.text == "ab"


async def test_S17_surrogate_encoded_as_utf8() -> None:
    """A surrogate that is encoded as if it were a character is not UTF-8 either."""
    seen = await play(stream(line("a"), b'{"content":"x\xed\xa0\x80"}\n', line("b")))
    seen.failed_with(errors.ProtocolError, after=["a"])


@pytest.mark.parametrize("escape", [rb"\ud800", rb"\udfff", rb"\udc00\ud800", rb"\ud800\ud800"])
async def test_S18_escaped_lone_surrogate(escape: bytes) -> None:
    """Half of an escaped surrogate pair is a protocol error: no text could be written with it."""
    seen = await play(stream(line("a"), b'{"content":"x' + escape + b'y"}\n', line("b")))
    seen.failed_with(errors.ProtocolError, after=["a"])


async def test_S18_escaped_surrogate_pair() -> None:
    """A whole escaped pair is the character that it stands for."""
    seen = await play(stream(rb'{"content":"\ud83c\udfd9"}' + b"\n"))
    assert seen.text == "🏙"


async def test_S19_surrogate_pair_split_over_two_lines() -> None:
    """A pair that is split over two pieces is a protocol error, after the text before it."""
    seen = await play(stream(line("a"), b'{"content":"\\ud83d"}\n{"content":"\\ude00"}\n'))
    seen.failed_with(errors.ProtocolError, after=["a"])


async def test_S39_control_characters_and_quotes() -> None:
    """What other line readers take for a line end is text, exactly as it was sent."""
    words = "a\nb\tc\"d'e\\f\u2028g\u2029h\x85i\x0bj\x0ck\x1cl\r\nm\u200b"
    seen = await play(stream(line(words), line(words)))
    assert seen.pieces == [words, words]
    assert seen.error is None


async def test_S40_ansi_escapes_and_bidi_overrides() -> None:
    """The library hands on terminal escapes and text direction marks as they were sent."""
    words = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \u202egnirts\u202c \u2066x\u2069 \x9b1m"
    seen = await play(stream(line(words)))
    assert seen.text == words


async def test_S42_wrong_content_type() -> None:
    """The Content-Type does not matter where the lines are good."""
    seen = await play(stream(line("a"), line("b"), headers=("Content-Type: text/html",)))
    assert seen.text == "ab"


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1", "no-such-charset"])
async def test_S43_other_charset_declared(charset: str) -> None:
    """JSON is UTF-8, whatever the header says."""
    declared = f"Content-Type: application/json; charset={charset}"
    seen = await play(stream(line(WORDS), headers=(declared,)))
    assert seen.text == WORDS


async def test_S44_anti_xssi_prefix() -> None:
    """A prefix against script inclusion is not what the service was described to send."""
    seen = await play(stream(b")]}',\n", line("a")))
    seen.failed_with(errors.ProtocolError)
    assert len(seen.chats) == 1


async def test_S34_sse_framing() -> None:
    """Server-sent events where plain lines are described are a protocol error, at once."""
    seen = await play(begin_stream(b'data: {"content":"a"}\n\n') + stream()[-1:])
    seen.failed_with(errors.ProtocolError)
