"""The Connect protocol's streams: JSON messages, each behind five bytes.

Source: connectrpc.com/docs/protocol, "Streaming RPCs". An envelope is a byte of flags, the length
of the message as four bytes, and the message. The flag 2 marks the last one, which may hold an
error.
"""

from __future__ import annotations

import struct
from functools import partial

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import (
    MAX_DOCUMENT_BYTES,
    Framing,
    PlainWriter,
    Recognised,
    read_by,
)
from berlin.wire.json import encode_line

CONTENT_TYPE = "application/connect+json"

_HEAD = struct.Struct(">BI")
_COMPRESSED, _END = 1, 2


def envelope(message: bytes, flags: int = 0) -> bytes:
    """Return a message in its envelope."""
    return _HEAD.pack(flags, len(message)) + message


def message_in(body: bytes) -> bytes:
    """Return the message in the body of a client's request; a body without envelope as it is."""
    if len(body) < _HEAD.size or _HEAD.unpack_from(body)[1] != len(body) - _HEAD.size:
        return body
    return body[_HEAD.size :]


class ConnectFramer:
    """Cuts an answer into its messages; the last one is `{"end": …}`; see `Framer`."""

    def __init__(self) -> None:
        self.done = False
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages completed so far; see `Framer`."""
        self._held += data
        documents: list[bytes] = []
        at = 0
        while not self.done and len(self._held) - at >= _HEAD.size:
            flags, size = _HEAD.unpack_from(self._held, at)
            if flags & _COMPRESSED or flags > (_COMPRESSED | _END):
                raise ProtocolError(
                    f"a message of the Connect protocol has the flags {flags}: it is compressed, "
                    "or the answer is of another protocol"
                )
            if size > MAX_DOCUMENT_BYTES:
                raise ProtocolError(f"a message is longer than {MAX_DOCUMENT_BYTES} bytes")
            if len(self._held) - at - _HEAD.size < size:
                break
            message = bytes(self._held[at + _HEAD.size : at + _HEAD.size + size])
            at += _HEAD.size + size
            self.done = bool(flags & _END)
            if not self.done:
                documents.append(message)
            elif message.strip() not in (b"", b"{}"):
                documents.append(b'{"end":%b}' % message)
        del self._held[:at]
        return documents

    def finish(self) -> list[bytes]:
        """Return broken JSON if the answer was cut, so that decoding fails; see `Framer`."""
        return [] if self.done else [b"{"]


def _recognise(body: bytes) -> Recognised | None:
    """Recognise an envelope that holds JSON."""
    if len(body) < _HEAD.size or body[0] not in (0, _END):
        return None
    return read_by(ConnectFramer(), body)


CONNECT = Framing(
    "connect",
    CONTENT_TYPE,
    'messages of the Connect protocol; an error is {"end": {"error": …}}',
    ConnectFramer,
    partial(PlainWriter, lambda document: envelope(encode_line(document)), envelope(b"{}", _END)),
    _recognise,
)
