"""Server-sent events as documents: the data, or the name and the data."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import (
    BOM,
    MAX_DOCUMENT_BYTES,
    NOT_UTF8,
    Framing,
    PlainWriter,
    Recognised,
)
from berlin.wire.framings.json import JsonFramer
from berlin.wire.framings.sse import SseFrame, SseFramer
from berlin.wire.json import decoded_or_none, encode_line
from berlin.wire.snippet import snippet


class SseDocuments:
    """The data of server-sent events.

    Args:
        done_marker: the data that ends an answer.
        wrap: makes a document from an event's name and data; by default the data is the document.
    """

    def __init__(
        self, done_marker: bytes = b"", wrap: Callable[[str, bytes], bytes] | None = None
    ) -> None:
        self.done = False
        self._marker = done_marker
        self._end = b"data: %b\n\n" % done_marker if done_marker else b""
        self._wrap = wrap
        self._events = SseFramer(names=wrap is not None)
        self._whole: JsonFramer | None = None
        self._parts: list[bytes] = []
        self._size = 0
        # Whether an event ends with two LFs and nothing else, because there was no CR yet, and no
        # line of JSON is the marker.
        self._is_plain = not done_marker.startswith(b"{")
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events completed so far; see `Framer`."""
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
        """Return the data of an event not ended by a blank line; see `Framer`."""
        if self._whole is not None:
            return self._whole.finish()
        if self.done:
            return []
        rest = b"".join(self._parts)
        self._parts = []
        if self._at_start and rest.removeprefix(BOM).strip():
            raise _not_events(rest)
        return self._slowly(rest + b"\n\n")

    def _enter(self, data: bytes) -> bytes:
        data = b"".join((*self._parts, data))
        self._parts = []
        head = data.removeprefix(BOM).lstrip(b" \t\r\n")
        if not head or (len(data) < len(BOM) and BOM.startswith(data)):
            # There may be millions of blank lines.
            mark = BOM if data.startswith(BOM) else b""
            self._parts = [mark + data[len(mark) :][-4:]]
            return b""
        if not head.startswith(_WHOLE) and not _FIELD_LINE.match(head):
            if len(head) < _FIRST_LINE_BYTES and not _END_OF_LINE.search(head):
                self._parts = [data]  # the rest of the line has yet to come
                return b""
            raise _not_events(head)
        self._at_start = False
        if head.startswith(_WHOLE):
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
        """Return the bytes up to the end of the last complete event, and keep the rest."""
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
            if self._size > MAX_DOCUMENT_BYTES:
                raise ProtocolError(f"an event is longer than {MAX_DOCUMENT_BYTES} bytes")
        return block

    def _at_once(self, block: bytes) -> list[bytes]:
        """Return the documents of a block, in one step if every event is one line of JSON."""
        if self._end and block.endswith(self._end):
            head = block.removesuffix(self._end)
            if not head or head.endswith(b"\n\n"):
                self.done = True
                block = head
        documents = _PLAIN_EVENT.findall(block)
        if sum(map(len, documents)) + _AROUND_BYTES * len(documents) != len(block):
            return self._slowly(block)  # other kinds of events are in it
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


def _not_events(head: bytes) -> ProtocolError:
    # A reader of events skips such a line, and with it the event that is glued to a prefix.
    line = _END_OF_LINE.split(head, maxsplit=1)[0]
    return ProtocolError(f"server-sent events were expected, not {snippet(line)!r}")


_WHOLE = (b"{", b"<", b"[")
_FIELD_LINE = re.compile(rb"[\w-]*[:\r\n]")
_END_OF_LINE = re.compile(rb"[\r\n]")
_FIRST_LINE_BYTES = 2048
_PLAIN_EVENT = re.compile(rb"data: (\{[^\n]*)\n\n")
_BEFORE_BYTES = len(b"data: ")
_AROUND_BYTES = _BEFORE_BYTES + len(b"\n\n")


def _with_name(event: str, data: bytes) -> bytes:
    return b'{"event":%b,"data":%b}' % (msgspec.json.encode(event), data or b"null")


def event_of_text(document: bytes) -> dict[str, str]:
    """Return the object that `_with_name` writes for data that is not JSON."""
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


