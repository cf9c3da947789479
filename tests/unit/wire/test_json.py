"""JSON of clients: the check of its size takes one pass, whatever is in it."""

from __future__ import annotations

import json

import pytest

from berlin.errors import InvalidRequestError
from berlin.wire.json import (
    MAX_VALUES,
    _marks_outside_text,
    check_size,
    decode_request_object,
    encode_body,
    loads,
)

CHUNK = 64 * 1024


@pytest.mark.parametrize(
    ("body", "marks"),
    [
        (b"", 0),
        (b"[1,2,3]", 3),
        (b'["a,b","c"]', 2),
        (b'["a\\",b","c,"]', 2),
        (b'["a\\\\",b]', 2),
        (b'["\\\\\\",",1]', 2),
        (b'{"a":"' + b"," * 10, 1),
        (b'["' + b"," * CHUNK + b'",1]', 2),
        (b"[" + b"1," * CHUNK + b"{}]", CHUNK + 2),
    ],
)
def test_marks_outside_text(body: bytes, marks: int) -> None:
    """Commas between values and what opens them are counted, those in text are not."""
    assert _marks_outside_text(body) == marks


@pytest.mark.parametrize("shift", range(8))
def test_a_cut_changes_nothing(shift: int) -> None:
    """Chunks are never cut between a backslash and what it escapes."""
    text = b'["' + b"x" * (CHUNK - 6 + shift) + b'\\\\\\",,,\\\\",1,2]'
    assert _marks_outside_text(text) == 3


def test_an_attack_on_the_check_itself() -> None:
    """A text without an end, full of escaped quotes, is read once and not from each quote."""
    body = b'{"a":"' + b"," * (MAX_VALUES + 1) + b'","account":"' + b'\\"' * 2_000_000
    with pytest.raises(InvalidRequestError, match="not JSON"):
        decode_request_object(body)


def test_too_many_values() -> None:
    """Half a million values are decoded, more are not; also in text that is part of a body."""
    check_size(b"[" + b"1," * (MAX_VALUES - 1) + b"1]")
    many = b"[" + b"1," * (MAX_VALUES + 1) + b"1]"
    with pytest.raises(InvalidRequestError, match="more than 500000 values"):
        check_size(many)
    with pytest.raises(InvalidRequestError, match="more than 500000 values"):
        loads(many.decode())


def test_C23_long_lists_are_encoded_in_parts() -> None:
    """The parts of a long list join to the same JSON as the whole; a bad value in it is refused."""
    messages = [{"n": n, "text": 'a"é]'} for n in range(12_001)]
    document = {"model": "m", "messages": messages, "tools": [], "é": None}
    assert encode_body(document).decode() == json.dumps(
        document, ensure_ascii=False, separators=(",", ":")
    )
    messages[9_000]["text"] = "\ud800"
    with pytest.raises(InvalidRequestError, match=r"^messages: half of a surrogate pair"):
        encode_body(document)
