"""Framing: whatever way a service cuts its answer into pieces, out come JSON documents.

Every framer gives all documents that a read has completed. The framers of text that is no JSON make
documents of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

import msgspec

from berlin.errors import ProtocolError
from berlin.wire.ndjson import BOM, MAX_LINE_BYTES, LineFramer
from berlin.wire.sse import SseFramer

Framing: TypeAlias = Literal[
    "ndjson", "sse", "sse-events", "sse-text", "json", "json-array", "text"
]

NOT_UTF8 = b"not UTF-8"
"""Stands for text that is none. It is no JSON, so a decoder delivers what came before and fails."""


class Framer(Protocol):
    """Turns the bytes of an answer into JSON documents, whatever the reads look like.

    Attributes:
        done: whether the answer has said that it is at its end; what follows is not read.
    """

    done: bool

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the documents that they complete.

        Raises:
            ProtocolError: if a document is longer than the limit, or the framing is broken.
        """
        ...

    def finish(self) -> list[bytes]:
        """Take the end of the answer and return what is left."""
        ...


def build_framer(framing: Framing, done_marker: bytes = b"") -> Framer:
    """Return a framer for one answer.

    Args:
        framing: the kind.
        done_marker: the data of the server-sent event that ends an answer, such as `[DONE]`.
    """
    match framing:
        case "ndjson":
            return LineFramer()
        case "sse":
            return SseDocuments(done_marker)
        case "sse-events":
            return SseDocuments(done_marker, _with_name)
        case "sse-text":
            return SseDocuments(done_marker, _with_name_as_text)
        case "json":
            return JsonFramer()
        case "json-array":
            return JsonArrayFramer()
        case "text":
            return TextFramer()


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
        if self._size > MAX_LINE_BYTES:
            raise ProtocolError(f"the answer is longer than {MAX_LINE_BYTES} bytes")
        return []

    def finish(self) -> list[bytes]:
        """Return the document; see `Framer`."""
        document = b"".join(self._parts).removeprefix(BOM)
        self._parts, self._size = [], 0
        return [document]


class JsonArrayFramer:
    """A JSON array whose items are handed out as they become whole."""

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
                    # What stands behind it is no structure; it may be in the next read.
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
        """Return what is left: an item that was cut off; see `Framer`."""
        rest = b"".join(self._parts)
        if self.done:
            return []
        # An array that is never closed was cut off, even behind a whole item.
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
        # What is no array goes on as it is: the decoder tells what is wrong with it.
        return head.removeprefix(b"[")

    def _hold(self, data: bytes) -> None:
        if self.done or not data:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_LINE_BYTES:
            raise ProtocolError(f"an item is longer than {MAX_LINE_BYTES} bytes")


_OUTSIDE = re.compile(rb'["{}\[\],]')
_IN_STRING = re.compile(rb'[\\"]')


class TextFramer:
    """Text that is no JSON: each read becomes a document `{"data": "…"}`."""

    done = False

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode

    def feed(self, data: bytes) -> list[bytes]:
        """Return the characters that are whole now, as a document; see `Framer`."""
        return self._document(data, final=False)

    def finish(self) -> list[bytes]:
        """Notice a character that was cut; see `Framer`."""
        return self._document(b"", final=True)

    def _document(self, data: bytes, *, final: bool) -> list[bytes]:
        bad: list[bytes] = []
        try:
            text = self._decode(data, final)
        except UnicodeDecodeError as error:
            text, bad = error.object[: error.start].decode(), [NOT_UTF8]
        return [*([msgspec.json.encode({"data": text})] if text else []), *bad]


