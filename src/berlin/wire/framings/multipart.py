"""`multipart/mixed`: a body of parts with JSON, as GraphQL's incremental delivery sends them.

Source: RFC 2046, section 5.1, and "Incremental Delivery over HTTP" of the GraphQL working group.
"""

from __future__ import annotations

import re
from typing import Any

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import MAX_DOCUMENT_BYTES, Framing, Recognised, read_by
from berlin.wire.json import encode_line

BOUNDARY = "-"
"""The boundary of what is written here, as the GraphQL specification has it."""

MAX_PREAMBLE_BYTES = 4096

# A boundary does not end with white space, so that this takes linear time.
_FIRST = re.compile(rb"(?:^|\n)--((?:[^\r\n]{0,69}[^\r\n \t])?)[ \t]*+\r?\n")
_HEADERS = re.compile(rb"\r?\n\r?\n")


class MultipartFramer:
    """Cuts an answer into the bodies of its parts; see `Framer`.

    The boundary is that of the first line: a recipe need not repeat what a header says.
    """

    def __init__(self) -> None:
        self.done = False
        self._held = bytearray()
        self._mark: re.Pattern[bytes] | None = None
        self._from = 0  # where to look for the next boundary

    def feed(self, data: bytes) -> list[bytes]:
        """Return the parts completed so far; see `Framer`."""
        if self.done:
            return []
        self._held += data
        mark = self._mark or self._begin()
        if mark is None:
            return []
        documents: list[bytes] = []
        at = 0
        while found := mark.search(self._held, max(at, self._from)):
            documents += _body(bytes(self._held[at : found.start()]))
            at, self._from = found.end(), 0
            if found[1]:
                self.done = True
                break
        del self._held[: len(self._held) if self.done else at]
        # A boundary may be cut anywhere; it is not longer than this.
        self._from = max(0, len(self._held) - 80)
        if len(self._held) > MAX_DOCUMENT_BYTES:
            raise ProtocolError(f"a part is longer than {MAX_DOCUMENT_BYTES} bytes")
        return documents

    def finish(self) -> list[bytes]:
        """Return broken JSON if the answer was cut, so that decoding fails; see `Framer`."""
        return [] if self.done else [b"{"]

    def _begin(self) -> re.Pattern[bytes] | None:
        """Return a pattern of the boundary, once the first one is there."""
        found = _FIRST.search(self._held)
        if (len(self._held) if found is None else found.start()) > MAX_PREAMBLE_BYTES:
            raise ProtocolError("the answer is not multipart: it begins without a boundary")
        if found is None:
            return None
        boundary = re.escape(bytes(found[1]))
        self._mark = re.compile(rb"\r?\n--" + boundary + rb"(?:(--)|[ \t]*\r?\n)")
        del self._held[: found.end()]
        return self._mark


def _body(part: bytes) -> list[bytes]:
    """Return the body of a part; none if it is empty."""
    if part.startswith((b"\n", b"\r\n")):  # no headers
        body = part
    else:
        found = _HEADERS.search(part)
        body = part[found.end() :] if found else b""
    return [body.strip()] if body.strip() else []


class MultipartWriter:
    """Writes each document as a part; see `Writer`."""

    def __init__(self) -> None:
        self._has_begun = False

    def write(self, document: dict[str, Any]) -> bytes:
        """Return a part, up to the boundary behind it."""
        head = b"" if self._has_begun else b"\r\n--%b\r\n" % BOUNDARY.encode()
        self._has_begun = True
        part = b"Content-Type: application/json\r\n\r\n%b\r\n--%b\r\n"
        return head + part % (encode_line(document), BOUNDARY.encode())

    def end(self) -> bytes:
        """Return an empty part with the last boundary."""
        return b"\r\n--%b--\r\n" % BOUNDARY.encode()


def _recognise(body: bytes) -> Recognised | None:
    """Recognise a boundary with a JSON object behind it."""
    if not body.startswith(b"--"):
        return None
    return read_by(MultipartFramer(), body)


MULTIPART = Framing(
    "multipart",
    f'multipart/mixed; boundary="{BOUNDARY}"',
    "multipart/mixed, each part a JSON object",
    MultipartFramer,
    MultipartWriter,
    _recognise,
)
