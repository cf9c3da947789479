"""Server-sent events: splits bytes into events, as the HTML standard says (section 9.2.6)."""

from __future__ import annotations

import re

import msgspec

from berlin.errors import ProtocolError
from berlin.wire.framings.contract import MAX_DOCUMENT_BYTES

_LINE_END = re.compile(rb"\r\n|\n|\r")


class SseFrame(msgspec.Struct, frozen=True):
    """One event: its name (`message` by default) and its data, lines joined by LF."""

    event: str
    data: bytes

    @property
    def is_bare(self) -> bool:
        """Whether it is a name without data."""
        return not self.data and self.event != "message"


class SseFramer:
    """Collects bytes, without a byte order mark, and returns complete events.

    An event that no blank line ends is dropped, as the standard says.

    Args:
        max_event_bytes: length of the longest event that is collected.
        names: whether an event counts that has a name and no data. The standard drops it, but some
            services end their answers with one.
    """

    def __init__(self, max_event_bytes: int = MAX_DOCUMENT_BYTES, *, names: bool = False) -> None:
        self._max = max_event_bytes
        self._names = names
        self._parts: list[bytes] = []
        self._held = 0
        self._data: list[bytes] = []
        self._size = 0
        self._event = b""
        self._after_cr = False

    def feed(self, data: bytes) -> list[SseFrame]:
        """Take the next bytes and return the events that they complete.

        Raises:
            ProtocolError: if an event is longer than the limit.
        """
        if self._after_cr and data:
            # A CRLF split between two reads is one line end.
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        *lines, rest = _LINE_END.split(data)
        frames: list[SseFrame] = []
        if lines:
            lines[0] = b"".join((*self._parts, lines[0]))
            self._parts, self._held = [], 0
            for line in lines:
                self._take_line(line, frames)
        if rest:
            self._parts.append(rest)
            self._held += len(rest)
            self._check(self._held + self._size)
        return frames

    def _take_line(self, line: bytes, frames: list[SseFrame]) -> None:
        if not line:
            if self._data or (self._names and self._event):
                event = self._event.decode("utf-8", "replace") or "message"
                frames.append(SseFrame(event, b"\n".join(self._data)))
            self._data, self._size, self._event = [], 0, b""
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            self._check(self._size)
        elif name == b"event":
            self._event = value

    def _check(self, size: int) -> None:
        if size > self._max:
            raise ProtocolError(f"an event is longer than {self._max} bytes")
