"""JSON documents that each follow a line with their length, as some of Google's pages have it."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import (
    BOM,
    MAX_DOCUMENT_BYTES,
    Framing,
    PlainWriter,
    Recognised,
    read_by,
)
from berlin.wire.json import decoded_or_none, encode_line

_BLANKS = re.compile(rb"[ \t\r\n]*")
# At most as many digits as `MAX_DOCUMENT_BYTES` has.
_LENGTH = re.compile(rb"([0-9]{1,8})[ \t\r]{0,8}\n")
_CUT_LENGTH = re.compile(rb"(?:[0-9]{1,8}[ \t\r]{0,8})?")


class LengthFramer:
    """Cuts an answer into its documents; a list becomes `{"data": list}`; see `Framer`.

    The length counts bytes, or UTF-16 code units as JavaScript does: whichever gives whole JSON.
    """

    done = False

    def __init__(self) -> None:
        self._held = bytearray()
        self._begun = False
        self._wanted = 0  # how many bytes there must be before it is worth looking again

    def feed(self, data: bytes) -> list[bytes]:
        """Return the documents completed so far; see `Framer`."""
        held = self._held
        held += data
        if not self._begun:
            if len(held) < len(BOM) and BOM.startswith(held):
                return []
            self._begun = True
            del held[: len(BOM) * held.startswith(BOM)]
        documents: list[bytes] = []
        at = 0
        while len(held) - at >= self._wanted:
            at = _BLANKS.match(held, at).end()  # type: ignore[union-attr]  # it matches nothing too
            head = _LENGTH.match(held, at)
            if head is None and _CUT_LENGTH.fullmatch(held, at):
                break
            if head is None or int(head[1]) > MAX_DOCUMENT_BYTES:
                raise ProtocolError("the answer has no line with a length where there must be one")
            end = _end_of(held, head.end(), int(head[1]))
            if end < 0:
                self._wanted = len(held) - at - end
                break
            documents.append(_document(bytes(held[head.end() : end])))
            at, self._wanted = end, 0
        del held[:at]
        return documents

    def finish(self) -> list[bytes]:
        """Return broken JSON if a document was cut, so that decoding fails; see `Framer`."""
        return [b"{"] if self._held.strip() else []


def _end_of(data: bytearray, at: int, size: int) -> int:
    """Return where a document ends; if it is incomplete, minus the least number of missing bytes.

    Each of them is waited for, so that a long document is not looked at for every read.
    """
    there = len(data) - at
    if there < size:
        return there - size
    if decoded_or_none(bytes(data[at : at + size])) is not None:
        return at + size
    # Counted in UTF-16: no more than three bytes a unit.
    text = data[at : at + 3 * size].decode("utf-8", "ignore")
    units = text.encode("utf-16-le")[: 2 * size]
    if len(units) < 2 * size:
        return len(units) // 2 - size
    end = at + len(units.decode("utf-16-le", "ignore").encode())
    if decoded_or_none(bytes(data[at:end])) is None:
        raise ProtocolError(f"there is no JSON of the length {size}")
    return end


def _document(data: bytes) -> bytes:
    return data if data.lstrip()[:1] == b"{" else b'{"data":%b}' % data


def _write(document: dict[str, Any]) -> bytes:
    line = encode_line(document) + b"\n"
    return b"%d\n%b" % (len(line), line)


def _recognise(body: bytes) -> Recognised | None:
    """Recognise a line of digits with a document of this length."""
    if not body.partition(b"\n")[0].strip().isdigit():
        return None
    return read_by(LengthFramer(), body)


LENGTH_PREFIXED = Framing(
    "length-prefixed",
    "application/json",
    'JSON documents, each after a line with its length; a list is {"data": list}',
    LengthFramer,
    partial(PlainWriter, _write),
    _recognise,
)
