"""Newline-delimited JSON: one object per line."""

from __future__ import annotations

from functools import partial

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import BOM, MAX_DOCUMENT_BYTES, Framing, PlainWriter, Recognised
from berlin.wire.json import decoded_or_none, encode_line


class LineFramer:
    """Buffers bytes and returns complete lines, one document each; see `Framer`.

    Only LF ends a line: JSON text may contain any other character that some libraries treat as a
    line end. A UTF-8 byte order mark before the first line is dropped.

    Args:
        max_line_bytes: length of the longest line that is buffered.
    """

    done = False

    def __init__(self, max_line_bytes: int = MAX_DOCUMENT_BYTES) -> None:
        self._max = max_line_bytes
        self._parts: list[bytes] = []  # joined once: a long line in small reads stays linear
        self._size = 0
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the lines that they complete, without their LFs.

        Raises:
            ProtocolError: if a line is longer than the limit.
        """
        if self._at_start:
            data = self._drop_bom(data)
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._parts:
            lines[0] = b"".join((*self._parts, lines[0]))
            self._parts, self._size = [], 0
        if rest:
            self._hold(rest)
        if lines and not lines[0].strip() and not b"".join(lines).strip():
            return []  # keep-alives, of which there may be millions
        return lines

    def finish(self) -> list[bytes]:
        """Return a last line without LF; see `Framer`."""
        rest = b"".join(self._parts)
        self._parts, self._size = [], 0
        return [rest] if rest else []

    def _hold(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._max:
            raise ProtocolError(f"a line is longer than {self._max} bytes")

    def _drop_bom(self, data: bytes) -> bytes:
        head = b"".join((*self._parts, data))
        self._parts, self._size = [], 0
        if len(head) < len(BOM) and BOM.startswith(head):
            return head  # too short to tell; kept and examined again
        self._at_start = False
        return head.removeprefix(BOM)


def _recognise(body: bytes) -> Recognised | None:
    """Recognise lines that begin with a complete object."""
    lines = [line for line in body.split(b"\n") if line.strip()]
    objects = [decoded_or_none(line) for line in lines]
    if not isinstance(objects[0], dict):
        return None
    whole = [item for item in objects if isinstance(item, dict)]
    return Recognised(whole, is_whole=len(whole) == len(lines))


NDJSON = Framing(
    "ndjson",
    "application/x-ndjson",
    "one JSON object per line",
    LineFramer,
    partial(PlainWriter, lambda document: encode_line(document) + b"\n"),
    _recognise,
    keep_alive=b"\n",
    is_plain=True,
    document_end=b"\n",
)
