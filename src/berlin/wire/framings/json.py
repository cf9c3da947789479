"""JSON in one body: one object as the whole body, or a list whose items arrive one by one."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import BOM, MAX_DOCUMENT_BYTES, Framing, PlainWriter, Recognised
from berlin.wire.json import decoded_or_none, encode_line


class JsonFramer:
    """The whole body is one document."""

    done = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Keep the bytes; see `Framer`."""
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_DOCUMENT_BYTES:
            raise ProtocolError(f"the answer is longer than {MAX_DOCUMENT_BYTES} bytes")
        return []

    def finish(self) -> list[bytes]:
        """Return the document; see `Framer`."""
        document = b"".join(self._parts).removeprefix(BOM)
        self._parts, self._size = [], 0
        return [document]


class JsonArrayFramer:
    """A JSON array whose items are returned as they are completed."""

    def __init__(self) -> None:
        self.done = False
        self._parts: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._is_array = False
        self._in_string = False
        self._escaped = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the items that they complete; see `Framer`."""
        if self.done or not data:
            return []
        if self._depth == 0:
            data = self._enter(b"".join((*self._parts, data)))
        items: list[bytes] = []
        begin, at = 0, 0
        if self._escaped and data:
            self._escaped, at = False, 1
        while found := (_IN_STRING if self._in_string else _OUTSIDE).search(data, at):
            at = found.end()
            match found[0]:
                case b"\\":
                    # The character after a backslash is not structure; it may be in the next read.
                    self._escaped = at == len(data)
                    at += 1
                case b'"':
                    self._in_string = not self._in_string
                case b"{" | b"[":
                    self._depth += 1
                case b"}" | b"]" if self._depth > 1:
                    self._depth -= 1
                case b"," if self._depth > 1:
                    pass
                case mark:
                    items.append(b"".join((*self._parts, data[begin : at - 1])))
                    self._parts, self._size = [], 0
                    begin = at
                    if mark != b",":
                        self.done = True
                        break
        self._hold(data[begin:])
        return [item for item in items if item and not item.isspace()]

    def finish(self) -> list[bytes]:
        """Return the rest, an item that was cut off; see `Framer`."""
        rest = b"".join(self._parts)
        if self.done:
            return []
        # An array that is never closed was cut off, even after a complete item.
        return [
            *([rest] if rest.strip() or not self._depth else []),
            *([b"{"] if self._is_array else []),
        ]

    def _enter(self, data: bytes) -> bytes:
        self._parts, self._size = [], 0
        head = data.removeprefix(BOM).lstrip()
        if not head or (len(data) < len(BOM) and BOM.startswith(data)):
            self._parts = [data[:3]]
            return b""
        self._depth = 1
        self._is_array = head.startswith(b"[")
        # What is not an array is passed on unchanged: the decoder reports what is wrong with it.
        return head.removeprefix(b"[")

    def _hold(self, data: bytes) -> None:
        if self.done or not data:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_DOCUMENT_BYTES:
            raise ProtocolError(f"an item is longer than {MAX_DOCUMENT_BYTES} bytes")


_OUTSIDE = re.compile(rb'["{}\[\],]')
_IN_STRING = re.compile(rb'[\\"]')


class JsonArrayWriter:
    """Writes the items of a list; see `Writer`."""

    def __init__(self) -> None:
        self._items = 0

    def write(self, document: dict[str, Any]) -> bytes:
        """Return an item, after the bracket or the comma before it."""
        self._items += 1
        return (b"[" if self._items == 1 else b",\n") + encode_line(document)

    def end(self) -> bytes:
        """Return the bracket that closes the list."""
        return b"]" if self._items else b"[]"


def _recognise_object(body: bytes) -> Recognised | None:
    """Recognise an object, even one that was cut off."""
    if not body.startswith(b"{"):
        return None
    whole = decoded_or_none(body)
    if isinstance(whole, dict):
        return Recognised([whole])
    is_line = isinstance(decoded_or_none(body.split(b"\n")[0]), dict)
    return None if is_line else Recognised([], is_whole=False)


def _recognise_list(body: bytes) -> Recognised | None:
    """Recognise a list, even one that was cut off."""
    if not body.startswith(b"["):
        return None
    whole = decoded_or_none(body)
    if isinstance(whole, list) and whole and all(isinstance(item, dict) for item in whole):
        return Recognised(whole)
    return Recognised([], is_whole=False)


JSON = Framing(
    "json",
    "application/json",
    "one JSON object, the whole body",
    JsonFramer,
    partial(PlainWriter, encode_line),
    _recognise_object,
    is_single=True,
)
JSON_ARRAY = Framing(
    "json-array",
    "application/json",
    "a JSON list whose items stream in",
    JsonArrayFramer,
    JsonArrayWriter,
    _recognise_list,
)
