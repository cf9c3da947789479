"""Plain text: each read becomes one document."""

from __future__ import annotations

import codecs
from functools import partial

import msgspec

from berlin.wire.framings.contract import NOT_UTF8, Framing, PlainWriter, Recognised


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


def _recognise(body: bytes) -> Recognised | None:
    """Recognise everything that does not begin as JSON."""
    if body.startswith((b"{", b"[")):
        return None
    return Recognised([{"data": body.decode("utf-8", "replace")}])


TEXT = Framing(
    "text",
    "text/plain",
    'plain text, as objects {"data": text}',
    TextFramer,
    partial(PlainWriter, lambda document: str(document.get("data", "")).encode()),
    _recognise,
    has_text_only=True,
)
