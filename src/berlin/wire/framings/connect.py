"""The Connect protocol's streams: JSON messages, each behind five bytes.

Source: connectrpc.com/docs/protocol, "Streaming RPCs". An envelope is a byte of flags, the length
of the message as four bytes, and the message. The flag 2 marks the last one, which may hold an
error.
"""

from __future__ import annotations

import struct
from typing import Any

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import MAX_DOCUMENT_BYTES, Framer, Framing, Recognised, Writer
from berlin.wire.json import decoded_or_none, encode_line

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


class ConnectWriter:
    """Writes messages in envelopes; see `Writer`."""

    def write(self, document: dict[str, Any]) -> bytes:
        """Return a message."""
        return envelope(encode_line(document))

    def end(self) -> bytes:
        """Return the last message, without an error."""
        return envelope(b"{}", _END)


class Connect(Framing):
    """The Connect protocol's streams of JSON; see `Framing`."""

    name = "connect"
    content_type = CONTENT_TYPE
    in_words = 'messages of the Connect protocol; an error is {"end": {"error": …}}'

    def framer(self, done_marker: bytes = b"") -> Framer:
        """Return a framer; see `Framing`."""
        return ConnectFramer()

    def writer(self, done_marker: bytes = b"") -> Writer:
        """Return a writer; see `Framing`."""
        return ConnectWriter()

    def recognise(self, body: bytes) -> Recognised | None:
        """Recognise an envelope that holds JSON; see `Framing`."""
        if len(body) < _HEAD.size or body[0] not in (0, _END):
            return None
        framer = ConnectFramer()
        try:
            documents = [decoded_or_none(document) for document in framer.feed(body)]
        except ProtocolError:
            return None
        if not documents or not all(isinstance(document, dict) for document in documents):
            return None
        return Recognised(documents, is_whole=framer.done)
