"""Newline-delimited JSON: cuts bytes into lines, whatever the reads look like."""

from __future__ import annotations

from berlin.errors import ProtocolError

MAX_LINE_BYTES = 16 * 1024 * 1024
BOM = b"\xef\xbb\xbf"


class LineFramer:
    """Collects bytes and hands out whole lines, one document each; see `Framer`.

    Only LF ends a line: JSON text may hold every other character that some libraries take for
    a line end. A UTF-8 byte order mark before the first line is dropped.

    Args:
        max_line_bytes: length of the longest line that is collected.
    """

    done = False

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
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
            return []  # keep-alives, which may come by the million
        return lines

    def finish(self) -> list[bytes]:
        """Return a last line that no LF ends; see `Framer`."""
        rest = b"".join(self._parts)
        self._parts, self._size = [], 0
        return [rest]

    def _hold(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._max:
            raise ProtocolError(f"a line is longer than {self._max} bytes")

    def _drop_bom(self, data: bytes) -> bytes:
        head = b"".join((*self._parts, data))
        self._parts, self._size = [], 0
        if len(head) < len(BOM) and BOM.startswith(head):
            return head  # too short to tell; held and looked at again
        self._at_start = False
        return head.removeprefix(BOM)
