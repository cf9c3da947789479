"""JSON documents that each follow a line with their length, as some of Google's pages have it."""

from __future__ import annotations

from typing import Any

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import (
    BOM,
    MAX_DOCUMENT_BYTES,
    Framer,
    Framing,
    Recognised,
    Writer,
)
from berlin.wire.json import decoded_or_none, encode_line

_LONGEST_LENGTH = len(str(MAX_DOCUMENT_BYTES))
_BLANKS = b" \t\r\n"


class LengthFramer:
    """Cuts an answer into its documents; a list becomes `{"data": list}`; see `Framer`.

    The length counts bytes, or UTF-16 code units as JavaScript does: whichever gives whole JSON.
    """

    done = False

    def __init__(self) -> None:
        self._held = b""
        self._wanted = 0  # how many bytes there must be before it is worth looking again

    def feed(self, data: bytes) -> list[bytes]:
        """Return the documents completed so far; see `Framer`."""
        held = self._held + data if self._held else data.removeprefix(BOM)
        documents: list[bytes] = []
        while len(held) >= self._wanted:
            held = held.lstrip(_BLANKS)
            head, line_end, rest = held.partition(b"\n")
            digits = head.strip()
            if not line_end and len(digits) <= _LONGEST_LENGTH and (digits.isdigit() or not digits):
                break
            if not digits.isdigit() or int(digits) > MAX_DOCUMENT_BYTES:
                raise ProtocolError("the answer has no line with a length where there must be one")
            size = int(digits)
            end = _end_of(rest, size)
            if end < 0:
                # Three bytes at most for a code unit.
                more = size if len(rest) < size else min(3 * size, len(rest) + 1)
                self._wanted = len(head) + 1 + more
                break
            documents.append(_document(rest[:end]))
            held, self._wanted = rest[end:], 0
        self._held = held
        return documents

    def finish(self) -> list[bytes]:
        """Return broken JSON if a document was cut, so that decoding fails; see `Framer`."""
        return [b"{"] if self._held.strip() else []


def _end_of(data: bytes, size: int) -> int:
    """Return where a document of this length ends; -1 if it is not there yet."""
    if len(data) < size:
        return -1
    if decoded_or_none(data[:size]) is not None:
        return size
    # Counted in UTF-16: no more than three bytes a unit.
    text = data[: 3 * size].decode("utf-8", "ignore")
    units = text.encode("utf-16-le")[: 2 * size]
    if len(units) < 2 * size:
        return -1
    end = len(units.decode("utf-16-le", "ignore").encode())
    if decoded_or_none(data[:end]) is None:
        raise ProtocolError(f"there is no JSON of the length {size}")
    return end


def _document(data: bytes) -> bytes:
    return data if data.lstrip()[:1] == b"{" else b'{"data":%b}' % data


class LengthWriter:
    """Writes each document after its length; see `Writer`."""

    def write(self, document: dict[str, Any]) -> bytes:
        """Return the length and the document."""
        line = encode_line(document) + b"\n"
        return b"%d\n%b" % (len(line), line)

    def end(self) -> bytes:
        """Return nothing: the end of the body is the end."""
        return b""


class LengthPrefixed(Framing):
    """Documents after their lengths; see `Framing`."""

    name = "length-prefixed"
    content_type = "application/json"
    in_words = 'JSON documents, each after a line with its length; a list is {"data": list}'

    def framer(self, done_marker: bytes = b"") -> Framer:
        """Return a framer; see `Framing`."""
        return LengthFramer()

    def writer(self, done_marker: bytes = b"") -> Writer:
        """Return a writer; see `Framing`."""
        return LengthWriter()

    def recognise(self, body: bytes) -> Recognised | None:
        """Recognise a line of digits with a document of this length; see `Framing`."""
        if not body.partition(b"\n")[0].strip().isdigit():
            return None
        framer = LengthFramer()
        try:
            documents = [decoded_or_none(document) for document in framer.feed(body)]
        except ProtocolError:
            return None
        return Recognised(documents, is_whole=not framer.finish()) if documents else None
