"""Amazon's binary event stream."""

from __future__ import annotations

import struct
import zlib

import pytest

from berlin.errors import ProtocolError
from berlin.wire.framings import FRAMINGS, recognise
from berlin.wire.framings.prefixed import Prefixed

FRAMING = FRAMINGS["aws-events"]
DOCUMENTS = [
    {"event": "contentBlockDelta", "data": {"delta": {"text": "é"}}},
    {"event": "x", "data": None},
]
BODY = b"".join(map(FRAMING.writer().write, DOCUMENTS))


def message(headers: bytes, payload: bytes) -> bytes:
    """Return a message with its checksums."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_messages_are_cut_anywhere(size: int) -> None:
    """The same documents come wherever the reads were cut."""
    framer = FRAMING.framer()
    found = [d for at in range(0, len(BODY), size) for d in framer.feed(BODY[at : at + size])]
    assert found == [
        b'{"event":"contentBlockDelta","data":{"delta":{"text":"\xc3\xa9"}}}',
        b'{"event":"x","data":null}',
    ]
    assert framer.finish() == []


def test_exceptions_and_other_headers() -> None:
    """The type of an exception is the event; headers of all types are skipped as they should."""
    kinds = [
        b"\x01a\x00",
        b"\x01b\x01",
        b"\x01c\x02\x07",
        b"\x01d\x03\x00\x01",
        b"\x01e\x04" + bytes(4),
    ]
    kinds += [
        b"\x01f\x05" + bytes(8),
        b"\x01g\x06\x00\x02xy",
        b"\x01h\x08" + bytes(8),
        b"\x01i\x09" + bytes(16),
    ]
    name, value = b":exception-type", b"throttlingException"
    kinds.append(bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value)
    found = FRAMING.framer().feed(message(b"".join(kinds), b'{"message":"slow down"}'))
    assert found == [b'{"event":"throttlingException","data":{"message":"slow down"}}']


@pytest.mark.parametrize(
    "body",
    [
        BODY[:5] + b"\xff" + BODY[6:],
        BODY[:30] + b"\xff" + BODY[31:],
        b'{"message":"not binary"}',
        message(b"\x09abc", b""),
        message(b"\x01a\x07\xff\xff", b""),
    ],
)
def test_s20_what_is_damaged(body: bytes) -> None:
    """Wrong checksums and headers are a typed error."""
    with pytest.raises(ProtocolError):
        FRAMING.framer().feed(body)


def test_s13_a_message_that_is_too_long() -> None:
    """A length beyond the limit is refused at once, before anything is collected."""
    prelude = struct.pack(">II", 2**31, 0)
    with pytest.raises(ProtocolError, match="2147483648 bytes"):
        FRAMING.framer().feed(prelude + struct.pack(">I", zlib.crc32(prelude)))


def test_s21_a_message_that_is_cut_off() -> None:
    """What is left of a message is the beginning of an object: the decoder knows it was cut."""
    framer = FRAMING.framer()
    framer.feed(BODY[:-3])
    assert framer.finish() == [b"{"]


def test_it_is_recognised() -> None:
    """A recorded answer is known by its checksum."""
    looks = recognise(BODY)
    assert looks.framing is FRAMING
    assert looks.read.documents == DOCUMENTS


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("framing", ["json", "ndjson"])
def test_a_prefix_is_taken_off(framing: str, size: int) -> None:
    """A prefix of the answer, or of each line, does not reach the decoder."""
    for prefix in (b")]}'\n", b"for(;;);"):
        body = (
            prefix
            + b'{"a":1}'
            + (b"\n" + prefix.strip() + b'{"a":2}' if framing == "ndjson" else b"")
        )
        framer = Prefixed(FRAMINGS[framing].framer(), prefix.strip())
        found = [d for at in range(0, len(body), size) for d in framer.feed(body[at : at + size])]
        found = [d.strip() for d in (*found, *framer.finish()) if d.strip()]
        assert found == [b'{"a":1}', b'{"a":2}'][: len(found)]
        assert found
