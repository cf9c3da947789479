"""Documents with members that are encoded: JSON within text, or base64."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from berlin.wire.framings.contract import Framer, Writer
from berlin.wire.json import DECODE_ERRORS, encode_line
from berlin.wire.pointer import get_at, set_at

Encoding: TypeAlias = Literal["json", "base64"]

Encoded: TypeAlias = Mapping[tuple[str, ...], tuple[Encoding, ...]]
"""Pointers to members, and how each was encoded, from the outside in."""

_DECODE: dict[Encoding, Callable[[str], Any]] = {
    "json": msgspec.json.decode,
    "base64": lambda text: base64.b64decode(text).decode(),
}
_ENCODE: dict[Encoding, Callable[[Any], str]] = {
    "json": lambda value: encode_line(value).decode(),
    "base64": lambda value: base64.b64encode(str(value).encode()).decode(),
}


class DecodedFramer:
    """A framer whose documents have encoded members; see `Framer`.

    Args:
        inner: splits the answer.
        members: the encoded members. One that cannot be decoded stays as it is.
    """

    def __init__(self, inner: Framer, members: Encoded) -> None:
        self._inner = inner
        self._members = members
        self.done = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the documents completed so far; see `Framer`."""
        return self._plain(self._inner.feed(data))

    def finish(self) -> list[bytes]:
        """Return the rest; see `Framer`."""
        return self._plain(self._inner.finish())

    def _plain(self, documents: list[bytes]) -> list[bytes]:
        self.done = self._inner.done
        return [self._decode(document) for document in documents]

    def _decode(self, encoded: bytes) -> bytes:
        try:
            document = msgspec.json.decode(encoded)
        except DECODE_ERRORS:
            return encoded
        for pointer, encodings in self._members.items():
            value = get_at(document, pointer)
            try:
                for encoding in encodings if isinstance(value, str) else ():
                    value = _DECODE[encoding](value)
            except (ValueError, TypeError, RecursionError):
                continue
            if value:
                set_at(document, pointer, value)
        return encode_line(document)


class EncodedWriter:
    """Writes documents with encoded members; see `Writer`."""

    def __init__(self, inner: Writer, members: Encoded) -> None:
        self._inner = inner
        self._members = members

    def write(self, document: dict[str, Any]) -> bytes:
        """Return one document as bytes; see `Writer`."""
        for pointer, encodings in self._members.items():
            value = get_at(document, pointer)
            if value:
                for encoding in reversed(encodings):
                    value = _ENCODE[encoding](value)
                set_at(document, pointer, value)
        return self._inner.write(document)

    def end(self) -> bytes:
        """Return the bytes that end the answer; see `Writer`."""
        return self._inner.end()