class _Recorded(msgspec.Struct, frozen=True):
    """A recorded answer that consists of events.

    Attributes:
        frames: the events with content, without the one that marks the end.
        data: their data as JSON values; text where it is not JSON.
        has_words: whether some of it is not JSON.
        done: the data of the event that marks the end; `""` if there is none.
    """

    frames: list[SseFrame]
    data: list[Any]
    has_words: bool
    done: str

    @classmethod
    def of(cls, body: bytes) -> _Recorded | None:
        """Return the events of a body, or `None` if it does not consist of events."""
        if _FIELD.match(body) is None:
            return None
        # Twice, for a body that was cut off after its last event.
        frames = SseFramer(names=True).feed(body.replace(b"\r\n", b"\n") + b"\n\n")
        done = _mark(frames)
        said = [f for f in (frames[:-1] if done else frames) if f.data.strip() or f.is_bare]
        values = [decoded_or_none(frame.data) for frame in said]
        words = [v is None and not f.is_bare for f, v in zip(said, values, strict=True)]
        data = [
            frame.data.decode("utf-8", "replace") if is_word else value
            for frame, value, is_word in zip(said, values, words, strict=True)
        ]
        return cls(said, data, any(words), done)

    @property
    def needs_names(self) -> bool:
        """Whether the events' names carry information that the objects lack."""
        names = [frame.event for frame in self.frames]
        if len(set(names)) < 2:
            return False
        return not any(
            all(item.get(member) == name for name, item in zip(names, self.data, strict=True))
            for member in ("type", "event", "kind")
        )

    def named(self) -> list[dict[str, Any]]:
        """Return the documents as `sse-events` makes them."""
        return [{"event": f.event, "data": o} for f, o in zip(self.frames, self.data, strict=True)]

    def as_text(self) -> list[dict[str, Any]]:
        """Return the documents as `sse-text` makes them."""
        return [{"event": f.event, "data": f.data.decode("utf-8", "replace")} for f in self.frames]


_FIELD = re.compile(rb"(?:data|event|id|retry)?:", re.IGNORECASE)
_MARK = re.compile(rb"\[?[A-Z_]{3,20}\]?|\[[A-Za-z_ -]{2,20}\]|<[|/a-zA-Z_]{2,20}>")


def _mark(frames: list[SseFrame]) -> str:
    """Return the data of the last event, if it is an end marker and not text."""
    if not frames:
        return ""
    last = frames[-1].data.strip()
    # A lone word is an answer, a lone word in brackets is not.
    is_mark = _MARK.fullmatch(last) and (len(frames) > 1 or last.startswith(b"["))
    return last.decode() if is_mark else ""


def _write_data(document: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % encode_line(document)


def _write_named(document: dict[str, Any]) -> bytes:
    name = str(document.get("event", "message")).encode()
    return b"event: %b\ndata: %b\n\n" % (name, encode_line(document.get("data")))


def _write_text(document: dict[str, Any]) -> bytes:
    name = str(document.get("event", "message")).encode()
    lines = _LINE_END.split(str(document.get("data", "")))
    return b"event: %b\n%b\n" % (name, b"".join(b"data: %b\n" % line.encode() for line in lines))


# A CR is a line end in server-sent events; within a text it would end the event.
_LINE_END = re.compile(r"\r\n|\r|\n")


def _writer(write: Callable[[dict[str, Any]], bytes], done_marker: bytes) -> PlainWriter:
    return PlainWriter(write, b"data: %b\n\n" % done_marker if done_marker else b"")


def _recognise_data(body: bytes) -> Recognised | None:
    """Recognise events whose data are self-describing objects."""
    found = _Recorded.of(body)
    if found is None or not all(isinstance(item, dict) for item in found.data):
        return None
    return None if found.needs_names else Recognised(found.data, found.done)


def _recognise_named(body: bytes) -> Recognised | None:
    """Recognise events that differ by name, or that mix JSON with words."""
    found = _Recorded.of(body)
    if found is None or (
        found.has_words and not any(isinstance(item, dict) for item in found.data)
    ):
        return None
    return Recognised(found.named(), found.done)


def _recognise_text(body: bytes) -> Recognised | None:
    """Recognise all other events."""
    found = _Recorded.of(body)
    return None if found is None else Recognised(found.as_text(), found.done)


EVENTS = Framing(
    "sse",
    "text/event-stream",
    "server-sent events with JSON as data",
    SseDocuments,
    partial(_writer, _write_data),
    _recognise_data,
    keep_alive=b":\n\n",
    is_plain=True,
    has_events=True,
    document_end=b"\n\n",
)
NAMED_EVENTS = msgspec.structs.replace(
    EVENTS,
    name="sse-events",
    in_words='server-sent events, as objects {"event": name, "data": …}',
    new_framer=partial(SseDocuments, wrap=_with_name),
    new_writer=partial(_writer, _write_named),
    recognise=_recognise_named,
    is_plain=False,
)
TEXT_EVENTS = msgspec.structs.replace(
    NAMED_EVENTS,
    name="sse-text",
    in_words='server-sent events with plain text, as objects {"event": name, "data": text}',
    new_framer=partial(SseDocuments, wrap=_with_name_as_text),
    new_writer=partial(_writer, _write_text),
    recognise=_recognise_text,
    document_end=b"",
)