class SseDocuments:
    """The data of server-sent events.

    Args:
        done_marker: the data that ends an answer.
        wrap: makes a document of an event's name and data; unless given, the data is one.
    """

    def __init__(
        self, done_marker: bytes = b"", wrap: Callable[[str, bytes], bytes] | None = None
    ) -> None:
        self.done = False
        self._marker = done_marker
        self._end = b"data: %b\n\n" % done_marker if done_marker else b""
        self._wrap = wrap
        self._events = SseFramer()
        self._whole: JsonFramer | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._is_plain = True  # no CR yet: an event ends with two LFs and nothing else
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that are whole now; see `Framer`."""
        if self._whole is not None:
            return self._whole.feed(data)
        if self.done:
            return []
        if self._at_start:
            data = self._enter(data)
            if self._whole is not None or not data:
                return []
        elif self._is_one_event(data):  # as in most streams that are not read in bursts
            return [data[_BEFORE_BYTES:-2]]
        if self._is_plain and b"\r" in data:
            self._is_plain = False
            data, self._parts = b"".join((*self._parts, data)), []
        if not self._is_plain:
            return self._slowly(data)
        block = self._cut(data)
        if not block:
            return []
        return self._at_once(block) if self._wrap is None else self._slowly(block)

    def finish(self) -> list[bytes]:
        """Return the data of an event that no blank line ends; see `Framer`."""
        if self._whole is not None:
            return self._whole.finish()
        if self.done:
            return []
        rest = b"".join(self._parts)
        self._parts = []
        return self._slowly(rest + b"\n\n")

    def _enter(self, data: bytes) -> bytes:
        data = b"".join((*self._parts, data))
        self._parts = []
        head = data.removeprefix(BOM).lstrip(b" \t\r\n")
        if not head or (len(data) < len(BOM) and BOM.startswith(data)):
            # Blank lines may come by the million.
            mark = BOM if data.startswith(BOM) else b""
            self._parts = [mark + data[len(mark) :][-4:]]
            return b""
        self._at_start = False
        # A mark is dropped here, once: the framer of events is past its own start from now on.
        self._events.feed(b"\n")
        if head.startswith((b"{", b"<", b"[")):
            # Not a stream: an error, or a whole answer, in one document.
            self._whole = JsonFramer()
            self._whole.feed(head)
            return b""
        return data.removeprefix(BOM)

    def _is_one_event(self, data: bytes) -> bool:
        return (
            data.startswith(b"data: {")
            and data.endswith(b"}\n\n")
            and data.count(b"\n") == 2
            and not self._parts
            and self._is_plain
            and self._wrap is None
            and b"\r" not in data
        )

    def _cut(self, data: bytes) -> bytes:
        """Return the bytes up to the last event that is whole, and keep the rest."""
        cut = data.rfind(b"\n\n") + 2
        if cut == 1:
            joined = self._parts and self._parts[-1].endswith(b"\n") and data.startswith(b"\n")
            cut = 1 if joined else 0
        block = b"".join((*self._parts, data[:cut])) if cut and self._parts else data[:cut]
        if cut:
            self._parts, self._size = [], 0
        if cut < len(data):
            self._parts.append(data[cut:])
            self._size += len(data) - cut
            if self._size > MAX_LINE_BYTES:
                raise ProtocolError(f"an event is longer than {MAX_LINE_BYTES} bytes")
        return block

    def _at_once(self, block: bytes) -> list[bytes]:
        """Return the documents of a block; at once, if every event is one line with an object."""
        if self._end and block.endswith(self._end):
            head = block.removesuffix(self._end)
            if not head or head.endswith(b"\n\n"):
                self.done = True
                block = head
        documents = _PLAIN_EVENT.findall(block)
        if sum(map(len, documents)) + _AROUND_BYTES * len(documents) != len(block):
            return self._slowly(block)  # there is more in it than that
        return documents

    def _slowly(self, data: bytes) -> list[bytes]:
        documents: list[bytes] = []
        for frame in self._events.feed(data):
            if self._marker and frame.data.strip() == self._marker:
                self.done = True
                break
            if self._wrap is not None:
                documents.append(self._wrap(frame.event, frame.data))
            elif frame.data and not frame.data.isspace():
                documents.append(frame.data)
        return documents


_PLAIN_EVENT = re.compile(rb"data: (\{[^\n]*)\n\n")
_BEFORE_BYTES = len(b"data: ")
_AROUND_BYTES = _BEFORE_BYTES + len(b"\n\n")


def _with_name(event: str, data: bytes) -> bytes:
    return b'{"event":%b,"data":%b}' % (msgspec.json.encode(event), data or b"null")


def event_of_words(document: bytes) -> dict[str, str]:
    """Return what `_with_name` made of data that is no JSON, with the data as text."""
    found = _NAMED.fullmatch(document)
    if found is None:
        return {}
    return {"event": msgspec.json.decode(found[1]), "data": found[2].decode("utf-8", "replace")}


_NAMED = re.compile(rb'\{"event":("(?:[^"\\]|\\.)*+"),"data":(.*)\}', re.DOTALL)


def _with_name_as_text(event: str, data: bytes) -> bytes:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return NOT_UTF8
    return msgspec.json.encode({"event": event, "data": text})
