"""Amazon's binary event stream, as used by Bedrock.

Source: Amazon's specification `application/vnd.amazon.eventstream`. A message is its length, the
length of its headers and a checksum of both, then headers, payload, and a checksum of everything.
"""

from __future__ import annotations

import struct
import zlib
from functools import partial
from typing import Any

import msgspec

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import (
    MAX_DOCUMENT_BYTES,
    Framing,
    PlainWriter,
    Recognised,
    read_by,
)
from berlin.wire.json import encode_line

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_AROUND_BYTES = _PRELUDE.size + _CRC.size
_STRING = 7
# Lengths of header values by their type: true, false, byte, short, int, long, then bytes and
# text with a length of their own, time, UUID.
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class AwsFramer:
    """Splits an answer into objects `{"event": type, "data": …}`; see `Framer`."""

    done = False

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages completed so far; see `Framer`."""
        self._held += data
        documents = []
        at = 0
        while len(self._held) - at >= _PRELUDE.size:
            size, headers, crc = _PRELUDE.unpack_from(self._held, at)
            prelude = self._held[at : at + _PRELUDE.size - _CRC.size]
            if crc != zlib.crc32(prelude):
                raise ProtocolError("the answer is not Amazon's event stream: a checksum is wrong")
            if not _AROUND_BYTES + headers <= size <= MAX_DOCUMENT_BYTES:
                raise ProtocolError(f"a message of {size} bytes is not valid in an event stream")
            if len(self._held) - at < size:
                break
            documents.append(_document(bytes(self._held[at : at + size]), headers))
            at += size
        del self._held[:at]
        return documents

    def finish(self) -> list[bytes]:
        """Return broken JSON if a message was cut, so that decoding fails; see `Framer`."""
        return [b"{"] if self._held else []


def _document(message: bytes, headers_size: int) -> bytes:
    if _CRC.unpack_from(message, len(message) - _CRC.size)[0] != zlib.crc32(message[: -_CRC.size]):
        raise ProtocolError("a message of the event stream is damaged: a checksum is wrong")
    begin = _PRELUDE.size
    headers = _headers(message[begin : begin + headers_size])
    data = message[begin + headers_size : -_CRC.size] or b"null"
    kind = (
        headers.get(":event-type")
        or headers.get(":exception-type")
        or headers.get(":error-code")
        or ""
    )
    if headers.get(":message-type") == "error":
        data = encode_line({"message": headers.get(":error-message", "")})
    return b'{"event":%b,"data":%b}' % (msgspec.json.encode(kind), data)


def _headers(block: bytes) -> dict[str, str]:
    """Return the headers that are text."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            size = block[at]
            name = block[at + 1 : at + 1 + size].decode()
            kind = block[at + 1 + size]
            at += size + 2
            if kind in _FIXED:
                at += _FIXED[kind]
                continue
            (length,) = struct.unpack_from(">H", block, at)
            value = block[at + 2 : at + 2 + length]
            at += 2 + length
            if kind == _STRING:
                found[name] = value.decode()
    except (IndexError, struct.error, UnicodeDecodeError):
        at = len(block) + 1
    if at > len(block):
        raise ProtocolError("the headers of a message in the event stream are broken")
    return found


def _write(document: dict[str, Any]) -> bytes:
    headers = b"".join(
        _header(name, value)
        for name, value in (
            (":event-type", str(document.get("event", "message"))),
            (":content-type", "application/json"),
            (":message-type", "event"),
        )
    )
    payload = encode_line(document.get("data"))
    size = _AROUND_BYTES + len(headers) + len(payload)
    prelude = struct.pack(">II", size, len(headers))
    message = prelude + _CRC.pack(zlib.crc32(prelude)) + headers + payload
    return message + _CRC.pack(zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    encoded = value.encode()
    return (
        bytes([len(name)])
        + name.encode()
        + bytes([_STRING])
        + struct.pack(">H", len(encoded))
        + encoded
    )


def _recognise(body: bytes) -> Recognised | None:
    """Recognise the checksum of the first message."""
    if len(body) < _PRELUDE.size:
        return None
    size, _, crc = _PRELUDE.unpack_from(body)
    if crc != zlib.crc32(body[: _PRELUDE.size - _CRC.size]) or size < _AROUND_BYTES:
        return None
    return read_by(AwsFramer(), body) or Recognised([], is_whole=False)


AWS_EVENTS = Framing(
    "aws-events",
    "application/vnd.amazon.eventstream",
    'Amazon\'s binary event stream, as objects {"event": type, "data": …}',
    AwsFramer,
    partial(PlainWriter, _write),
    _recognise,
)
