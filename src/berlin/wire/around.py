"""Reads the text of a stream whose bytes are the same around each piece of it."""

from __future__ import annotations

import msgspec

from berlin.wire.json import DECODE_ERRORS

# Longer reads are decoded each time.
MAX_BYTES = 4096
# How often other bytes are found around the text before nobody looks any more: some services write
# a time or padding into each chunk.
TRIES = 8


class AroundText:
    """The bytes around a piece of text, once two reads in a row had the same.

    If both meant their text and nothing else, then so does the next read that has another JSON
    string between these bytes. Only that string is decoded.

    Args:
        end: the bytes that end each document of the stream; `b""` if it may not be read like this.
    """

    __slots__ = ("_after", "_at_end", "_before", "_end", "_last", "_tries")

    def __init__(self, end: bytes) -> None:
        self._end = end
        self._tries = TRIES if end else 0
        self._at_end = False  # whether the last read ended with a document
        self._last: tuple[bytes, bytes] | None = None
        self._before = self._after = b""  # with the quotes

    def text(self, data: bytes) -> str:
        """Return the text of the next read; `""` if the read has to be decoded."""
        before, after = self._before, self._after
        if before and data.startswith(before) and data.endswith(after):
            try:
                return _decode_text(data[len(before) - 1 : 1 - len(after)])
            except DECODE_ERRORS:
                pass
        return ""

    def learn(self, data: bytes, documents: list[bytes], text: str) -> None:
        """Take a read that was decoded.

        Args:
            data: the read.
            documents: its documents.
            text: its text, if it means nothing else; else `""`.
        """
        if not self._tries:
            return
        was_at_end, self._at_end = self._at_end, data.endswith(self._end)
        is_one = was_at_end and self._at_end and len(documents) == 1 and len(data) <= MAX_BYTES
        found = _split(data, documents[0], text) if text and is_one else None
        self._before = b""
        if found is not None and found == self._last:
            self._before, self._after = found
            self._tries = TRIES
        elif found is not None:
            self._tries -= 1
        self._last = found


def _split(data: bytes, document: bytes, text: str) -> tuple[bytes, bytes] | None:
    """Return the bytes before and after a text, with its quotes, if its place is certain."""
    # Without escapes, the text is a string of the document as it is; then a single place is its.
    quoted = b'"%b"' % text.encode("utf-8", "surrogatepass")
    at = data.find(quoted)
    if at < 0 or data.rfind(quoted) != at or b"\\" in data:
        return None
    try:
        msgspec.json.decode(document)  # it may have been repaired
    except DECODE_ERRORS:
        return None
    return data[: at + 1], data[at + len(quoted) - 1 :]


_decode_text = msgspec.json.Decoder(str).decode
