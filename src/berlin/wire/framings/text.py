"""Plain text: each read becomes one document."""

from __future__ import annotations

import codecs
from typing import Any

import msgspec

from berlin.wire.framings.contract import NOT_UTF8, Framer, Framing, Recognised, Writer


class TextFramer:
    """Plain text: each read becomes a document `{"data": "…"}`."""

    done = False

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode

    def feed(self, data: bytes) -> list[bytes]:
        """Return the characters completed so far, as a document; see `Framer`."""
        return self._document(data, final=False)

    def finish(self) -> list[bytes]:
        """Return `NOT_UTF8` if a character was cut; see `Framer`."""
        return self._document(b"", final=True)

    def _document(self, data: bytes, *, final: bool) -> list[bytes]:
        bad: list[bytes] = []
        try:
            text = self._decode(data, final)
        except UnicodeDecodeError as error:
            text, bad = error.object[: error.start].decode(), [NOT_UTF8]
        return [*([msgspec.json.encode({"data": text})] if text else []), *bad]


class TextWriter:
    """Writes text as it is; see `Writer`."""

    def write(self, document: dict[str, Any]) -> bytes:
        """Return the text."""
        return str(document.get("data", "")).encode()

    def end(self) -> bytes:
        """Return nothing: the end of the body is the end."""
        return b""


class Text(Framing):
    """Plain text; see `Framing`."""

    name = "text"
    content_type = "text/plain"
    in_words = 'plain text, as objects {"data": text}'
    has_text_only = True

    def framer(self, done_marker: bytes = b"") -> Framer:
        """Return a framer; see `Framing`."""
        return TextFramer()

    def writer(self, done_marker: bytes = b"") -> Writer:
        """Return a writer; see `Framing`."""
        return TextWriter()

    def recognise(self, body: bytes) -> Recognised | None:
        """Recognise everything that does not begin as JSON; see `Framing`."""
        if body.startswith((b"{", b"[")):
            return None
        return Recognised([{"data": body.decode("utf-8", "replace")}])
